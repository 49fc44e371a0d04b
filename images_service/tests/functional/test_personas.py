# SPDX-License-Identifier: Apache-2.0
"""Who may do what: every action, every persona, every kind of image.

Tokens are validated by the stub of Keystone, so that a persona is what real
headers make of it.  ``member`` and ``reader`` are of the project that owns
what is called own; ``other`` is a member of the project that owns the rest.
"""

import json
import os

from images_service import app
from images_service import config
from images_service import model
from images_service.api import routes
from images_service.glance import records
from images_service.store.sql import engine
from images_service.store.sql.store import SqlStore
from images_service.tests import base
from images_service.tests import keystone

PERSONAS = {
    "nobody": None,
    "reader": ("rob", base.OWNER, ["reader"]),
    "member": ("alice", base.OWNER, ["member", "reader"]),
    "other": ("bob", base.OTHER, ["member", "reader"]),
    "admin": ("root", base.ADMIN, ["admin", "member", "reader"]),
    "system": ("root", None, ["admin", "member", "reader"]),
    "service": ("nova", "service-project", ["service"]),
}

# An image's own attributes, kind by kind, are those of ``base``.
READ = """
                  nobody reader member other admin system service
own                  401    200    200   404   200    403     404
public               401    200    200   200   200    403     200
shared-accepted      401    200    200   200   200    403     404
shared-pending       401    200    200   200   200    403     404
community            401    200    200   200   200    403     200
hidden               401    200    200   404   200    403     404
protected            401    200    200   404   200    403     404
others-private       401    404    404   200   200    403     404
"""
WRITE = """
                  nobody reader member other admin system service
own                  401    403    200   404   200    403     404
public               401    403    403   200   200    403     403
shared-accepted      401    403    403   200   200    403     404
shared-pending       401    403    403   200   200    403     404
community            401    403    403   200   200    403     403
hidden               401    403    200   404   200    403     404
protected            401    403    200   404   200    403     404
others-private       401    404    404   200   200    403     404
"""
# Protection is from everybody.
DELETE = """
                  nobody reader member other admin system service
own                  401    403    200   404   200    403     404
public               401    403    403   200   200    403     403
shared-accepted      401    403    403   200   200    403     404
shared-pending       401    403    403   200   200    403     404
community            401    403    403   200   200    403     403
hidden               401    403    200   404   200    403     404
protected            401    403    403   404   403    403     404
others-private       401    404    404   200   200    403     404
"""
# Whether it is in a list, for those who get one.
LISTED = """
                  nobody reader member other admin system service
own                  401    yes    yes    no   yes    403      no
public               401    yes    yes   yes   yes    403     yes
shared-accepted      401    yes    yes   yes   yes    403      no
shared-pending       401     no     no   yes   yes    403      no
community            401     no     no   yes    no    403      no
hidden               401     no     no    no    no    403      no
protected            401    yes    yes    no   yes    403      no
others-private       401     no     no   yes   yes    403      no
"""
BODIES = {
    "image-metadata:create": {"metadata": {"a": "b"}},
    "image-metadata:update_all": {"metadata": {"a": "b"}},
    "image-metadata:update": {"meta": {"key": "b"}},
}
NAMES = {401: "unauthorized", 403: "forbidden", 404: "itemNotFound"}


def cells(text):
    """Return a table as (image, persona) -> what stands there."""
    header, *lines = [line.split() for line in text.strip().splitlines()]
    return {
        (kind, persona): word
        for kind, *words in lines
        for persona, word in zip(header, words, strict=True)
    }


def table_of(action):
    """Return the table that says what becomes of an action."""
    if action in ("images:index", "images:detail"):
        return LISTED
    if action == "images:delete":
        return DELETE
    name = action.partition(":")[2]
    return READ if name in ("show", "index") else WRITE


KINDS = tuple(dict.fromkeys(kind for kind, _ in cells(READ)))


class PersonasTestCase(base.RequestTestCase):
    policy: dict | None = None

    def setUp(self):
        super().setUp()
        documents = {
            name: keystone.token_document(*who, system=name == "system")
            for name, who in PERSONAS.items()
            if who is not None
        }
        self.conf = self.make_keystone_conf(documents, self.policy)
        self.images = {
            kind: {**record, "key": "value"}
            for kind, record in zip(base.IDS, base.samples(), strict=True)
            if kind in KINDS
        }
        self.store = self.make_store(self.conf, list(self.images.values()))
        self.app = app.create(self.conf, self.served_store())

    def served_store(self):
        return self.store

    def ask(self, route, kind, persona):
        path = route.path.format(image_id=base.IDS.get(kind), key="key")
        headers = {} if persona == "nobody" else {"X_Auth_Token": persona}
        return self.request(
            route.method, path, None, BODIES.get(route.action), **headers
        )

    def everything(self):
        viewer = model.Viewer("", is_admin=True)
        found = {k: self.store.get(base.IDS[k], viewer) for k in self.images}
        return {k: image._replace(generation=0) for k, image in found.items()}

    def restore(self, kind):
        image = records.new_image(self.images[kind], base.NOW)
        self.assertEqual([None], self.store.add([image], replace=True))

    def expected(self, action):
        """Return (kind, persona) -> status, for the rules in force."""
        return cells(table_of(action))

    def check(self, route, kind, persona, word):
        response = self.ask(route, kind, persona)
        if word in ("401", "403", "404"):
            self.assertFault(response, int(word), NAMES[int(word)])
        elif word == "200":
            self.assertEqual(route.success, response.status_int, response.text)
            if route.method != "GET":
                self.restore(kind)
        else:
            ids = [image["id"] for image in response.json["images"]]
            self.assertEqual(word == "yes", base.IDS[kind] in ids)

    def check_all(self):
        before = self.everything()
        for route in routes.ROUTES:
            expected = self.expected(route.action)
            self.assertEqual(len(PERSONAS) * len(KINDS), len(expected))
            for (kind, persona), word in expected.items():
                with self.subTest(
                    action=route.action, image=kind, persona=persona
                ):
                    self.check(route, kind, persona, word)
        # What was refused has changed nothing.
        self.assertEqual(before, self.everything())


class TestDefaults(PersonasTestCase):
    def test_every_cell(self):
        self.check_all()


class TestShippedFile(PersonasTestCase):
    """policy.json as it is shipped says what the code says."""

    def setUp(self):
        shipped = config.find_file(
            config.load(["--config-file", os.devnull]), "policy.json"
        )
        assert shipped is not None
        with open(shipped, encoding="utf-8") as file:
            self.policy = json.load(file)
        self.assertEqual(
            {rule.name: rule.check_str for rule in routes.list_rules()},
            self.policy,
        )
        super().setUp()

    def test_every_cell(self):
        self.check_all()


class TestEveryActionAllowed(PersonasTestCase):
    """The store hides what isn't visible, whatever policy allows."""

    policy = {route.rule: "@" for route in routes.ROUTES}

    def expected(self, action):
        found = cells(table_of(action))
        if action in ("images:index", "images:detail"):
            return found
        read = cells(READ)
        if action == "images:delete":
            # Protection is no matter of policy.
            for persona in PERSONAS:
                if read["protected", persona] == "200":
                    read["protected", persona] = "403"
        return read

    def test_every_cell(self):
        self.check_all()


class TestNothingButAt(TestEveryActionAllowed):
    """The same where context_is_admin is "@", too.

    It makes no caller an administrator, so an admin is a stranger, as the
    service is.
    """

    policy = {rule.name: "@" for rule in routes.list_rules()}

    def expected(self, action):
        found = super().expected(action)
        for kind in KINDS:
            found[kind, "admin"] = found[kind, "service"]
        return found


class BlindStore(SqlStore):
    """A store that shows everybody everything."""

    everything = model.Viewer("", is_admin=True)

    def get(self, image_id, viewer):
        return super().get(image_id, self.everything)

    def page(self, query, viewer, kind):
        return super().page(query, self.everything, kind)


class TestBlindStore(PersonasTestCase):
    """Policy refuses writes of what isn't one's own, were it all visible."""

    def served_store(self):
        database = engine.Database(self.conf)
        self.addCleanup(database.dispose)
        return BlindStore(database)

    def expected(self, action):
        found = cells(table_of(action))
        name = action.partition(":")[2]
        if action in ("images:index", "images:detail"):
            # No list has hidden images, and an administrator's leaves out
            # community ones.
            unlisted = ("community", "hidden")
            return {
                (kind, persona): word
                if word.isdigit()
                else ("no" if kind in unlisted else "yes")
                for (kind, persona), word in found.items()
            }
        seen = "200" if name in ("show", "index") else "403"
        return {k: seen if v == "404" else v for k, v in found.items()}

    def test_every_cell(self):
        self.check_all()
