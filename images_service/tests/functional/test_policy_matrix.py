# SPDX-License-Identifier: Apache-2.0
"""The cells of the matrix are the answers to real requests.

Each persona, each action, each kind of images. Tokens are validated by the
stub of Keystone, as in test_personas.
"""

import uuid

from images_service import app
from images_service.api import routes
from images_service.glance import records
from images_service.policy import enforcer
from images_service.policy import personas
from images_service.policy import review
from images_service.policy import rules
from images_service.tests import base
from images_service.tests import keystone
from images_service.tests.functional import test_personas

SIZE = "OS-EXT-IMG-SIZE:size"
ROUTES = {route.rule: route for route in routes.ROUTES}
NAMED_ID = "11111111-2222-4333-8444-555555555555"
OWN = "project_id:%(project_id)s"


class MatrixTestCase(base.RequestTestCase):
    policy: dict[str, str] = {}

    def setUp(self):
        super().setUp()
        self.defaults = routes.list_rules()
        conf = self.make_conf(policy=self.policy)
        snapshot = enforcer.Policy(conf, self.defaults).value
        named = personas.named([snapshot])
        self.personas = [*personas.standard(), *named.personas(["member"])]
        # One image has an id.
        self.kinds = [
            *personas.IMAGES,
            *(
                kind
                for kind in named.kinds()
                if "other image" not in kind.name
            ),
        ]
        self.snapshot = snapshot
        documents = {
            str(number): keystone.token_document(
                each.caller.user_id,
                each.caller.project_id,
                each.caller.roles,
            )
            for number, each in enumerate(self.personas)
        }
        self.conf = self.make_keystone_conf(documents, self.policy)
        self.images = {kind.name: self.record(kind) for kind in self.kinds}
        self.store = self.make_store(self.conf, list(self.images.values()))
        self.app = app.create(self.conf, self.store)

    def record(self, kind):
        """Return an image of a kind, as Glance lists it."""
        target = kind.target(personas.persona("member").caller)
        own, other = "own-project", "other-project"
        image_id = NAMED_ID if NAMED_ID in kind.name else str(uuid.uuid4())
        return {
            "id": image_id,
            "name": kind.name,
            "owner": target["project_id"],
            "visibility": target["visibility"],
            "status": target["status"],
            "protected": target["protected"],
            "members": [
                {
                    "member_id": other if kind.own else own,
                    "status": "accepted",
                }
            ],
            "size": 1024,
            "created_at": "2026-01-01T00:00:00Z",
            "key": "value",
        }

    def ask(self, route, question):
        kind = question.image
        path = route.path.format(
            image_id=kind and self.images[kind.name]["id"], key="key"
        )
        return self.request(
            route.method,
            path,
            None,
            test_personas.BODIES.get(route.action),
            X_Auth_Token=str(self.personas.index(question.persona)),
        )

    def answer(self, question):
        """Return what becomes of a real request.

        None if nothing can be seen, since another rule refuses it.
        """
        name = question.rule.name
        if name == rules.CONTEXT_IS_ADMIN:
            response = self.ask(
                ROUTES["os_compute_api:images:index"], question
            )
            if response.status_int == 403:
                return None
            seen = {image["name"] for image in response.json["images"]}
            return "allowed" if "other private" in seen else "refused"
        if name == rules.IMAGE_SIZE:
            action = "images:show" if question.image else "images:detail"
            response = self.ask(ROUTES[f"os_compute_api:{action}"], question)
            if response.status_int != 200:
                return {403: None, 404: "not found"}[response.status_int]
            found = response.json.get("images") or [response.json["image"]]
            (sized,) = {SIZE in image for image in found}
            return "allowed" if sized else "refused"
        route = ROUTES[name]
        response = self.ask(route, question)
        if response.status_int == route.success:
            if route.method != "GET":
                image = records.new_image(
                    self.images[question.image.name], base.NOW
                )
                self.assertEqual([None], self.store.add([image], replace=True))
            return "allowed"
        answers = {403: "refused", 404: "not found"}
        return answers[response.status_int]

    def check_all(self):
        count = 0
        for question in review.questions(
            self.defaults, self.personas, self.kinds
        ):
            decision = review.answer(self.snapshot, question)
            with self.subTest(
                action=question.rule.name,
                image=question.image and question.image.name,
                persona=question.persona.name,
                why=decision.why,
            ):
                found = self.answer(question)
                if found is not None:
                    count += 1
                    self.assertEqual(found, decision.answer)
        return count


class TestDefaults(MatrixTestCase):
    def test_every_cell(self):
        # 8 actions on images and their size, 3 without one, and
        # administrators; 10 kinds of images, 5 personas.
        self.assertEqual((9 * 10 + 4) * 5, self.check_all())


class TestOddRules(MatrixTestCase):
    policy = {
        "context_is_admin": "role:manager and not role:admin",
        "os_compute_api:images:index": "not role:nobody",
        "os_compute_api:images:detail": "role:reader or user_id:u7",
        "os_compute_api:images:show": "",
        "os_compute_api:images:delete": f"rule:janitor or {OWN}",
        "os_compute_api:image-metadata:index": "True:%(protected)s",
        "os_compute_api:image-metadata:show": "!",
        "os_compute_api:image-metadata:create": "'queued':%(status)s",
        "os_compute_api:image-metadata:update_all": (
            f"'{NAMED_ID}':%(image_id)s and not role:service"
        ),
        "os_compute_api:image-metadata:update": (
            "'public':%(visibility)s or user_id:u7"
        ),
        "os_compute_api:image-metadata:delete": "",
        "os_compute_api:image-size": f"{OWN} and role:reader",
        "janitor": "role:janitor and not 'shared':%(visibility)s",
    }

    def test_every_cell(self):
        self.assertGreater(self.check_all(), 1000)


class TestNoAdministrators(MatrixTestCase):
    policy = {"context_is_admin": "@"}

    def test_who_sees_what(self):
        self.defaults = self.defaults[:5]
        self.assertEqual("os_compute_api:images:delete", self.defaults[4].name)
        self.check_all()
