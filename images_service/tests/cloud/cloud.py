# SPDX-License-Identifier: Apache-2.0
"""A small cloud that all tests of a process share, and the service beside it.

``tox -e functional-cloud`` makes the environment that it needs and names it in
a variable.
"""

import atexit
from concurrent import futures
import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from oslo_config import cfg
import requests
import sqlalchemy as sa

from images_service.store.sql import engine
from images_service.store.sql import schema
from images_service.store.sql.migrations import run
from images_service.tests import base
from images_service.tests.cloud import processes as cloud_processes
from images_service.tests.cloud import recorder
from images_service.tests.servers import processes

REGION = "here"
# Users of this service and of the tenants' projects.
PASSWORD = "secret"
TENANTS = ("amber", "birch", "cedar", "dune", "elm")
# User -> its project and roles.
USERS = {
    "images": ("service", ["admin", "service"]),
    "glance": ("service", ["service"]),
    "nova": ("service", ["admin", "service"]),
    **{name: (name, ["member", "reader"]) for name in TENANTS},
    # Reads what is amber's.
    "reader": ("amber", ["reader"]),
    # What is left of this service's user where somebody takes its roles.
    "demoted": ("service", ["member", "reader"]),
}
JSON_PATCH = "application/openstack-images-v2.1-json-patch"
# Properties that members read but don't write, and that they don't read.
PROTECTIONS = """\
[^fixed_]
create = admin
read = admin,member,reader
update = admin
delete = admin
[^secret_]
create = admin
read = admin
update = admin
delete = admin
[.*]
create = admin,member
read = admin,member,reader
update = admin,member
delete = admin,member
"""
START_MANAGE = (
    "import sys; from images_service.cmd import manage; "
    "sys.exit(manage.main())"
)


class Client:
    """Sends an API a user's requests, each on a connection of its own.

    :param token: returns the user's token.
    """

    def __init__(self, url, token, timeout=60):
        self.url = url
        self._token = token
        self._timeout = timeout

    def request(self, method, path, body=None, *, kind=None, **headers):
        """Send a request and return the response.

        :param body: bytes, or what is sent as JSON.
        :param kind: of the body, where it is not plain JSON.
        :param headers: with underscores for their hyphens.
        """
        sent = {name.replace("_", "-"): v for name, v in headers.items()}
        sent["X-Auth-Token"] = self._token()
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            kind = kind or "application/json"
        if kind is not None:
            sent["Content-Type"] = kind
        # A server that ends would wait for one that stays open.
        sent["Connection"] = "close"
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method,
                self.url + path,
                data=body,
                headers=sent,
                timeout=self._timeout,
            )

    def done(self, *args, **kwargs):
        """Send a request that must succeed; return the answer's JSON."""
        response = self.request(*args, **kwargs)
        if response.status_code >= 300:
            raise AssertionError(f"{response.status_code}: {response.text}")
        return response.json() if response.content else None

    def create(self, **attributes):
        """Create an image in Glance and return its id."""
        image = {"disk_format": "raw", "container_format": "bare"}
        made = self.done("POST", "/v2/images", {**image, **attributes})
        return made["id"]

    def upload(self, image_id, data=b"data"):
        """Upload an image's data to Glance, which makes it active."""
        self.done(
            "PUT",
            f"/v2/images/{image_id}/file",
            data,
            kind="application/octet-stream",
        )

    def patch(self, image_id, *operations):
        """Change an image in Glance by a JSON patch; return the response."""
        return self.request(
            "PATCH",
            f"/v2/images/{image_id}",
            list(operations),
            kind=JSON_PATCH,
        )

    def set_property(self, image_id, key, value):
        """Set a property of an image in Glance; return the response."""
        path = "/" + key.replace("~", "~0").replace("/", "~1")
        return self.patch(
            image_id, {"op": "add", "path": path, "value": value}
        )

    def every(self):
        """Return all images that Glance has, by id, as an administrator."""
        found: dict[str, dict] = {}
        for hidden in ("false", "true"):
            path = (
                "/v2/images?limit=1000&visibility=all&sort=created_at:asc,"
                f"id:asc&os_hidden={hidden}"
            )
            while path:
                page = self.done("GET", path)
                found.update((image["id"], image) for image in page["images"])
                path = page.get("next")
        return found

    def shares(self, image_id):
        """Return the status of each share of an image, by its project."""
        found = self.done("GET", f"/v2/images/{image_id}/members")
        return {m["member_id"]: m["status"] for m in found["members"]}


class Cloud:
    """Keystone, two Glances, RabbitMQ, MariaDB and memcached.

    :ivar environment: the virtual environment of its programs.
    :ivar glance: sends notifications.
    :ivar other: a Glance with images of its own and property protections.
    :ivar projects: the id of each project, by its name.
    """

    keystone: processes.Keystone
    glance: cloud_processes.Glance
    other: cloud_processes.Glance

    def __init__(self, folder, environment):
        self._folder = folder
        self.environment = environment
        self._cleanups = contextlib.ExitStack()
        self.memcached = processes.Memcached(folder)
        self.port_mapper = cloud_processes.PortMapper(folder)
        self.rabbitmq = cloud_processes.RabbitMQ(folder, self.port_mapper)
        self.projects: dict[str, str] = {}
        self._sessions: dict[str, keystone_session.Session] = {}

    def start(self):
        self.launch(self.memcached)
        with futures.ThreadPoolExecutor(3) as pool:
            parts = [
                pool.submit(part)
                for part in (
                    self._start_identity,
                    self._start_database,
                    self._start_broker,
                )
            ]
            for part in parts:
                part.result()
        common = (
            self._folder,
            self.environment,
            self.database,
            self.keystone,
        )
        self.glance = cloud_processes.Glance(
            *common, self.memcached, notifications=self.rabbitmq.transport_url
        )
        self.other = cloud_processes.Glance(
            *common, self.memcached, protections=PROTECTIONS, name="other"
        )
        with futures.ThreadPoolExecutor(2) as pool:
            tables = pool.submit(self.glance.create_tables)
            self._provision()
            tables.result()
        self.other.copy_tables(self.glance)
        self.launch(self.glance, self.other)
        for glance in (self.glance, self.other):
            self._warm_up(glance)

    def launch(self, *servers):
        """Start servers, which end with the cloud."""
        for server in servers:
            self._cleanups.callback(server.stop)
            server.start()
        for server in servers:
            server.wait()

    def make_folder(self):
        """Return a folder of its own for something that it starts."""
        return tempfile.mkdtemp(dir=self._folder)

    def stop(self):
        self._cleanups.close()

    def _warm_up(self, glance):
        """Send each worker requests, of which the first ones take seconds."""
        client = self.client(glance, "images")
        for _ in range(2):
            with futures.ThreadPoolExecutor(4) as pool:
                answers = pool.map(
                    client.request, ["GET"] * 4, ["/v2/images"] * 4
                )
                statuses = [response.status_code for response in answers]
        if statuses != [200] * 4:
            raise AssertionError(f"{statuses}: {glance.last_words()}")

    def _start_identity(self):
        self.keystone = processes.Keystone(self._folder, self.environment)
        self.launch(self.keystone)

    def _start_database(self):
        self.database = processes.MariaDB(self._folder)
        self.launch(self.database)

    def _start_broker(self):
        self.launch(self.port_mapper)
        self.launch(self.rabbitmq)

    def _provision(self):
        """Make projects, users and the catalog."""
        for name in sorted({project for project, _ in USERS.values()}):
            document = {"name": name, "domain_id": "default"}
            self.projects[name] = self._make("project", **document)
        for name, (project, given) in USERS.items():
            password = cloud_processes.Glance.PASSWORD
            user_id = self._make(
                "user",
                name=name,
                domain_id="default",
                password=password if name == "glance" else PASSWORD,
            )
            for role in given:
                self.grant(user_id, self.projects[project], role)
        self.add_to_catalog("image", self.glance.url)

    def add_to_catalog(self, kind, url):
        """Make an endpoint of a service in Keystone's catalog."""
        service = self._make("service", type=kind, name=kind)
        self._make(
            "endpoint",
            service_id=service,
            region_id=REGION,
            interface="public",
            url=url,
        )

    @functools.cached_property
    def nova_databases(self):
        """Nova's databases; only tests of Nova ask for them."""
        made = cloud_processes.NovaDatabases(
            self._folder, self.environment, self.database
        )
        made.create(self.rabbitmq.transport_url)
        return made

    def _make(self, kind, **document):
        """Make something in Keystone and return its id."""
        made = self.identity("POST", f"/{kind}s", json={kind: document})
        return made[kind]["id"]

    def identity(self, method, path, **kwargs):
        """Send Keystone an administrator's request; return the answer."""
        response = self.session("admin").request(
            self.keystone.auth_url + path, method, **kwargs
        )
        return response.json() if response.content else None

    @functools.cached_property
    def _roles(self):
        return {
            role["name"]: role["id"]
            for role in self.identity("GET", "/roles")["roles"]
        }

    def grant(self, user_id, project_id, role, *, method="PUT"):
        """Give a user a role in a project; DELETE takes it away."""
        path = f"/projects/{project_id}/users/{user_id}/roles/"
        self.identity(method, path + self._roles[role])

    def login(self, user):
        """Return how a user gets a token, as keystoneauth1 names it."""
        password, project = processes.Keystone.PASSWORD, "admin"
        if user != "admin":
            password, project = PASSWORD, USERS[user][0]
        return {
            "auth_url": self.keystone.auth_url,
            "username": user,
            "password": password,
            "user_domain_id": "default",
            "project_name": project,
            "project_domain_id": "default",
        }

    def session(self, user):
        """Return a session of a user; it renews its token."""
        if user not in self._sessions:
            self._sessions[user] = keystone_session.Session(
                v3.Password(**self.login(user))
            )
        return self._sessions[user]

    def client(self, server, user):
        """Return what sends a server requests of a user."""
        return Client(server.url, self.session(user).get_token)


@functools.cache
def running():
    """Return the cloud of this process; it ends with the process."""
    environment = os.environ.get("CLOUD_ENVIRONMENT")
    if environment is None:
        raise unittest.SkipTest("tox -e functional-cloud names one")
    for server in (
        cloud_processes.RabbitMQ,
        processes.Memcached,
        processes.MariaDB,
    ):
        if not server.installed():
            raise unittest.SkipTest(f"{server.__name__} is not installed")
    folder = tempfile.TemporaryDirectory(prefix="images-service-test-")
    # What is registered last is called first.
    atexit.register(folder.cleanup)
    started = Cloud(folder.name, environment)
    atexit.register(started.stop)
    start = time.monotonic()
    started.start()
    print(f"The cloud has started in {time.monotonic() - start:.0f} s.")
    return started


class CloudTestCase(base.TestCase):
    """A test with an empty Glance and an empty store.

    :cvar nodes: how many ``images-service-api`` to start for the class.
    :cvar workers: of each of them.
    :cvar is_recorded: let the service reach Glance through a recorder.
    :cvar is_protected: use the Glance that protects properties.
    :cvar options: of the service, by group, instead of the usual ones.
    """

    nodes = 1
    workers = 2
    is_recorded = False
    is_protected = False
    options: dict[str, dict] = {}

    cloud: Cloud
    folder: str
    glance: cloud_processes.Glance
    glance_options: dict[str, str]
    recorder: recorder.Recorder
    apis: list[processes.Api]
    conf: cfg.ConfigOpts
    database: engine.Database

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cloud = running()
        cls.folder = cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="images-service-test-")
        )
        cls.glance = cls.cloud.other if cls.is_protected else cls.cloud.glance
        glance = {}
        if cls.is_recorded:
            cls.recorder = recorder.Recorder(cls.glance.port)
            cls.addClassCleanup(cls.recorder.close)
            glance["endpoint_override"] = cls.recorder.url
        elif cls.is_protected:
            glance["endpoint_override"] = cls.glance.url
        if cls.is_protected:
            glance["property_protection_file"] = cls.glance.protections
        cls.glance_options = glance
        cls.store_server().create()
        cls.conf = cls.configure(cls.folder)
        cls.database = engine.Database(cls.conf)
        cls.addClassCleanup(cls.database.dispose)
        run.sync(cls.database)
        cls.apis = []
        for number in range(cls.nodes):
            api = processes.Api(
                cls.folder, f"api-{number}", workers=cls.workers
            )
            cls.configure(api.folder)
            cls.addClassCleanup(cls.stop_api, api)
            api.start()
            cls.apis.append(api)
        for api in cls.apis:
            api.wait()
            # A worker's first question to Keystone takes long.
            for user in ("amber", "reader"):
                cls.cloud.client(api, user).done("GET", "/v2.1/images")

    @staticmethod
    def stop_api(api):
        api.stop()
        # One that did not end in time was killed.
        if api.process.returncode != 0:
            raise AssertionError(f"It was killed: {api.last_words()}")

    @classmethod
    def configure(cls, folder, **changes):
        """Write a configuration of the service; return it as it is read.

        :param changes: options by group, which take the place of the usual
            ones.
        """
        keystone = {"auth_type": "password", **cls.cloud.login("images")}
        groups: dict[str, dict] = {
            "api": {"auth_strategy": "keystone"},
            "keystone_authtoken": {
                **keystone,
                "www_authenticate_uri": cls.cloud.keystone.auth_url,
                "memcached_servers": cls.cloud.memcached.address,
                "service_token_roles_required": "True",
            },
            "glance": {
                **keystone,
                "mode": "mirror",
                "region_name": REGION,
                "valid_interfaces": "public",
                **cls.glance_options,
            },
            "mirror": {"transport_url": cls.cloud.rabbitmq.transport_url},
        }
        for name, options in (*cls.options.items(), *changes.items()):
            groups[name] = {**groups.get(name, {}), **options}
        for options in groups.values():
            for name in [name for name in options if options[name] is None]:
                del options[name]
        return base.configuration(
            folder, connection=cls.store_server().url(), **groups
        )

    @classmethod
    def store_server(cls):
        """Return the MariaDB that has the store."""
        return cls.cloud.database

    def setUp(self):
        super().setUp()
        rabbitmq = self.cloud.rabbitmq
        if rabbitmq.process.poll() is not None:
            rabbitmq.start()
            rabbitmq.wait()
        self.glance.wipe()
        with self.database.writer.begin() as connection:
            for table in reversed(schema.metadata.sorted_tables):
                connection.execute(table.delete())
        if self.is_recorded:
            self.recorder.requests.clear()

    def at_glance(self, user="images"):
        """Return what sends Glance a user's requests."""
        return self.cloud.client(self.glance, user)

    def at_api(self, user, node=0):
        """Return what sends this service a user's requests."""
        return self.cloud.client(self.apis[node], user)

    def start_mirror(self, name="mirror", **changes):
        """Start a mirror, which ends with the test.

        :param changes: of its configuration.
        """
        folder = self.make_folder()
        self.configure(folder, **changes)
        mirror = cloud_processes.Mirror(
            folder, f"{folder}/images_service.conf", name
        )
        self.addCleanup(mirror.stop)
        mirror.start()
        return mirror

    def manage(self, *args, **changes):
        """Run a command of images-service-manage.

        :param changes: of its configuration.
        :returns: what is printed, and the exit status.
        """
        folder = self.make_folder()
        self.configure(folder, **changes)
        return subprocess.run(
            [
                *(sys.executable, "-c", START_MANAGE),
                *("--config-file", f"{folder}/images_service.conf", *args),
            ],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
        )

    def sync(self, *args, **changes):
        """Sweep once; return what was printed."""
        done = self.manage("mirror", "sync", *args, **changes)
        self.assertEqual(0, done.returncode, done.stdout)
        return done.stdout

    def rows(self):
        """Return the stored images that aren't deleted, by id."""
        images = schema.images
        with self.database.writer.connect() as connection:
            return {
                row.id: row
                for row in connection.execute(
                    sa.select(images).where(images.c.deleted_at.is_(None))
                )
            }

    def shares(self):
        """Return the stored status of each share, by image and project."""
        found: dict[str, dict[str, str]] = {}
        with self.database.writer.connect() as connection:
            for row in connection.execute(sa.select(schema.image_members)):
                found.setdefault(row.image_id, {})[row.member] = row.status
        return found

    def differences(self):
        """Return how the store differs from Glance, a line each."""
        return list(differences(self.at_glance(), self.rows(), self.shares()))

    def assertEqualToGlance(self, seconds=0.0):
        """Check that the store has what Glance has.

        :param seconds: for which it may differ yet.
        """
        found = self.wait_for(lambda: not self.differences(), seconds)
        if not found:
            problems = self.differences()
            self.assertEqual([], problems[:20], f"{len(problems)} in all")

    @staticmethod
    def wait_for(condition, seconds, pause=0.1):
        """Wait until something is true; tell whether it is."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
        return True


# What Glance says of an image beside its properties.
_ATTRIBUTES = {
    *("id", "name", "status", "visibility", "owner", "size", "min_ram"),
    *("min_disk", "protected", "os_hidden", "created_at", "updated_at"),
    *("checksum", "container_format", "direct_url", "disk_format", "file"),
    *("locations", "os_hash_algo", "os_hash_value", "schema", "self", "tags"),
    *("virtual_size", "stores"),
}
_COMPARED = (
    *("name", "status", "visibility", "owner", "size", "min_ram", "min_disk"),
    *("protected", "os_hidden"),
)


def differences(glance, rows, shares):
    """Yield how stored images differ from those that Glance has.

    :param glance: sends an administrator's requests.
    :param rows: of the images in the store, by id.
    :param shares: in the store, by image and project.
    """
    found = glance.every()
    shared = [i for i in found if found[i]["visibility"] == "shared"]
    with futures.ThreadPoolExecutor(4) as pool:
        known = dict(zip(shared, pool.map(glance.shares, shared), strict=True))
    for image_id in found.keys() - rows.keys():
        yield f"{image_id} is not stored: {found[image_id]}"
    for image_id in rows.keys() - found.keys():
        yield f"{image_id} is not in Glance: {rows[image_id]}"
    for image_id in sorted(found.keys() & rows.keys()):
        image, row = found[image_id], rows[image_id]._mapping
        expected = {name: image[name] for name in _COMPARED}
        stored = {name: row[name] for name in _COMPARED}
        for name in ("created_at", "updated_at"):
            expected[name] = image[name]
            stored[name] = row[name].strftime("%Y-%m-%dT%H:%M:%SZ")
        expected["properties"] = {
            key: image[key] for key in image.keys() - _ATTRIBUTES
        }
        stored["properties"] = {
            key: value
            for key, value in json.loads(row["metadata"]).items()
            # Glance says it of each image that has data.
            if key != "stores"
        }
        if image_id in known:
            expected["shares"] = known[image_id]
            stored["shares"] = shares.get(image_id, {})
        for name, value in expected.items():
            if value != stored[name]:
                yield (
                    f"{image_id} {name}: {value!r} in Glance, "
                    f"{stored[name]!r} here"
                )
