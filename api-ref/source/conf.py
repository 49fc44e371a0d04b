# SPDX-License-Identifier: Apache-2.0
"""How the API reference is built: tox -e api-ref."""

project = "images_service API reference"
copyright = "the images_service developers"
extensions = ["openstackdocstheme", "os_api_ref"]
html_theme = "openstackdocs"
html_theme_options = {"sidebar_mode": "toc"}
openstackdocs_auto_name = False
openstackdocs_auto_version = False
version = release = ""
