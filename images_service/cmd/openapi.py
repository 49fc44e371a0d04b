# SPDX-License-Identifier: Apache-2.0
"""images-service-manage openapi: the API as a document."""

import argparse
import json

from images_service.cmd.manage import Command


class OpenAPI(Command):
    """Print the API as an OpenAPI 3.1 document, in JSON."""

    examples = ("openapi",)

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Do so."""
        from images_service.api import openapi

        print(json.dumps(openapi.document(), indent=2))
