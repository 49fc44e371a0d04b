# SPDX-License-Identifier: Apache-2.0
from images_service.glance import protections
from images_service.tests import base

RULES = """
[^owned_]
read = admin,member

[secret]
read = !

[^open$]
read = @

[forgotten]
update = admin
"""


class TestProtections(base.TestCase):
    def make(self, text):
        path = f"{self.make_folder()}/protections.conf"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return protections.Protections(path)

    def test_who_reads_what(self):
        made = self.make(RULES)
        for name, readers in (
            ("owned_a", {"admin", "member"}),
            # The first section that is found in the name decides.
            ("owned_secret", {"admin", "member"}),
            ("my_secret", set()),
            ("open", {"admin", "member", "reader"}),
            ("opened", set()),
            ("forgotten", set()),
            # Glance's own, whatever the file says.
            ("os_glance_import", {"admin", "member", "reader"}),
        ):
            with self.subTest(name):
                found = {
                    role
                    for role in ("admin", "member", "reader")
                    if made.readable({name: "x"}, [role.title()])
                }
                self.assertEqual(readers, found)

    def test_no_role_at_all(self):
        items = {"open": "a", "owned_a": "b"}
        self.assertEqual({"open": "a"}, self.make(RULES).readable(items, []))

    def test_mistakes_are_named(self):
        for text, part in (
            ("[(]\nread = @\n", r"\[\(\]"),
            ("read = @\n", "protections.conf"),
            ("[a]\nread = @\n[a]\nread = @\n", "a"),
        ):
            with self.assertRaisesRegex(ValueError, part):
                self.make(text)
