# SPDX-License-Identifier: Apache-2.0
import json
import os
import unittest

from images_service import config
from images_service.api import routes
from images_service.policy import rules


class TestRules(unittest.TestCase):
    defaults = {rule.name: rule.check_str for rule in routes.list_rules()}

    def test_every_action_has_a_rule_and_says_how_it_is_asked_for(self):
        operations = {
            rule.name: rule.operations[0]
            for rule in routes.list_rules()
            if hasattr(rule, "operations")
        }
        actions = {route.rule for route in routes.ROUTES}
        self.assertEqual(
            {rules.CONTEXT_IS_ADMIN, rules.IMAGE_SIZE, *actions},
            set(self.defaults),
        )
        for route in routes.ROUTES:
            self.assertEqual(
                {"method": route.method, "path": route.path},
                operations[route.rule],
            )

    def test_the_shipped_file_spells_out_the_defaults(self):
        conf = config.load(["--config-file", os.devnull])
        path = config.find_file(conf, "policy.json")
        assert path is not None
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(self.defaults, json.loads(text))
        self.assertEqual(list(self.defaults), list(json.loads(text)))
