# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json
from unittest import mock

from images_service.cmd import status
from images_service.store.sql import engine
from images_service.store.sql.migrations import run
from images_service.tests import base


class TestUpgradeCheck(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()

    def check(self, policy="{}", *, synced=True, **options):
        conf = base.configuration(self.folder, **options)
        if synced:
            database = engine.Database(conf)
            base.migrate(database)
            database.dispose()
        with open(f"{self.folder}/policy.json", "w", encoding="utf-8") as file:
            file.write(policy)
        path = f"{self.folder}/images_service.conf"
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = status.main(
                ["--config-file", path, "upgrade", "check", "--json"]
            )
        return code, {
            check["check"]: (check["result"], check["details"])
            for check in json.loads(out.getvalue())["checks"]
        }

    def test_good(self):
        code, checks = self.check()
        self.assertEqual(0, code)
        self.assertEqual({(0, None)}, set(checks.values()))

    def test_a_policy_that_cannot_be_taken(self):
        code, checks = self.check('{\n"nonsense": "!"}')
        self.assertEqual(1, code)
        result, details = checks["Policy files"]
        self.assertEqual(1, result)
        self.assertIn("policy.json:2: rule nonsense is unknown", details)
        self.assertIn("Fix the file", details)

    def test_administrators_everywhere(self):
        with self.assertLogs("images_service", "WARNING"):
            code, checks = self.check('{"context_is_admin": "@"}')
        self.assertEqual(1, code)
        self.assertIn("holds for every caller", checks["Policy files"][1])

    def test_users_that_cannot_be_taken(self):
        options = {
            "api": {"auth_strategy": "http_basic"},
            "oslo_middleware": {"http_basic_auth_user_file": "none"},
        }
        code, checks = self.check(**options)
        self.assertEqual(1, code)
        self.assertIn("none: there is no such file", checks["User files"][1])

    def test_a_database_of_another_release(self):
        code, checks = self.check(synced=False)
        self.assertEqual(2, code)
        result, details = checks["Database schema"]
        self.assertEqual(2, result)
        self.assertIn("has no tables", details)
        self.assertIn("images-service-manage db sync", details)

    def test_a_database_that_is_away(self):
        url = "postgresql+psycopg://images:s3cret@127.0.0.1:1/images"
        with self.assertLogs("images_service", "ERROR"):
            code, checks = self.check(synced=False, connection=url)
        self.assertEqual(2, code)
        _, details = checks["Database schema"]
        self.assertIn("does not answer: connection failed", details)
        self.assertNotIn("s3cret", details)

    def test_a_wrong_url_ended_the_checks_with_a_traceback(self):
        code, checks = self.check(synced=False, connection="images")
        self.assertEqual(2, code)
        self.assertIn("not the URL", checks["Database schema"][1])
        self.assertEqual((0, None), checks["Writable paths"])

    def test_no_driver(self):
        with mock.patch.dict("sys.modules", {"psycopg2": None}):
            code, checks = self.check(
                synced=False, connection="postgresql+psycopg2://x@127.0.0.1/x"
            )
        self.assertEqual(2, code)
        self.assertIn("pip install psycopg2", checks["Database schema"][1])

    def test_options_that_nobody_knows(self):
        code, checks = self.check(api={"max_limt": 5})
        self.assertEqual(2, code)
        self.assertIn("Did you mean max_limit?", checks["Options"][1])

    def test_tables_of_a_later_release(self):
        conf = base.configuration(self.folder)
        database = engine.Database(conf)
        self.addCleanup(database.dispose)
        run.sync(database)
        with database.writer.begin() as db:
            db.exec_driver_sql("UPDATE alembic_version SET version_num = '9'")
        code, checks = self.check(synced=False)
        self.assertEqual(2, code)
        self.assertIn("newer release", checks["Database schema"][1])

    def test_prefixes_that_hold_a_version(self):
        for name in ("compute_link_prefix", "glance_link_prefix"):
            code, checks = self.check(api={name: "http://images/v2.1/"})
            self.assertEqual(1, code)
            self.assertIn(name, checks["Link prefixes"][1])
            self.assertIn("Remove the version", checks["Link prefixes"][1])
        code, _ = self.check(api={"compute_link_prefix": "http://images/nova"})
        self.assertEqual(0, code)

    def test_tokens_that_are_not_shared(self):
        keystone = {"auth_strategy": "keystone"}
        code, checks = self.check(api=keystone)
        self.assertEqual(1, code)
        self.assertIn("memcached_servers", checks["Token cache"][1])
        cached = {"memcached_servers": "127.0.0.1:11211"}
        for found, result in ((None, 2), ("a module", 0)):
            with mock.patch("importlib.util.find_spec", return_value=found):
                code, checks = self.check(
                    api=keystone, keystone_authtoken=cached
                )
            self.assertEqual(result, code)
        self.assertEqual((0, None), checks["Token cache"])

    def test_waiting_for_the_database(self):
        code, checks = self.check(database={"pool_timeout": 31})
        self.assertEqual(1, code)
        self.assertIn("pool_timeout is 31", checks["Database options"][1])

    def test_paths_that_cannot_be_written(self):
        missing = f"{self.folder}/missing"
        for group, options in (
            ("DEFAULT", {"log_file": f"{missing}/images.log"}),
            ("DEFAULT", {"log_dir": missing}),
        ):
            code, checks = self.check(**{group: options})
            self.assertEqual(2, code)
            result, details = checks["Writable paths"]
            self.assertEqual(2, result)
            self.assertIn(missing, details)
        code, _ = self.check(DEFAULT={"log_file": f"{self.folder}/x.log"})
        self.assertEqual(0, code)
        with mock.patch("os.access", lambda path, _mode: path != "."):
            _, checks = self.check(DEFAULT={"log_file": "x.log"})
        self.assertRegex(checks["Writable paths"][1], "^[.] of log_file")

    def test_no_configuration(self):
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            code = status.main(
                ["--config-file", f"{self.folder}/x", "upgrade", "check"]
            )
        self.assertEqual(255, code)
        self.assertIn(f"{self.folder}/x", err.getvalue())
