# SPDX-License-Identifier: Apache-2.0
"""How the API reference is built: tox -e api-ref."""

import json
import pathlib

from images_service.api import openapi

project = "images_service API reference"
copyright = "the images_service developers"
extensions = ["openstackdocstheme", "os_api_ref"]
html_theme = "openstackdocs"
html_theme_options = {"sidebar_mode": "toc"}
openstackdocs_auto_name = False
openstackdocs_auto_version = False
version = release = ""


def setup(app):
    """Put the OpenAPI document beside the page."""
    app.connect("build-finished", _write_openapi)


def _write_openapi(app, exception):
    if exception is None:
        path = pathlib.Path(app.outdir) / "openapi.json"
        text = json.dumps(openapi.document(), indent=2)
        path.write_text(text, encoding="utf-8")
