# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json
import os
import unittest
from unittest import mock

import hypothesis
from hypothesis import strategies as st
from oslo_policy import policy as oslo_policy
from oslo_policy import shell

from images_service.api import routes
from images_service.policy import enforcer
from images_service.policy import personas
from images_service.policy import review
from images_service.tests import base
from images_service.tests import keystone
from images_service.tests.unit.policy import test_enforcer

DEFAULTS = routes.list_rules()
ADMIN = "context_is_admin"
DELETE = "os_compute_api:images:delete"
SHOW = "os_compute_api:images:show"
SIZE = "os_compute_api:image-size"


class ReviewTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.conf = self.make_conf()

    def snapshot(self, rules=None):
        content = json.dumps(rules or {}).encode()
        return enforcer.Snapshot(self.conf, DEFAULTS, {"p.json": content})

    def decide(self, rules, rule, persona, image=None):
        found = review.decide(
            self.snapshot(rules),
            rule,
            personas.persona(persona).caller,
            image and personas.image(image),
        )
        return tuple(found)


class TestDecide(ReviewTestCase):
    def test_defaults(self):
        for persona, image, answer, rule, why in (
            ("admin", "other private", "allowed", DELETE, "role:admin"),
            (
                "member",
                "own private",
                "allowed",
                DELETE,
                "role:member and project_id:%(project_id)s",
            ),
            (
                "member",
                "other public",
                "refused",
                DELETE,
                "not role:admin and not project_id:%(project_id)s",
            ),
            (
                "reader",
                "own private",
                "refused",
                DELETE,
                "not role:admin and not role:member",
            ),
            ("member", "other private", "not found", ADMIN, "not role:admin"),
            (
                "admin",
                "own protected",
                "refused",
                None,
                "the image is protected",
            ),
            # Policy is asked before.
            (
                "reader",
                "own protected",
                "refused",
                DELETE,
                "not role:admin and not role:member",
            ),
        ):
            with self.subTest(persona=persona, image=image):
                self.assertEqual(
                    (answer, rule, why),
                    self.decide({}, DELETE, persona, image),
                )
        self.assertEqual(
            ("allowed", SHOW, "@"),
            self.decide({}, SHOW, "service", "other public"),
        )

    def test_the_conditions_that_decide(self):
        for text, answer, why in (
            ("", "allowed", "@"),
            ("!", "refused", "!"),
            ("not role:admin", "allowed", "not role:admin"),
            ("not role:member", "refused", "role:member"),
            (
                "not (role:admin or role:manager)",
                "allowed",
                "not role:admin and not role:manager",
            ),
            (
                "not (role:admin and role:member)",
                "allowed",
                "not role:admin",
            ),
            ("role:member or role:reader", "allowed", "role:member"),
            ("role:member and role:reader", "allowed", text_of("member")),
            ("role:admin or role:admin", "refused", "not role:admin"),
        ):
            with self.subTest(text=text):
                self.assertEqual(
                    (answer, DELETE, why),
                    self.decide(
                        {DELETE: text}, DELETE, "member", "own private"
                    ),
                )

    def test_who_is_an_administrator(self):
        self.assertEqual(
            ("refused", ADMIN, "not role:admin"),
            self.decide({}, ADMIN, "manager"),
        )
        rules = {ADMIN: "role:manager"}
        self.assertEqual("allowed", self.decide(rules, ADMIN, "manager")[0])
        self.assertEqual(
            "allowed", self.decide(rules, SHOW, "admin", "other private")[0]
        )
        rules = {ADMIN: "@"}
        self.assertEqual("refused", self.decide(rules, ADMIN, "admin")[0])
        self.assertEqual(
            ("not found", ADMIN, "it holds for every caller"),
            self.decide(rules, SHOW, "admin", "other private"),
        )

    def test_remote_services_are_not_asked(self):
        secret = "https://user:secret@policy.example/token/%(image_id)s"
        place = "https://policy.example"
        with mock.patch("requests.Session.request", side_effect=OSError):
            for text, persona, answer, why in (
                (secret, "member", "remote", place),
                (f"not {secret}", "member", "remote", place),
                (f"role:member or {secret}", "member", "allowed", None),
                (
                    f"role:admin and {secret}",
                    "member",
                    "refused",
                    "not role:admin",
                ),
            ):
                with self.subTest(text=text):
                    found = self.decide(
                        {DELETE: text}, DELETE, persona, "own private"
                    )
                    self.assertEqual(answer, found[0])
                    self.assertEqual(why or "role:member", found[2])
            rules = {ADMIN: f"role:admin or {secret}"}
            for persona, answer in (
                ("member", "remote"),
                ("admin", "allowed"),
            ):
                self.assertEqual(
                    answer,
                    self.decide(rules, SHOW, persona, "other private")[0],
                )
            self.assertEqual(
                "refused",
                self.decide(
                    {DELETE: secret}, DELETE, "admin", "own protected"
                )[0],
            )


def text_of(role):
    return f"role:{role} and role:reader"


class TestNames(ReviewTestCase):
    def test_personas(self):
        caller = personas.persona("member+janitor+user_id:u").caller
        self.assertEqual(["member", "reader", "janitor"], caller.roles)
        self.assertEqual("u", caller.user_id)
        caller = personas.persona("role:a:b+service_roles:service").caller
        self.assertEqual(
            (["a:b"], ["service"]), (caller.roles, caller.service_roles)
        )
        for name, problem in (
            ("", "a role is missing"),
            ("member+", "a role is missing"),
            ("user:u", "a caller has no user; did you mean user_id?"),
            ("system_scope:all", "a caller has no system_scope"),
        ):
            with self.subTest(name=name), self.assertRaises(ValueError) as e:
                personas.persona(name)
            self.assertIn(problem, str(e.exception))

    def test_images(self):
        image = personas.image("other protected status:queued")
        self.assertEqual("protected images with status queued", image.words)
        target = image.target(personas.persona("member").caller)
        self.assertEqual(
            ("public", "queued", True, "other-project"),
            tuple(
                target[name]
                for name in ("visibility", "status", "protected", "project_id")
            ),
        )
        for name, problem in (
            ("", "does not begin with own or other"),
            ("public", "does not begin with own or other"),
            ("own publik", "no image is publik; did you mean public?"),
            ("own statos:x", "no image is statos:x; did you mean status?"),
            ("own project_id:x", "no image is project_id:x"),
        ):
            with self.subTest(name=name), self.assertRaises(ValueError) as e:
                personas.image(name)
            self.assertIn(problem, str(e.exception))

    def test_what_rules_name(self):
        found = personas.named(
            [
                self.snapshot(
                    {
                        DELETE: "role:Member or role:janitor or role:a:b "
                        "or user_id:u or is_admin_project:True or roles:c "
                        "or service_roles:service",
                        SHOW: "'queued':%(status)s or 'p':%(project_id)s or "
                        "project_id:%(project_id)s or role:%(status)s or "
                        "not 'public':%(visibility)s or http://h/user_id:u",
                    }
                )
            ]
        )
        self.assertEqual(
            (
                *("janitor", "role:a:b", "user_id:u"),
                *("is_admin_project:False", "c", "service_roles:service"),
            ),
            found.callers,
        )
        self.assertEqual(("status:queued", "project_id:p"), found.images)
        self.assertEqual(
            ["own status:queued", "other status:queued", "other project_id:p"],
            [image.name for image in found.kinds()],
        )
        self.assertEqual(
            ["janitor", "member+janitor"],
            [each.name for each in found.personas(["member"])][:2],
        )


class TestAgainstOsloPolicy(ReviewTestCase):
    """Each cell is what oslo.policy says, be the rules what they may."""

    atoms = (
        *(f"role:{role}" for role in ("admin", "member", "Reader", "janitor")),
        *("project_id:%(project_id)s", "user_id:u7", "rule:helper"),
        *("rule:context_is_admin", "'public':%(visibility)s", "@", "!"),
        *("True:%(protected)s", "'queued':%(status)s", "not role:service"),
    )
    asked = (
        *(DELETE, SHOW, SIZE, ADMIN, "os_compute_api:image-metadata:create"),
        "os_compute_api:images:detail",
    )
    images = ("own private", "own protected", "other private", "other public")

    @hypothesis.settings(
        max_examples=20,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(
        st.dictionaries(
            st.sampled_from(asked),
            test_enforcer.joined(atoms),
            min_size=1,
            max_size=4,
        ),
        test_enforcer.joined([a for a in atoms if "rule:" not in a]),
    )
    def test_every_cell(self, rules, helper):
        self.enterContext(mock.patch("oslo_policy.policy.LOG"))
        # Any other rule may refer to it.
        rules[ADMIN] = helper
        if any("rule:helper" in text for text in rules.values()):
            rules["helper"] = helper
        folder = self.make_folder()
        path = os.path.join(folder, "policy.json")
        self.write(path, rules)
        snapshot = self.snapshot(rules)
        plain = oslo_policy.Enforcer(self.conf, policy_file=path)
        plain.register_defaults(DEFAULTS)
        # What oslopolicy-validator looks at first.
        self.assertTrue(plain.check_rules())
        named = personas.named([snapshot])
        callers = [*personas.standard(), *named.personas(["member"])]
        asked = [rule for rule in DEFAULTS if rule.name in self.asked]
        images = [*map(personas.image, self.images), *named.kinds()]
        for question in review.questions(asked, callers, images):
            rule, image, persona = question
            target = image.target(persona.caller) if image else {}
            if image is None and rule.name != ADMIN:
                target["project_id"] = persona.caller.project_id
            answer = review.answer(snapshot, question).answer
            passes = plain.authorize(
                rule.name, target, persona.caller.to_policy_values()
            )
            protected = rule.name == DELETE and target["protected"]
            if answer == review.NOT_FOUND:
                assert image is not None
                self.assertFalse(image.visible)
                self.assertNotEqual(
                    review.ALLOWED,
                    review.decide(
                        snapshot, ADMIN, persona.caller, None
                    ).answer,
                )
            elif rule.name == ADMIN and snapshot.holds_for_everyone:
                self.assertEqual(review.REFUSED, answer)
            else:
                self.assertEqual(
                    passes and not protected, answer == review.ALLOWED
                )
        # The checker knows no defaults.
        defaults = {rule.name: rule.check_str for rule in DEFAULTS}
        self.write(path, {**defaults, **rules})
        self.check_with_the_checker(folder, path, snapshot)

    def write(self, path, document):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file)

    def check_with_the_checker(self, folder, path, snapshot):
        """oslopolicy-checker says the same of a member's own image."""
        member = personas.persona("member").caller
        image = personas.image("own private")
        access, target = f"{folder}/access.json", f"{folder}/target.json"
        self.write(
            access,
            keystone.token_document(
                member.user_id, member.project_id, member.roles
            ),
        )
        self.write(target, image.target(member))
        for rule in (DELETE, SHOW):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                shell.tool(path, access, rule, target_file=target)
            answer = review.decide(snapshot, rule, member, image).answer
            verdict = "passed" if answer == review.ALLOWED else "failed"
            self.assertEqual(f"{verdict}: {rule}\n", out.getvalue())


class TestSentences(unittest.TestCase):
    def test_remote_services(self):
        rule = DEFAULTS[4]
        self.assertEqual(DELETE, rule.name)
        question = review.Question(
            rule, personas.image("other public"), personas.persona("member")
        )
        for before, after, text in (
            ("refused", "remote", "now delete public images, if a"),
            ("not found", "remote", "now delete public images, if a"),
            ("allowed", "remote", "no longer delete public images, unless a"),
            ("remote", "refused", "no longer delete public images"),
            ("remote", "allowed", "now delete public images"),
        ):
            with self.subTest(before=before, after=after):
                (line,) = review.sentences(
                    [review.Flip(question, before, after)]
                )
                self.assertIn(text, line)
                self.assertEqual(after == "remote", "remote service" in line)
