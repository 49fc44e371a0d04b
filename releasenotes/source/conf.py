# SPDX-License-Identifier: Apache-2.0
"""How the release notes are built: tox -e releasenotes."""

project = "images_service release notes"
copyright = "the images_service developers"
extensions = ["reno.sphinxext"]
html_theme = "furo"
html_title = project
html_use_index = False
