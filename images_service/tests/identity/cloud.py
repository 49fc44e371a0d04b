# SPDX-License-Identifier: Apache-2.0
"""A small cloud: Keystone, memcached, and the image API in front of SQLite.

``tox -e functional-keystone`` makes the environments that it needs and names
them in variables.
"""

import json
import os
import tempfile
import unittest

from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from oslo_config import cfg
import requests

from images_service.glance import records
from images_service.store.sql import engine
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import base
from images_service.tests.servers import processes

# For how long the service believes what Keystone said, in seconds.
CACHE_SECONDS = 6
# The image endpoint of the catalog; nothing listens there.
GLANCE = "http://127.0.0.1:9292"
REGION = "here"
PASSWORD = "secret"
# User -> its project and roles.
USERS = {
    "alice": ("owners", ["member", "reader"]),
    "rob": ("owners", ["reader"]),
    "bob": ("others", ["member", "reader"]),
    "images": ("service", ["service"]),
    "nova": ("service", ["service"]),
}


class CloudTestCase(base.TestCase):
    """Tests that share one cloud; each has the images of ``base`` anew."""

    folder: str
    keystone: processes.Keystone
    memcached: processes.Memcached
    api: processes.Api
    conf: cfg.ConfigOpts
    store: SqlStore
    # Project -> its id.
    projects: dict[str, str]
    # An administrator's.
    root: keystone_session.Session

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        environment = os.environ.get("KEYSTONE_ENVIRONMENT")
        if environment is None:
            raise unittest.SkipTest("tox -e functional-keystone names one")
        if not processes.Memcached.installed():
            raise unittest.SkipTest("memcached is not installed")
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.keystone = processes.Keystone(cls.folder, environment)
        cls.memcached = processes.Memcached(cls.folder)
        cls.api = processes.Api(cls.folder, workers=2, threads=2)
        cls.conf = base.configuration(
            cls.api.folder,
            api={"auth_strategy": "keystone"},
            keystone_authtoken={
                "auth_type": "password",
                "auth_url": cls.keystone.auth_url,
                "www_authenticate_uri": cls.keystone.auth_url,
                "username": "images",
                "password": PASSWORD,
                "user_domain_id": "default",
                "project_name": "service",
                "project_domain_id": "default",
                "memcached_servers": cls.memcached.address,
                "token_cache_time": CACHE_SECONDS,
                "service_token_roles": "service",
                "service_token_roles_required": "True",
            },
        )
        for server in (cls.keystone, cls.memcached):
            cls.addClassCleanup(server.stop)
            server.start()
            server.wait()
        cls.projects = {}
        cls.provision()
        database = engine.Database(cls.conf)
        cls.addClassCleanup(database.dispose)
        run.sync(database)
        cls.store = SqlStore(database)
        cls.addClassCleanup(cls.api.stop)
        cls.api.start()
        cls.api.wait()

    def setUp(self):
        super().setUp()
        for server in (self.keystone, self.memcached):
            if server.process.poll() is not None:
                server.start()
                server.wait()
        images = [records.new_image(r, base.NOW) for r in self.records()]
        results = self.store.add(images, replace=True)
        self.assertEqual([None] * len(results), results)

    @classmethod
    def records(cls):
        """Return the images of ``base``, owned by Keystone's projects."""
        text = json.dumps(base.samples())
        for placeholder, name in (
            (base.OWNER, "owners"),
            (base.OTHER, "others"),
        ):
            text = text.replace(placeholder, cls.projects[name])
        return json.loads(text)

    @classmethod
    def provision(cls):
        """Make projects, users and the catalog."""
        cls.root = cls.session(
            "admin", "admin", password=processes.Keystone.PASSWORD
        )
        for name in {project for project, _ in USERS.values()}:
            document = {"name": name, "domain_id": "default"}
            cls.projects[name] = cls.make("project", **document)
        roles = {
            role["name"]: role["id"]
            for role in cls.identity("GET", "/roles")["roles"]
        }
        for name, (project, given) in USERS.items():
            user_id = cls.make(
                "user", name=name, domain_id="default", password=PASSWORD
            )
            for role in given:
                cls.identity(
                    "PUT",
                    f"/projects/{cls.projects[project]}/users/{user_id}"
                    f"/roles/{roles[role]}",
                )
        for kind, url in (
            ("compute", f"{cls.api.url}/v2.1/$(project_id)s"),
            ("image", GLANCE),
        ):
            service = cls.make("service", type=kind, name=kind)
            cls.make(
                "endpoint",
                service_id=service,
                region_id=REGION,
                interface="public",
                url=url,
            )

    @classmethod
    def make(cls, kind, **document):
        """Make something in Keystone and return its id."""
        made = cls.identity("POST", f"/{kind}s", json={kind: document})
        return made[kind]["id"]

    @classmethod
    def identity(cls, method, path, **kwargs):
        """Send Keystone an administrator's request; return the answer."""
        response = cls.root.request(
            cls.keystone.auth_url + path, method, **kwargs
        )
        return response.json() if response.content else None

    @classmethod
    def auth(cls, user, project=None, *, password=PASSWORD, **scope):
        """Return how a user gets a token.

        :param scope: of the token, where it is for no project.
        """
        if not scope:
            scope = {
                "project_name": project or USERS[user][0],
                "project_domain_id": "default",
            }
        return v3.Password(
            cls.keystone.auth_url,
            username=user,
            password=password,
            user_domain_id="default",
            **scope,
        )

    @classmethod
    def session(cls, *args, **kwargs):
        """Return a user's session; it takes what ``auth`` does."""
        return keystone_session.Session(cls.auth(*args, **kwargs))

    @classmethod
    def token(cls, *args, **kwargs):
        """Return a new token; it takes what ``auth`` does."""
        return cls.session(*args, **kwargs).get_token()

    def get(self, path, token=None, **headers):
        """Send the image API a request, on a connection of its own."""
        if token is not None:
            headers["X_Auth_Token"] = token
        return requests.get(
            f"{self.api.url}/v2.1{path}",
            headers={n.replace("_", "-"): v for n, v in headers.items()},
            timeout=60,
        )

    def assertFault(self, response, status, name):
        self.assertEqual(status, response.status_code, response.text)
        self.assertEqual([name], list(response.json()))
