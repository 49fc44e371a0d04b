# SPDX-License-Identifier: Apache-2.0
from oslo_policy import policy

from images_service import context
from images_service.policy import enforcer
from images_service.policy import rules
from images_service.tests import base

DELETE = "os_compute_api:images:delete"


def caller(project_id=base.OWNER, roles=("member", "reader"), **kwargs):
    return context.RequestContext(
        user_id="u",
        project_id=project_id,
        roles=list(roles),
        overwrite=False,
        **kwargs,
    )


class TestPolicy(base.TestCase):
    def policy(self, **rules):
        return enforcer.Policy(self.make_conf(policy=rules))

    def test_defaults(self):
        asked = self.policy()
        target = {"project_id": base.OWNER}
        for who, allowed in (
            (caller(), True),
            (caller(roles=["reader"]), False),
            (caller(base.OTHER), False),
            (caller(base.OTHER, roles=["admin"]), True),
        ):
            self.assertEqual(allowed, asked.allows(DELETE, who, target))
            self.assertTrue(asked.allows(rules.IMAGE_SIZE, who, target))
        self.assertTrue(
            asked.allows(rules.CONTEXT_IS_ADMIN, caller(roles=["admin"]), {})
        )

    def test_the_file_wins(self):
        asked = self.policy(**{DELETE: "role:janitor"})
        self.assertFalse(asked.allows(DELETE, caller(), {}))
        janitor = caller(base.OTHER, roles=["janitor"])
        self.assertTrue(asked.allows(DELETE, janitor, {}))

    def test_system_scope_is_not_a_project(self):
        asked = self.policy(**{DELETE: "@"})
        self.assertFalse(
            asked.allows(DELETE, caller(None, system_scope="all"), {})
        )

    def test_an_undefined_reference_is_refused(self):
        with self.assertRaises(policy.InvalidDefinitionError):
            self.policy(**{DELETE: "rule:no_such_rule"})

    def test_targets(self):
        image = self.make_store(self.make_conf()).get(
            base.IDS["protected"], enforcer.model.Viewer(base.OWNER)
        )
        self.assertEqual(
            {
                "project_id": base.OWNER,
                "visibility": "private",
                "status": "active",
                "protected": True,
                "image_id": base.IDS["protected"],
            },
            enforcer.target_of(image),
        )
        asked = self.policy(**{DELETE: "not 'True':%(protected)s"})
        self.assertFalse(
            asked.allows(DELETE, caller(), enforcer.target_of(image))
        )
