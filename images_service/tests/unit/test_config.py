# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from unittest import mock

from oslo_config import cfg

from images_service import config
from images_service.tests import base

# Prints the options of libraries whose defaults a new configuration changes.
CHANGED = """
from importlib import metadata
import json

def defaults():
    return {
        f"{namespace.name} {group} {option.dest}": str(option.default)
        for namespace in metadata.entry_points(group="oslo.config.opts")
        if namespace.name.startswith(("oslo.", "keystonemiddleware."))
        for group, options in namespace.load()()
        for option in options
    }

before = defaults()
from images_service import config
config.new()
after = defaults()
print(json.dumps([
    len(before), [name for name in before if before[name] != after[name]]
]))
"""


class TestConfig(base.TestCase):
    def test_defaults(self):
        conf = config.new()
        conf([])
        self.assertEqual("keystone", conf.api.auth_strategy)
        self.assertEqual("2.38", conf.api.max_microversion)
        self.assertEqual(1000, conf.api.max_limit)
        self.assertEqual(128, conf.quota.metadata_items)
        self.assertEqual("policy.json", conf.oslo_policy.policy_file)
        self.assertEqual(114688, conf.oslo_middleware.max_request_body_size)
        # A request can't wait for a connection for longer than its caller.
        self.assertEqual(4, conf.database.pool_timeout)

    def test_libraries_keep_their_defaults_for_others_in_the_process(self):
        done = subprocess.run(
            [sys.executable, "-c", CHANGED],
            capture_output=True,
            text=True,
            check=True,
        )
        count, changed = json.loads(done.stdout)
        self.assertGreater(count, 100)
        self.assertEqual([], changed)

    def test_defaults_of_libraries_that_suit_this_service(self):
        conf = config.new()
        conf([])
        self.assertIn("oslo_policy=ERROR", conf.default_log_levels)
        self.assertIn("amqp=WARN", conf.default_log_levels)
        self.assertIn("ETag", conf.cors.expose_headers)
        self.assertIn("If-Match", conf.cors.allow_headers)
        self.assertIn("images_service_store", conf.healthcheck.backends)
        self.assertEqual(3, conf.oslo_policy.remote_timeout)

    def test_configurations_are_independent(self):
        first = self.make_conf(api={"max_limit": 5})
        second = self.make_conf()
        self.assertEqual(5, first.api.max_limit)
        self.assertEqual(1000, second.api.max_limit)

    def test_a_wrong_value_is_named(self):
        for group, name, value in (
            ("api", "auth_strategy", "none"),
            ("api", "max_microversion", "3.1"),
            ("api", "max_limit", "0"),
            ("api", "compute_link_prefix", "ftp://x"),
            # No connection at all: each request would be a 503.
            ("database", "max_pool_size", "0"),
            ("database", "max_overflow", "-1"),
        ):
            with self.subTest(option=name):
                conf = self.make_conf(**{group: {name: value}})
                with self.assertRaises(cfg.ConfigFileValueError) as caught:
                    getattr(conf[group], name)
                self.assertIn(name, str(caught.exception))

    def test_files_are_found_beside_the_configuration_first(self):
        folder = self.make_folder()
        conf = base.configuration(folder)
        self.assertEqual(
            os.path.join(folder, "policy.json"),
            config.find_file(conf, "policy.json"),
        )
        shipped = config.find_file(conf, "api-paste.ini")
        assert shipped is not None
        self.assertNotEqual(folder, os.path.dirname(shipped))
        self.assertIsNone(config.find_file(conf, "no-such-file"))
        self.assertIsNone(config.find_file(conf, "/no/such/file"))

    def test_list_opts_names_every_own_option(self):
        found = {
            (group, opt.name)
            for group, opts in config.list_opts()
            for opt in opts
        }
        self.assertIn(("api", "auth_strategy"), found)
        self.assertIn(("quota", "metadata_items"), found)
        for group, opts in config.list_opts():
            for opt in opts:
                self.assertTrue(opt.help, f"{group}.{opt.name}")

    def test_a_variable_names_the_files(self):
        folder = self.make_folder()
        paths = [f"{folder}/{name}.conf" for name in ("one", "two")]
        for path, option in zip(
            paths, ("max_limit = 7", "max_microversion = 2.40"), strict=True
        ):
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"[api]\n{option}\n")
        variable = {"OS_IMAGES_SERVICE_CONFIG_FILES": ";".join(paths)}
        with mock.patch.dict(os.environ, variable):
            conf = config.load()
            named = config.load(["--config-file", paths[0]])
        self.assertEqual(7, conf.api.max_limit)
        self.assertEqual("2.40", conf.api.max_microversion)
        # A command line comes first.
        self.assertEqual("2.38", named.api.max_microversion)
