# SPDX-License-Identifier: Apache-2.0
"""Callers of projects whose ids no database can compare, on each of them."""

import webob

from images_service import app
from images_service import context
from images_service.api import routes
from images_service.middleware import pipeline
from images_service.policy import enforcer
from images_service.tests import backends
from images_service.tests import base


class StrangeProjects(backends.OnBackend):
    assertFault = base.ApiTestCase.assertFault

    def setUp(self):
        super().setUp()
        self.conf = self.make_conf(connection=self.connection)
        self.store = self.make_store(self.conf, [])
        self.api = app.app_factory(
            {
                pipeline.CONF: self.conf,
                pipeline.STORE: self.store,
                pipeline.POLICY: enforcer.Policy(
                    self.conf, routes.list_rules()
                ),
            }
        )

    def get(self, path, project_id):
        caller = context.RequestContext(
            user_id="u", project_id=project_id, roles=["member", "reader"]
        )
        req = webob.Request.blank(path)
        req.environ[context.ENVIRON_KEY] = caller
        return req.get_response(self.api)

    def test_a_project_id_that_is_not_ascii_breaks_no_listing(self):
        for project_id in ("é", "p\0", "\N{KELVIN SIGN}", "a\nb"):
            for path in ("/v2.1/images", "/v2.1/images/detail?limit=1"):
                with self.subTest(project_id=project_id, path=path):
                    response = self.get(path, project_id)
                    self.assertFault(response, 403, "forbidden")
        self.assertEqual(200, self.get("/v2.1/images", "p").status_int)


class TestSQLite(StrangeProjects, base.TestCase):
    backend = "sqlite"


class TestMysql(StrangeProjects, base.TestCase):
    backend = "mysql"


class TestPostgreSQL(StrangeProjects, base.TestCase):
    backend = "postgresql"
