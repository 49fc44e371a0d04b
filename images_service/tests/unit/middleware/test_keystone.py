# SPDX-License-Identifier: Apache-2.0
"""The caller as the filter passes it on; test_keystone has the rest."""

import unittest

from images_service.middleware import keystone
from images_service.tests.unit.middleware.test_auth import caller_of
from images_service.tests.unit.middleware.test_auth import FORGED


class TestContext(unittest.TestCase):
    def test_what_auth_token_has_validated(self):
        caller = caller_of(
            keystone.keystone_context({}),
            {
                "X-Identity-Status": "Confirmed",
                "X-User-Id": "u",
                "X-Project-Id": "p",
                "X-Roles": "member,reader",
                "X-Service-Catalog": "[]",
            },
        )
        self.assertEqual(
            ("u", "p", ["member", "reader"], "[]"),
            (
                caller.user_id,
                caller.project_id,
                caller.roles,
                caller.service_catalog,
            ),
        )

    def test_anything_else(self):
        for status in ({}, {"X-Identity-Status": "Invalid"}):
            response = caller_of(
                keystone.keystone_context({}),
                {**FORGED, **status} if status else {},
            )
            self.assertEqual(401, response.status_int)
