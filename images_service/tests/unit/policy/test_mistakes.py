# SPDX-License-Identifier: Apache-2.0
import logging
import unittest

import hypothesis
from hypothesis import strategies as st
from oslo_config import cfg
from oslo_policy import policy

from images_service.api import routes
from images_service.policy import expressions
from images_service.policy import mistakes

DELETE = "os_compute_api:images:delete"
INDEX = "os_compute_api:images:index"


class TestNeverPassing(unittest.TestCase):
    def problems(self, **texts):
        """Return what is wrong with some rules."""
        defaults = {rule.name: rule.check_str for rule in routes.list_rules()}
        texts = {name.replace("__", ":"): text for name, text in texts.items()}
        checks = policy.Rules.from_dict({**defaults, **texts})
        return list(mistakes.never_passing(checks, routes.list_rules()))

    def test_the_defaults(self):
        self.assertEqual([], self.problems())

    def test_conditions_that_can_pass(self):
        for text in (
            "",
            "@ or !",
            "role:%(visibility)s",
            "roles:admin",
            "project_id:%(project_id)s",
            "'public':%(visibility)s",
            "'pending_delete':%(status)s",
            "'x':%(image_id)s",
            "'False':%(protected)s",
            "True:%(protected)s",
            "None:None",
            "not 'x':x",
            "system:all and system_scope:all",
            "service_roles:service",
            "user_domain_id:default",
            "is_admin_project:True",
            "http://127.0.0.1/%(image_id)s",
        ):
            with self.subTest(text=text):
                self.assertEqual([], self.problems(**{DELETE: text}))

    def test_the_part_that_never_passes_is_named(self):
        for part, problem in (
            (
                "rol:admin",
                "a caller has no rol; did you mean role:admin?",
            ),
            (
                "user_id:%(owner)s",
                "the target has no owner; did you mean %(project_id)s?",
            ),
            (
                "project_id:%(projectid)s",
                "the target has no projectid; did you mean %(project_id)s?",
            ),
            (
                "user_id:%(user_id)s",
                "the target has no user_id; it has image_id, project_id, "
                "protected, status, visibility",
            ),
            (
                "tenant_id:x",
                "a caller has no tenant_id; did you mean project_id:x?",
            ),
            (
                "is_admin:True",
                "a caller has no is_admin; did you mean "
                "rule:context_is_admin?",
            ),
            (
                "token.user:x",
                "a caller has no token.user; it has domain_id, ",
            ),
            (
                "rol:{x}",
                "a caller has no rol; did you mean role:{x}?",
            ),
            ("'x':y", "it compares two constants"),
            (
                "'publik':%(visibility)s",
                "the visibility of no image is publik; did you mean "
                "'public':%(visibility)s?",
            ),
            (
                "'true':%(protected)s",
                "the protected of no image is true; did you mean "
                "'True':%(protected)s?",
            ),
            (
                "'gone':%(status)s",
                "the status of no image is gone; it has active, ",
            ),
            (
                "visibility:public",
                "a caller has no visibility; did you mean "
                "'public':%(visibility)s?",
            ),
            (
                "http://127.0.0.1/%(imageid)s",
                "the target has no imageid; did you mean %(image_id)s?",
            ),
        ):
            text = f"role:janitor or (not {part} and role:member)"
            with self.subTest(part=part):
                ((rule, found),) = self.problems(**{DELETE: text})
                self.assertEqual(DELETE, rule)
                self.assertIn(f"{part} never passes: {problem}", found)

    def test_a_list_knows_no_image(self):
        ((rule, found),) = self.problems(**{INDEX: "'queued':%(status)s"})
        self.assertEqual(INDEX, rule)
        self.assertIn("the target has no status; it has project_id", found)
        # A rule that others refer to is asked with the targets of all.
        found = self.problems(
            **{INDEX: "rule:x", DELETE: "rule:x", "x": "'queued':%(status)s"}
        )
        self.assertEqual([], found)

    def test_an_administrator_is_known_without_an_image(self):
        ((rule, found),) = self.problems(
            context_is_admin="role:admin or rule:owner",
            owner="project_id:%(project_id)s",
        )
        self.assertEqual("context_is_admin", rule)
        self.assertIn("project_id:%(project_id)s makes no caller", found)


class TestWithoutEffect(unittest.TestCase):
    def test_conditions(self):
        for text, expected in (
            ("", []),
            ("!", []),
            ("role:a or rule:b and not role:c", []),
            ("role:a or role:a", []),
            ("@ or role:a", ["role:a"]),
            ("! and role:a or rule:b", ["role:a"]),
            ("role:a or (role:a and http://x)", ["http://x"]),
            ("(role:a or role:b) and role:a", ["role:b"]),
            ("role:a or not role:a or role:b", ["role:b"]),
            (" or ".join(["@", *(f"role:{n}" for n in range(20))]), []),
        ):
            check = policy.RuleDefault("", text).check
            with self.subTest(text=text):
                self.assertEqual(expected, mistakes.without_effect(check))


class TestCanBeAsked(unittest.TestCase):
    def test_what_would_fail_each_request(self):
        enforcer = policy.Enforcer(cfg.ConfigOpts(), use_conf=False)
        for expected, text in (
            (True, "@"),
            (True, "rule:none"),
            (True, "role:%(missing)s"),
            (True, "user_id:%(protected)d"),
            (True, "http://127.0.0.1/%(image_id)s"),
            (False, "user_id:%(project_id)!"),
            (False, "user_id:%(visibility)d"),
            (False, "role:100%"),
            (False, "class:x"),
            (False, "user_id.x:y"),
            (False, "http://127.0.0.1/%2F"),
        ):
            (condition,) = expressions.conditions(
                policy.RuleDefault("", text).check
            )
            with self.subTest(text=text):
                self.assertEqual(
                    expected, mistakes.can_be_asked(condition, enforcer)
                )


WORDS = (
    *("and", "or", "not", "AND", "Not", "(", ")", "((", "))"),
    *("role:a", "(role:b", "role:c)", "'x':%(y)s", "@", "!"),
    *("x", "'q'", '"a:b"', "'"),
)


class TestSyntax(unittest.TestCase):
    def test_the_part_that_is_wrong_is_named(self):
        for text, problem in (
            ("role:admin and", "a condition is missing after and"),
            ("or role:a", "a condition is missing between the start and or"),
            ("role:a and or role:b", "is missing between and and or"),
            ("role:a role:b", '"and" or "or" is missing before role:b'),
            ("(role:a) (role:b)", '"and" or "or" is missing before ('),
            ("role:a not role:b", '"and" or "or" is missing before not'),
            ("role:a or admin", "admin is not a condition KIND:VALUE"),
            ("'role:a'", "'role:a' is not a condition KIND:VALUE"),
            ("(role:a or role:b", "a parenthesis is not closed"),
            ("role:a)", "a parenthesis is closed that is not open"),
            ("()", "a condition is missing between ( and )"),
            ("not", "a condition is missing after not"),
            ("(" * 60 + "@" + ")" * 60, "more than 50 levels"),
            ("not " * 60 + "@", "more than 50 levels"),
            ("  ", "a condition is missing after the start"),
        ):
            with self.subTest(text=text):
                with self.assertRaises(ValueError) as caught:
                    mistakes.check_syntax(text)
                self.assertIn(problem, str(caught.exception))

    @hypothesis.settings(max_examples=1000, deadline=None, database=None)
    @hypothesis.given(st.lists(st.sampled_from(WORDS), max_size=8))
    def test_it_accepts_what_oslo_policy_understands(self, words):
        text = " ".join(words)
        logger = logging.getLogger("oslo_policy._parser")
        logger.disabled = True
        try:
            check = policy.RuleDefault("", text).check
        finally:
            logger.disabled = False
        found = [str(part) for part in expressions.conditions(check)]
        try:
            mistakes.check_syntax(text)
        except ValueError:
            # It denies what it doesn't understand.
            self.assertIn("!", found)
        else:
            others = ("and", "or", "not", "(", ")")
            conditions = [
                word for word in mistakes.words(text) if word not in others
            ]
            self.assertEqual(conditions or ["@"], found)
