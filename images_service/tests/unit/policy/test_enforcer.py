# SPDX-License-Identifier: Apache-2.0
import http.server
import json
import os
import threading
from unittest import mock
import urllib.parse

import hypothesis
from hypothesis import strategies as st
from oslo_policy import _checks
from oslo_policy import policy as oslo_policy

from images_service import context
from images_service import exception
from images_service import files
from images_service import model
from images_service.api import routes
from images_service.files import FileError
from images_service.policy import enforcer
from images_service.policy import rules
from images_service.tests import base

DELETE = "os_compute_api:images:delete"
SHOW = "os_compute_api:images:show"


def caller(project_id=base.OWNER, roles=("member", "reader"), **kwargs):
    return context.RequestContext(
        **{
            "user_id": "u",
            "project_id": project_id,
            "roles": list(roles),
            "overwrite": False,
            **kwargs,
        }
    )


class PolicyTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        self.take_edits_at_once()

    def path(self, name="policy.json"):
        return os.path.join(self.folder, name)

    def policy(self, rules=None, **groups):
        return enforcer.Policy(
            base.configuration(self.folder, policy=rules, **groups),
            routes.list_rules(),
        )

    def write(self, text, name="policy.json"):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def look(self, asked):
        """Let the second pass after which it looks at its files."""
        asked._looked -= 2


class TestPolicy(PolicyTestCase):
    def test_defaults(self):
        asked = self.policy()
        target = {"project_id": base.OWNER}
        for who, allowed in (
            (caller(), True),
            (caller(roles=["reader"]), False),
            (caller(base.OTHER), False),
            (caller(base.OTHER, roles=["admin"]), True),
        ):
            for _ in range(2):
                self.assertEqual(allowed, asked.allows(DELETE, who, target))
                self.assertTrue(asked.allows(rules.IMAGE_SIZE, who, target))
        self.assertTrue(
            asked.allows(rules.CONTEXT_IS_ADMIN, caller(roles=["admin"]), {})
        )

    def test_the_file_wins(self):
        asked = self.policy({DELETE: "role:janitor"})
        self.assertFalse(asked.allows(DELETE, caller(), {}))
        janitor = caller(base.OTHER, roles=["janitor"])
        self.assertTrue(asked.allows(DELETE, janitor, {}))

    def test_system_scope_is_not_a_project(self):
        asked = self.policy({DELETE: "@"})
        self.assertFalse(
            asked.allows(DELETE, caller(None, system_scope="all"), {})
        )

    def test_targets(self):
        image = self.make_store(self.make_conf()).get(
            base.IDS["protected"], model.Viewer(base.OWNER)
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
        asked = self.policy({DELETE: "not 'True':%(protected)s"})
        target = enforcer.target_of(image)
        self.assertFalse(asked.allows(DELETE, caller(), target))
        self.assertTrue(
            asked.allows(DELETE, caller(), {**target, "protected": False})
        )

    def test_one_decision_for_many_images(self):
        asked = self.policy()
        before = len(asked.value._decisions)
        for number in range(50):
            target = {"project_id": base.OWNER, "image_id": str(number)}
            self.assertTrue(asked.allows(DELETE, caller(), target))
        self.assertEqual(before + 1, len(asked.value._decisions))

    def test_decisions_are_bounded(self):
        asked = self.policy()
        with mock.patch("images_service.policy.enforcer._DECISIONS", 10):
            for number in range(100):
                asked.allows(DELETE, caller(user_id=str(number)), {})
        self.assertLessEqual(len(asked.value._decisions), 10)

    def test_the_attributes_of_a_target_are_known_to_the_rules(self):
        image = self.make_store(self.make_conf()).get(
            base.IDS["own"], model.Viewer(base.OWNER)
        )
        self.assertEqual(
            set(enforcer.target_of(image)), rules.IMAGE_ATTRIBUTES
        )

    def test_remote_answers_are_not_remembered(self):
        asked = self.policy({DELETE: "http://policy.example/%(image_id)s"})
        with mock.patch.object(
            asked.value._enforcer,
            "authorize",
            side_effect=[True, False],
        ):
            self.assertTrue(asked.allows(DELETE, caller(), {}))
            self.assertFalse(asked.allows(DELETE, caller(), {}))
        # Those of other rules are.
        for _ in range(2):
            self.assertTrue(asked.allows(SHOW, caller(), {}))
            with mock.patch.object(
                asked.value._enforcer, "authorize", side_effect=OSError
            ):
                self.assertTrue(asked.allows(SHOW, caller(), {}))

    def test_the_callers_own_project_makes_no_administrator(self):
        for text in (
            "project_id:%(project_id)s",
            "role:admin or project_id:%(project_id)s",
            "rule:x or role:admin",
        ):
            with self.subTest(text=text):
                given = {"context_is_admin": text}
                if "x" in text:
                    given["x"] = "project_id:%(project_id)s"
                with self.assertLogs("images_service", "WARNING") as logs:
                    asked = self.policy(given)
                self.assertFalse(asked.is_admin(caller()))
                self.assertFalse(asked.is_admin(caller(roles=[])))
                self.assertEqual(
                    "admin" in text, asked.is_admin(caller(roles=["admin"]))
                )
                self.assertEqual(1, len(logs.output))
                self.assertIn(
                    "rule context_is_admin: project_id:%(project_id)s makes "
                    "no caller an administrator",
                    logs.output[0],
                )
        # Where another rule refers to it, it is asked about an image.
        self.assertTrue(
            asked.allows(DELETE, caller(), {"project_id": base.OWNER})
        )

    def test_a_rule_for_everybody_makes_nobody_an_administrator(self):
        for text in (
            "@",
            "",
            "not role:nobody",
            "rule:x",
            "not project_id:None",
            "role:admin or not user_id:None",
            "not user_domain_id:None",
            "user_domain_id:None",
            "not service_user_id:None",
            "is_admin_project:True",
            "not is_admin_project:True",
            "not project_id:%(project_id)s",
            "@ or http://127.0.0.1:1/",
            "not (http://127.0.0.1:1/ and role:nobody)",
        ):
            with self.subTest(text=text):
                given = {"context_is_admin": text}
                if "x" in text:
                    given["x"] = "@"
                with self.assertLogs("images_service", "WARNING"):
                    asked = self.policy(given)
                for who in (caller(), caller(roles=["admin"])):
                    self.assertFalse(asked.is_admin(who))
        asked = self.policy({"context_is_admin": "role:boss"})
        self.assertTrue(asked.is_admin(caller(roles=["boss"])))
        self.assertFalse(asked.is_admin(caller(roles=["admin"])))


class TestStart(PolicyTestCase):
    def assertRefused(self, text, **groups):
        with self.assertRaises(FileError) as caught:
            self.policy_as_it_is(**groups)
        self.assertIn(text, str(caught.exception))

    def policy_as_it_is(self, **groups):
        conf = base.configuration(self.folder, **groups)
        os.unlink(self.path())
        for name, text in self.texts.items():
            self.write(text, name)
        return enforcer.Policy(conf, routes.list_rules())

    def test_files_that_cannot_be_taken(self):
        for problem, text in (
            ("policy.json:1: Expecting", "{"),
            ("the file is empty", ""),
            (
                f"policy.json:2: rule {DELETE} is null",
                f'{{\n"{DELETE}": null}}',
            ),
            (
                "policy.json:2: rule os_compute_api:images:delte is unknown",
                '{\n"os_compute_api:images:delte": "!"}',
            ),
            (
                f"policy.json:1: rule {DELETE} refers to nobody, which is not",
                f'{{"{DELETE}": "rule:nobody"}}',
            ),
            (
                f"policy.json:1: rule {DELETE} can't be understood",
                f'{{"{DELETE}": "role:a and and role:b"}}',
            ),
            (
                "policy.json:1: rule x refers to itself: x → y → x",
                f'{{"{DELETE}": "rule:x", "x": "rule:y", "y": "rule:x"}}',
            ),
            (
                "policy.json:1: rule context_is_admin refers to itself: ",
                f'{{"context_is_admin": "not rule:{DELETE}"}}',
            ),
            (
                "refers to too many rules",
                json.dumps(
                    {
                        DELETE: "rule:0",
                        **{str(n): f"rule:{n + 1}" for n in range(5000)},
                        "5000": "@",
                    }
                ),
            ),
        ):
            self.texts = {"policy.json": text}
            with self.subTest(text=text):
                self.assertRefused(problem)

    def test_helpers_that_are_referred_to_are_rules(self):
        self.texts = {
            "policy.json": f'{{"{DELETE}": "rule:x", "x": "role:janitor"}}'
        }
        asked = self.policy_as_it_is()
        janitor = caller(roles=["janitor"])
        self.assertTrue(asked.allows(DELETE, janitor, {}))

    def test_both_formats_and_neither_named(self):
        self.texts = {"policy.json": "{}", "policy.yaml": "{}"}
        self.assertRefused("both are there")
        self.policy_as_it_is(oslo_policy={"policy_file": "policy.yaml"})

    def test_yaml_alone(self):
        self.texts = {"policy.yaml": f'"{DELETE}": "!"\n'}
        asked = self.policy_as_it_is()
        self.assertFalse(asked.allows(DELETE, caller(roles=["admin"]), {}))

    def test_a_named_file_that_is_missing(self):
        self.texts = {}
        self.assertRefused(
            "no such file", oslo_policy={"policy_file": "none.json"}
        )

    def test_policy_d(self):
        os.mkdir(self.path("policy.d"))
        self.texts = {
            "policy.json": f'{{"{DELETE}": "!"}}',
            "policy.d/10.json": f'{{"{DELETE}": "role:ten"}}',
            "policy.d/20.yaml": f'"{DELETE}": "role:twenty"',
            "policy.d/.hidden": "{",
        }
        asked = self.policy_as_it_is()
        for role, allowed in (("ten", False), ("twenty", True)):
            who = caller(roles=[role])
            self.assertEqual(allowed, asked.allows(DELETE, who, {}))


class TestEdits(PolicyTestCase):
    def setUp(self):
        super().setUp()
        self.asked = self.policy({DELETE: "role:old"})

    def role(self):
        """Return which role is allowed, as the rules are in force."""
        self.look(self.asked)
        return next(
            role
            for role in ("old", "new", "newer", "member", None)
            if role is None
            or self.asked.allows(
                DELETE, caller(roles=[role]), {"project_id": base.OWNER}
            )
        )

    def text(self, role):
        return json.dumps({DELETE: f"role:{role}"})

    def test_it_looks_once_a_second_at_most(self):
        with mock.patch.object(
            files, "read_all", wraps=files.read_all
        ) as looked:
            for _ in range(100):
                self.asked.allows(DELETE, caller(), {})
            self.assertLessEqual(looked.call_count, 1)

    def test_written_over(self):
        self.write(self.text("new"))
        self.assertEqual("new", self.role())

    def test_renamed_over(self):
        self.write(self.text("new"), "other")
        os.replace(self.path("other"), self.path())
        self.assertEqual("new", self.role())

    def test_an_older_file_is_put_back(self):
        self.write(self.text("new"))
        self.assertEqual("new", self.role())
        self.write(self.text("newer"), "other")
        os.utime(self.path("other"), (1, 1))
        os.replace(self.path("other"), self.path())
        self.assertEqual("newer", self.role())

    def test_symbolic_links_are_swapped(self):
        for role in ("new", "newer"):
            self.write(self.text(role), f"{role}.json")
            os.symlink(f"{role}.json", self.path("link"))
            os.replace(self.path("link"), self.path())
            self.assertEqual(role, self.role())

    def test_what_cannot_be_taken_changes_nothing(self):
        for text in (
            "",
            "{",
            f'{{"{DELETE}": null}}',
            '{"no such rule": "!"}',
            f'{{"{DELETE}": "rule:none"}}',
        ):
            self.write(text)
            with self.assertLogs("images_service", "ERROR") as logs:
                self.assertEqual("old", self.role())
                self.assertEqual("old", self.role())
            self.assertEqual(1, len(logs.output))
            self.assertIn(self.path(), self.asked.problem)
        self.write(self.text("new"))
        self.assertEqual("new", self.role())
        self.assertIsNone(self.asked.problem)

    def test_deleted_and_recreated(self):
        os.unlink(self.path())
        with self.assertLogs("images_service", "ERROR"):
            self.assertEqual("old", self.role())
        self.write(self.text("new"))
        self.assertEqual("new", self.role())

    def test_a_rule_left_out_has_its_default(self):
        self.write("{}")
        self.assertEqual("member", self.role())

    def test_threads_see_old_or_new_rules_and_nothing_between(self):
        wrong = []
        stop = threading.Event()

        def ask():
            while not stop.is_set():
                self.look(self.asked)
                for role in ("old", "new"):
                    who = caller(roles=[role, "always"])
                    if not self.asked.allows(DELETE, who, {}):
                        wrong.append(role)

        self.write(
            f'{{"{DELETE}": "role:old and role:always or role:always"}}'
        )
        self.look(self.asked)
        self.asked.allows(DELETE, caller(), {})
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(40):
            role = ("old", "new")[number % 2]
            text = f"role:always and role:{role} or role:always"
            self.write(json.dumps({DELETE: text}), "other")
            os.replace(self.path("other"), self.path())
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong)


class TestHalfOfAnEdit(PolicyTestCase):
    """The kernel doesn't say whether a process writes the file."""

    def setUp(self):
        super().setUp()
        silent = mock.patch.object(files, "is_written", return_value=None)
        silent.start()
        self.addCleanup(silent.stop)
        self.asked = self.policy_of_yaml()

    def policy_of_yaml(self):
        conf = base.configuration(
            self.folder, oslo_policy={"policy_file": "policy.yaml"}
        )
        self.write(f'"{SHOW}": "!"\n"{DELETE}": "!"\n', "policy.yaml")
        return enforcer.Policy(conf, routes.list_rules())

    def shown(self):
        self.look(self.asked)
        return self.asked.allows(SHOW, caller(), {})

    def test_a_yaml_file_that_lacks_rules_is_not_taken(self):
        for text in (f'"{DELETE}": "!"\n', "# Nothing yet.\n"):
            self.write(text, "policy.yaml")
            for _ in range(3):
                self.assertFalse(self.shown())
        with mock.patch.object(files, "_CAUTIOUS", 0):
            self.assertTrue(self.shown())

    def test_what_has_all_rules_is_taken(self):
        self.write(f'"{DELETE}": "!"\n"{SHOW}": "@"\n', "policy.yaml")
        self.assertTrue(self.shown())

    def test_json_is_taken_since_it_has_an_end(self):
        self.write("{}", "policy.yaml")
        self.assertTrue(self.shown())

    def test_a_file_that_is_gone_is_not_half_of_one(self):
        os.mkdir(self.path("policy.d"))
        self.write(f'"{SHOW}": "@"\n', "policy.d/1.yaml")
        self.assertTrue(self.shown())
        os.unlink(self.path("policy.d/1.yaml"))
        self.assertFalse(self.shown())


ATOMS = (
    "@",
    "!",
    "",
    "role:admin",
    "role:member",
    "rule:context_is_admin",
    "rule:helper",
    "project_id:%(project_id)s",
    "user_id:%(user_id)s",
    "'private':%(visibility)s",
    "True:%(protected)s",
    "user_id:u1",
    "'x':%(missing)s",
    "not role:reader",
    "is_admin_project:True",
    "system_scope:all",
    "service_roles:service",
    "role:%(visibility)s",
    # In the place of a remote check; see there.
    "remote:%(visibility)s",
)


def joined(atoms):
    """Return a strategy of rules that are made of some conditions."""
    return st.recursive(
        st.sampled_from([atom for atom in atoms if atom]),
        lambda inner: st.builds(
            "({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner
        ),
        max_leaves=5,
    )


texts = joined(ATOMS)
rule_sets = st.dictionaries(
    st.sampled_from([rule.name for rule in routes.list_rules()]),
    st.one_of(texts, st.just("")),
    max_size=4,
)
targets = st.fixed_dictionaries(
    {},
    optional={
        "project_id": st.sampled_from(["p1", "p2"]),
        "user_id": st.sampled_from(["u1", "u2"]),
        "visibility": st.sampled_from(model.VISIBILITIES),
        "protected": st.booleans(),
        "image_id": st.sampled_from(["i1", "i2"]),
    },
)
callers = st.builds(
    caller,
    project_id=st.sampled_from(["p1", "p2", None]),
    user_id=st.sampled_from(["u1", "u2"]),
    roles=st.lists(
        st.sampled_from(["admin", "member", "reader", "Admin"]), max_size=3
    ),
    system_scope=st.sampled_from([None, None, None, "all"]),
    domain_id=st.sampled_from([None, None, None, "d"]),
    is_admin_project=st.booleans(),
    service_roles=st.sampled_from([[], ["service"]]),
)


class Remote(http.server.BaseHTTPRequestHandler):
    """Lets users have what is theirs, and administrators everything."""

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        sent = urllib.parse.parse_qs(self.rfile.read(length).decode())
        who, what = (
            json.loads(sent[name][0]) for name in ("credentials", "target")
        )
        allowed = "admin" in who["roles"] or (
            self.path == "/private"
            and who["project_id"] == what.get("project_id")
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(allowed).encode())

    def log_message(self, *args):
        pass


class TestAgainstOsloPolicy(PolicyTestCase):
    """The decisions are oslo.policy's, first and remembered ones."""

    def setUp(self):
        super().setUp()
        remote = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Remote)
        thread = threading.Thread(target=remote.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(remote.server_close)
        self.addCleanup(remote.shutdown)
        self.remote = f"http://127.0.0.1:{remote.server_address[1]}/"

    def outcome(self, function, *args):
        """Return what a check says, or how it fails."""
        try:
            return bool(function(*args))
        except Exception as error:
            return type(error)

    @hypothesis.settings(
        max_examples=300,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(
        rule_sets,
        texts,
        st.lists(st.tuples(callers, targets), min_size=1, max_size=6),
    )
    def test_the_same(self, found, helper, questions):
        hypothesis.assume("rule:" not in helper)
        found.pop("context_is_admin", None)
        if any("rule:helper" in text for text in found.values()):
            found = {**found, "helper": helper}
        found = {
            name: text.replace("remote:", self.remote)
            for name, text in found.items()
        }
        conf = base.configuration(self.folder, policy=found)
        with mock.patch.object(enforcer.LOG, "warning"):
            asked = enforcer.Policy(conf, routes.list_rules())
        plain = oslo_policy.Enforcer(conf, policy_file=self.path())
        plain.register_defaults(routes.list_rules())
        for known in (False, True):
            for who, target in questions:
                values = who.to_policy_values()
                for rule in routes.list_rules():
                    expected = self.outcome(
                        plain.authorize, rule.name, dict(target), values
                    )
                    question = rule.name, who, target
                    actual = self.outcome(asked.allows, *question)
                    if actual is exception.PolicyUnavailable:
                        # The URL can't be made, which oslo.policy's "rule:"
                        # takes for "no", and a "not" before it for "yes".
                        self.assertNotIn("visibility", target)
                        continue
                    self.assertEqual(expected, actual)
                    if known and isinstance(expected, bool):
                        self.assertEqual(
                            expected, asked.value.explain(*question).passes
                        )


class TestStrangers(PolicyTestCase):
    """A caller without roles that no rule names is no administrator."""

    @hypothesis.settings(
        max_examples=300,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(
        joined(
            [
                *(atom for atom in ATOMS if "rule:" not in atom),
                "remote:x",
                "not remote:x",
                *(
                    f"{negation}{name}:{value}"
                    for negation in ("", "not ")
                    for name, value in (
                        ("user_id", "None"),
                        ("project_id", "None"),
                        ("project_id", "%(project_id)s"),
                        ("project_domain_id", "None"),
                        ("user_domain_id", "%(user_domain_id)s"),
                        ("domain_id", "None"),
                        ("system_scope", "None"),
                        ("service_project_id", "None"),
                        ("is_admin_project", "True"),
                        ("is_admin_project", "False"),
                        ("roles", "reader"),
                        ("True", "%(protected)s"),
                    )
                ),
            ]
        ),
        st.builds(
            caller,
            project_id=st.uuids().map(str),
            user_id=st.uuids().map(str),
            roles=st.just(()),
            user_domain_id=st.sampled_from([None, "d"]),
            service_user_id=st.sampled_from([None, "s"]),
            service_project_id=st.sampled_from([None, "s"]),
            is_admin_project=st.booleans(),
        ),
    )
    def test_no_stranger_is_an_administrator(self, text, who):
        # Plug-ins are asked as remote services are, and quicker.
        with (
            mock.patch.dict(_checks.get_extensions(), {"remote": Answering}),
            mock.patch.object(enforcer.LOG, "warning"),
        ):
            asked = self.policy({"context_is_admin": text})
            found = {asked.is_admin(who)}
            if "remote:" in text:
                with mock.patch.object(Answering, "answer", True):
                    found.add(asked.is_admin(who))
        # A remote service can tell them from others.
        self.assertIn(False, found)


class Answering(oslo_policy.Check):
    answer = False

    def __call__(self, target, creds, enforcer, current_rule=None):
        return self.answer
