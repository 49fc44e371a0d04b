# SPDX-License-Identifier: Apache-2.0
"""Run in novaclient's own environment: make calls and print what they return.

The first argument is a JSON object with the arguments of a Keystone session;
the second one a JSON list of calls, each a list of the name of a method of
``client.images``, its positional and its named arguments.  What comes back is
a JSON list: what each call returned, or the name of what it raised.
"""

import json
import sys
import warnings

from keystoneauth1 import session
from keystoneauth1.identity import v3
from novaclient import client


def plain(value):
    """Return what a call returned as JSON can have it."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.to_dict() if hasattr(value, "to_dict") else None


def call(images, name, args, kwargs):
    try:
        return plain(getattr(images, name)(*args, **kwargs))
    except Exception as error:
        return type(error).__name__


def main():
    warnings.simplefilter("ignore")
    auth, calls = map(json.loads, sys.argv[1:])
    keystone = session.Session(v3.Password(**auth))
    images = client.Client("2", session=keystone).images
    json.dump([call(images, *each) for each in calls], sys.stdout)


main()
