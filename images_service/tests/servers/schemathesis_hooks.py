# SPDX-License-Identifier: Apache-2.0
"""What schemathesis can't know of the API from its document.

Loaded by schemathesis, as ``SCHEMATHESIS_HOOKS`` says.
"""

import json
import os
import random

import schemathesis

IMAGES = json.loads(os.environ["OPENAPI_IMAGES"])


@schemathesis.hook
def map_path_parameters(_context, path_parameters):
    # Most requests are for images that are there.
    chosen = dict(path_parameters or {})
    if "image_id" in chosen and random.random() < 0.9:
        chosen["image_id"] = random.choice(IMAGES)
    return chosen


@schemathesis.hook
def map_case(_context, case):
    # The key that is set is the URL's, which no schema can say.
    path = case.path_parameters or {}
    body = case.body
    if "key" in path and isinstance(body, dict):
        item = body.get("meta")
        if isinstance(item, dict) and len(item) == 1:
            case.body = {
                **body,
                "meta": {path["key"]: next(iter(item.values()))},
            }
    return case
