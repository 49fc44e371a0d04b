# SPDX-License-Identifier: Apache-2.0
import os

from oslo_config import cfg

from images_service import config
from images_service.tests import base


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
        # A request can't wait for ten attempts ten seconds apart.
        self.assertEqual(0, conf.database.max_retries)
        self.assertEqual(4, conf.database.pool_timeout)

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
        self.assertIsNotNone(shipped)
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
