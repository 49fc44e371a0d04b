# SPDX-License-Identifier: Apache-2.0
import graphlib
import itertools
import unittest

import hypothesis
from hypothesis import strategies as st
from oslo_policy import policy

from images_service.policy import expressions

RULES = policy.Rules.from_dict(
    {
        "plain": "role:a and (user_id:%(user_id)s or not @)",
        "deep": "not (rule:plain or 'x':%(visibility)s)",
        "role": "role:%(status)s",
        "odd": "user_id:%(image_id)20r",
        "remote": "role:a or (rule:asks and role:b)",
        "asks": "not https://policy.example/",
        "nothing": "",
    }
)


class TestExpressions(unittest.TestCase):
    def test_conditions(self):
        self.assertEqual(
            ["role:a", "user_id:%(user_id)s", "@"],
            [str(c) for c in expressions.conditions(RULES["plain"])],
        )
        self.assertEqual(["deep", "plain"], expressions.reach(RULES)["deep"])

    def test_references(self):
        for name, expected in (("plain", []), ("deep", ["plain"])):
            found = expressions.references(RULES[name])
            self.assertEqual(expected, found)

    def test_attributes(self):
        for name, expected in (
            ("plain", ("user_id",)),
            ("deep", ("user_id", "visibility")),
            ("role", ("status",)),
            ("odd", ("image_id",)),
            ("nothing", ()),
            ("remote", None),
            ("asks", None),
        ):
            with self.subTest(rule=name):
                reached = expressions.reach(RULES)[name]
                self.assertEqual(
                    expected, expressions.attributes(RULES, reached)
                )

    def test_rules_that_are_referred_to_again_and_again(self):
        texts = {f"{n}": f"rule:{n + 1} or rule:{n + 1}" for n in range(90)}
        rules = policy.Rules.from_dict({**texts, "90": "@"})
        self.assertEqual(set(rules), set(expressions.reach(rules)["0"]))
        with self.assertRaises(RecursionError):
            expressions.reach(
                policy.Rules.from_dict(
                    {f"{n}": f"rule:{n + 1}" for n in range(102)}
                    | {"102": "@"}
                )
            )

    def test_cycles(self):
        for texts, way in (
            ({"a": "rule:a"}, ["a", "a"]),
            ({"a": "rule:b", "b": "not rule:a"}, ["a", "b", "a"]),
            (
                {"a": "rule:b", "b": "@ and (! or rule:c)", "c": "rule:b"},
                ["b", "c", "b"],
            ),
            # Two ways to one rule are no cycle.
            ({"a": "rule:b or rule:c", "b": "rule:c", "c": "@"}, []),
        ):
            with self.subTest(texts=texts):
                found = policy.Rules.from_dict(texts)
                try:
                    expressions.reach(found)
                except graphlib.CycleError as error:
                    self.assertEqual(way, error.args[1])
                else:
                    self.assertEqual([], way)


class TestWhy(unittest.TestCase):
    names = ("role:a", "role:b", "role:c", "role:d")

    def explained(self, text, roles):
        def ask(condition):
            passes = str(condition) in roles or str(condition) == "@"
            return expressions.Explanation(str(condition), passes)

        check = policy.RuleDefault("", text).check
        return expressions.explain(check, {}, ask)

    @hypothesis.settings(max_examples=200, deadline=None, database=None)
    @hypothesis.given(
        st.recursive(
            st.sampled_from([*names, *(f"not {n}" for n in names), "@", "!"]),
            lambda inner: st.builds(
                "{}({} {} {})".format,
                st.sampled_from(["", "not "]),
                inner,
                st.sampled_from(["and", "or"]),
                inner,
            ),
            max_leaves=6,
        ),
        st.sets(st.sampled_from(names)),
    )
    def test_it_decides_whatever_the_other_conditions_are(self, text, roles):
        found = self.explained(text, roles)
        why = found.why()
        words = [word for word in why.split(" and ") if word not in ("@", "!")]
        fixed = {
            word.removeprefix("not "): "not " not in word for word in words
        }
        self.assertEqual(
            {word: word in roles for word in fixed}, fixed, (text, why)
        )
        free = [name for name in self.names if name not in fixed]
        for values in itertools.product((True, False), repeat=len(free)):
            given = dict(zip(free, values, strict=True)) | fixed
            others = {name for name, passes in given.items() if passes}
            self.assertEqual(
                found.passes, self.explained(text, others).passes, (text, why)
            )
