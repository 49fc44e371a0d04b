# SPDX-License-Identifier: Apache-2.0
"""How the API reference is built: tox -e api-ref."""

import json
import pathlib
import re

from docutils import nodes
from docutils.parsers import rst
import os_api_ref
from os_api_ref import http_codes

from images_service.api import openapi

project = "Compute API: images"
copyright = "the images_service developers"
html_theme = "furo"
html_title = project
html_static_path = ["../../doc/source/_static/phone.css"]
html_css_files = ["phone.css"]
html_use_index = False


class Method(rst.Directive):
    """Show the method and the path of an action.

    os-api-ref's own directive hides the action behind a button, which needs
    the JavaScript of another theme.
    """

    required_arguments = 2

    def run(self):
        """Return a line, and tell ``rest_parameters`` the path's variables."""
        method, path = self.arguments
        env = self.state.document.settings.env
        env.path_params = re.findall(r"{\w+}", path)
        line = nodes.paragraph()
        line += nodes.strong(method, method)
        line += nodes.Text(" ")
        line += nodes.literal(path, path)
        return [line]


def setup(app):
    """Use os-api-ref's tables, and write the OpenAPI document."""
    app.add_node(http_codes.http_code, html=(http_codes.http_code_html, None))
    app.add_directive("rest_method", Method)
    app.add_directive("rest_parameters", os_api_ref.RestParametersDirective)
    app.add_directive("rest_status_code", http_codes.HTTPResponseCodeDirective)
    app.connect("build-finished", _write_openapi)


def _write_openapi(app, exception):
    if exception is None:
        path = pathlib.Path(app.outdir) / "openapi.json"
        text = json.dumps(openapi.document(), indent=2)
        path.write_text(text, encoding="utf-8")
