# SPDX-License-Identifier: Apache-2.0
import os
from unittest import mock

from images_service import config
from images_service import startup
from images_service.tests import base


class TestOptions(base.TestCase):
    def check(self, text):
        path = os.path.join(self.make_folder(), "images_service.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        conf = config.load(["--config-file", path])
        try:
            startup.check_options(conf)
        except startup.NotReady as error:
            return str(error).replace(path, "FILE")
        return None

    def test_names_that_nobody_knows_were_ignored(self):
        for text, problem in (
            (
                "[api]\nmax_limt = 5",
                "FILE: [api] max_limt is unknown. Did you mean max_limit?",
            ),
            (
                "[quota]\nzzz = 5",
                "FILE: [quota] zzz is unknown. Remove it.",
            ),
            (
                "[http_basic]\nusermap = x",
                "FILE: [http_basic] usermap is unknown. Did you mean "
                "user_map?",
            ),
            (
                "[metrics]\nprot = 5",
                "FILE: [metrics] prot is unknown. Did you mean port?",
            ),
            (
                "[metric]\nport = 5",
                "FILE: group [metric] is unknown. Did you mean [metrics]?",
            ),
            (
                "[keystone_authtokens]\nx = 5",
                "FILE: group [keystone_authtokens] is unknown. Did you mean "
                "[keystone_authtoken]?",
            ),
        ):
            with self.subTest(text):
                self.assertEqual(problem, self.check(text))

    def test_what_is_good(self):
        for text in (
            "",
            "[API]\nmax_limit = 5",
            "[DEFAULT]\ndebug = true\nlog_file = x\ntransport_url = x",
            "[keystone_authtoken]\nauth_type = password\nusername = x",
            "[oslo_messaging_rabbit]\nssl = true",
            "[glance]\nregion_name = x",
            # An older name.
            "[database]\nconnection = sqlite://",
            "[oslo_middleware]\nmax_request_body_size = 5",
        ):
            with self.subTest(text), self.assertNoLogs("images_service"):
                self.assertIsNone(self.check(text))

    def test_options_of_a_library_that_did_nothing(self):
        for group, name in (
            ("database", "connection_debug"),
            ("database", "connection_trace"),
            ("database", "db_max_retries"),
            ("database", "max_retries"),
            ("oslo_policy", "policy_default_rule"),
        ):
            with (
                self.subTest(name),
                self.assertLogs("images_service", "WARNING") as logged,
            ):
                self.assertIsNone(self.check(f"[{group}]\n{name} = 1"))
            self.assertIn(f"[{group}] {name} has no effect", logged.output[0])

    def test_files_of_a_folder(self):
        folder = self.make_folder()
        with open(f"{folder}/own.conf", "w", encoding="utf-8") as file:
            file.write("[api]\nmax_limt = 5")
        conf = config.load(["--config-dir", folder])
        with self.assertRaisesRegex(startup.NotReady, f"{folder}/own.conf: "):
            startup.check_options(conf)


class TestConnections(base.TestCase):
    def problem(self, connection, option="connection"):
        options = {"database": {option: connection}}
        if option == "connection":
            options = {"connection": connection}
        conf = self.make_conf(**options)
        with self.assertRaises(startup.NotReady) as caught:
            startup.check_connections(conf)
        text = str(caught.exception)
        self.assertRegex(
            text, rf"^/\S+/images_service.conf: \[database\] {option}: "
        )
        self.assertNotIn("s3cret", text)
        return text

    def test_wrong_ones_were_found_at_the_first_request(self):
        for connection, problem in (
            ("images", "not the URL of a database. Write sqlite:///"),
            ("postgres://a:s3cret@h/n", "postgres is unknown. Write"),
            ("mysql+nosuch://a:s3cret@h/n", "mysql+nosuch is unknown. Write"),
            ("oracle://a:s3cret@h/n", "oracle is unknown. Write"),
            ("sqlite+aiosqlite:///x", "sqlite+aiosqlite is unknown. Write"),
            ("postgresql+psycopg://a:s3cret@h:x/n", "port is not a number"),
            ("postgresql+psycopg://a:s3cret@h:99999/n", "no port 99999"),
        ):
            with self.subTest(connection):
                self.assertIn(problem, self.problem(connection))

    def test_a_missing_driver_and_what_brings_it(self):
        for connection, module, extra in (
            ("mysql+pymysql://h/n", "pymysql", "'.[mysql]'"),
            ("mysql+mysqldb://h/n", "MySQLdb", "'.[mysqlclient]'"),
            ("postgresql+psycopg://h/n", "psycopg", "'.[postgresql]'"),
            ("postgresql+psycopg2://h/n", "psycopg2", "psycopg2"),
        ):
            with (
                self.subTest(module),
                mock.patch.dict("sys.modules", {module: None}),
            ):
                self.assertIn(
                    f"{module} is not installed. Run pip install {extra}.",
                    self.problem(connection),
                )

    def test_the_replica(self):
        self.assertIn("unknown", self.problem("x://h", "slave_connection"))

    def test_none(self):
        conf = self.make_conf()
        conf.set_override("connection", None, "database")
        with self.assertRaisesRegex(
            startup.NotReady, r"\[database\] connection is not set"
        ):
            startup.check_connections(conf)


class TestTokenCache(base.TestCase):
    def test_the_library_was_missed_at_the_first_request(self):
        conf = self.make_conf(
            api={"auth_strategy": "keystone"},
            keystone_authtoken={"memcached_servers": "127.0.0.1:11211"},
        )
        with (
            mock.patch("importlib.util.find_spec", return_value=None),
            self.assertRaisesRegex(
                startup.NotReady,
                r"images_service.conf: \[keystone_authtoken\] "
                r"memcached_servers .* pip install '.\[memcached\]'",
            ),
        ):
            startup.check_token_cache(conf)
