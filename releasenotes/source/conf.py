# SPDX-License-Identifier: Apache-2.0
"""How the release notes are built: tox -e releasenotes."""

project = "images_service release notes"
copyright = "the images_service developers"
extensions = ["openstackdocstheme", "reno.sphinxext"]
html_theme = "openstackdocs"
openstackdocs_auto_name = False
openstackdocs_auto_version = False
version = release = ""
