# SPDX-License-Identifier: Apache-2.0
"""Each option that is offered is read somewhere."""

import contextlib
import inspect
import re
from unittest import mock

from oslo_config import cfg
from oslo_log import formatters
from oslo_log import log
from oslo_policy import _external
import prometheus_client
from sqlalchemy.dialects.mysql import pymysql
import webob

from images_service import app
from images_service import config
from images_service.cmd import api
from images_service.cmd import serving
from images_service.glance import mirror
from images_service.glance.store import MirroredStore
from images_service.store.sql import engine
from images_service.tests import base
from images_service.tests.servers import processes

# bcrypt of "secret", at the lowest cost.
PASSWORD = "$2b$04$LHgPWTKNRZCyMVmMLVA5JuRvaVSnGlPRcLAHuhfj.QzNLZ9fEmR8K"


@contextlib.contextmanager
def recorded_reads():
    """Provide a set of the options that are read: (group, name)."""
    found = set()

    def get(conf, name, group=None, *args, original=cfg.ConfigOpts._get):
        title = getattr(group, "name", group)
        found.add((title or "DEFAULT", name))
        return original(conf, name, group, *args)

    with mock.patch.object(cfg.ConfigOpts, "_get", get):
        yield found


def _once(_kind, act, _interval):
    act()


class TestOptions(base.TestCase):
    def get(self, made, path):
        webob.Request.blank(
            path, headers={"Origin": "https://x", "X-Auth-Token": "a:b"}
        ).get_response(made)

    def serve(self, strategy):
        """Answer requests of a service that has everything switched on."""
        folder = self.make_folder()
        for name, text in (
            ("htpasswd", f"alice:{PASSWORD}\n"),
            (
                "http-basic-users.json",
                '{"alice": {"project_id": "p", "roles": []}}',
            ),
        ):
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        conf = base.configuration(
            folder,
            api={"auth_strategy": strategy},
            database={"slave_connection": f"sqlite:///{folder}/replica"},
            cors={"allowed_origin": "https://x"},
            healthcheck={
                "disable_by_file_path": f"{folder}/down",
                "detailed": True,
            },
            oslo_middleware={
                "enable_proxy_headers_parsing": True,
                "http_basic_auth_user_file": f"{folder}/htpasswd",
            },
            metrics={"port": processes.free_port()},
            audit={"transport_url": "fake:/"},
        )
        self.make_store(conf)
        with (
            mock.patch.object(serving, "Server"),
            mock.patch("oslo_log.log.setup"),
            mock.patch.object(
                prometheus_client,
                "start_http_server",
                return_value=(mock.Mock(), mock.Mock()),
            ),
            mock.patch.dict("os.environ"),
        ):
            path = f"{folder}/images_service.conf"
            self.assertEqual(0, api.main(["--config-file", path]))
        made = app.create(conf)
        for path in ("/", "/healthcheck", "/v2.1/images"):
            self.get(made, path)
        return conf

    def mirror(self):
        """Make a mirror of Glance, and a store that reads from it."""
        folder = self.make_folder()
        path = f"{folder}/protections"
        with open(path, "w", encoding="utf-8") as file:
            file.write("[.*]\nread = @\n")
        conf = base.configuration(
            folder,
            glance={"mode": "mirror", "property_protection_file": path},
            mirror={"transport_url": "fake:/"},
        )
        self.make_store(conf, [])
        database = engine.Database(conf)
        self.addCleanup(database.dispose)
        asked = mock.Mock()
        asked.pages.return_value = []
        MirroredStore(conf, database, asked).warning()
        made = mirror.Mirror(conf, database, asked)
        with mock.patch.object(made, "_repeat", side_effect=_once):
            made._polls()
            made._sweeps()
        made.stop()
        made.run()

    def test_options_that_did_nothing(self):
        with recorded_reads() as read, mock.patch("logging.Logger.handle"):
            for strategy in ("noauth2", "http_basic", "keystone"):
                conf = self.serve(strategy)
            # What only MariaDB and MySQL are told.
            list(
                engine._first_statements(
                    pymysql.dialect(), conf.database, engine.REQUESTS
                )
            )
            self.mirror()
        # Policy checks over HTTP.
        source = inspect.getsource(_external)
        offered = {
            (group, opt.dest)
            for group, opts in config.OPTIONS.items()
            for opt in opts
            if f".oslo_policy.{opt.dest}" not in source
        }
        self.assertEqual(set(), offered - read)
        for name in ("connection_debug", "connection_trace", "max_retries"):
            self.assertNotIn(name, conf.database)

    def test_options_of_logging(self):
        source = inspect.getsource(log) + inspect.getsource(formatters)
        known = cfg.ConfigOpts()
        conf = cfg.ConfigOpts()
        log.register_options(conf)
        for made in (known, conf):
            made([], default_config_files=[], default_config_dirs=[])
        unread = {
            name
            for name in set(conf) - set(known)
            if not re.search(rf"\bconf\.{name}\b", source)
        }
        self.assertEqual(set(), unread)
