# SPDX-License-Identifier: Apache-2.0
"""A demonstration: a whole deployment in one folder, with a few images."""

import datetime
from importlib import resources
import json
import os
import shutil
import sys

from oslo_utils import timeutils

from images_service import config
from images_service.cmd import demo_page
from images_service.glance import records
from images_service.store.sql import engine
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore

_CONFIGURATION = """\
# A demonstration of images_service.
[api]
auth_strategy = noauth2

[database]
connection = sqlite:///{folder}/images.sqlite
"""
# In this pipeline, the pipeline main is the application.
_PIPELINE = """
[pipeline:demo]
pipeline = page main

[filter:page]
paste.filter_factory = images_service.cmd.demo_page:filter_factory
"""
_WELCOME = """\

images_service serves sample images on {address}.

In another terminal, this lists them:

    curl -s -H 'X-Auth-Token: alice:demo' \
http://{address}/v2.1/demo/images/detail | python3 -m json.tool
{page}
The token is USER:PROJECT[:ROLES]; 'admin:demo' is an administrator's.
Everything is in {folder} and goes away at the end. To load your own images
into it, as Glance lists them ("GET /v2/images"):

    {manage} --config-file {folder}/images_service.conf \\
        image import FILE

Edit {folder}/policy.json to see rules take effect.
Stop it with Ctrl+C.

"""
_PAGE = """
In a browser, http://{address}/demo shows who sees and may do what.
"""


def prepare(folder: str) -> str:
    """Deploy into an empty folder; return the configuration file's path."""
    path = os.path.join(folder, "images_service.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(_CONFIGURATION.format(folder=folder))
    conf = config.load(["--config-file", path])
    for name in ("policy.json", "api-paste.ini"):
        shipped = config.find_file(conf, name)
        if shipped is not None:
            shutil.copy(shipped, folder)
    with open(f"{folder}/api-paste.ini", "a", encoding="utf-8") as file:
        file.write(_PIPELINE)
    database = engine.Database(conf)
    run.sync(database)
    sample = resources.files("images_service.cmd").joinpath("demo.json")
    now = timeutils.utcnow()
    images = [
        records.new_image(record, now - datetime.timedelta(hours=number))
        for number, record in enumerate(
            json.loads(sample.read_text("utf-8"))["images"]
        )
    ]
    SqlStore(database).add(images)
    database.dispose()
    return path


def welcome(folder: str, host: str, address: str) -> str:
    """Return the text that the demonstration prints when it is ready.

    :param address: host and port, as in URLs.
    """
    page = _PAGE if demo_page.is_loopback(host) else ""
    manage = "images-service-manage"
    beside = os.path.join(os.path.dirname(sys.executable), manage)
    return _WELCOME.format(
        folder=folder,
        address=address,
        page=page.format(address=address),
        manage=beside if os.path.exists(beside) else manage,
    )
