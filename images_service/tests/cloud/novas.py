# SPDX-License-Identifier: Apache-2.0
"""Nova's API with and without this service in its process."""

import collections
import contextlib
import functools
import http.client
import json
import os

from images_service.tests.cloud import cloud
from images_service.tests.cloud import page
from images_service.tests.cloud import processes as cloud_processes
from images_service.tests.servers import processes

# All Novas are asked by this name, which is in links.
HOST = "nova.example:8774"
# Of these headers each answer has its own values.
OWN = {"date", "x-openstack-request-id", "x-compute-request-id"}
# What is no microversion.
NO_VERSIONS = ("2", "3.1", "9.9", "garbage", "2.1.1", "-1", "")

Answer = collections.namedtuple("Answer", "status headers body")


def named(text):
    """Return Nova's api-paste.ini with the file beside its folder named."""
    return page.named(text, "%(here)s/../.images_service/images_service.conf")


def own_folder(home):
    """Make the folder of this service's files in a HOME of Nova.

    What is in HOME itself Nova finds, too.
    """
    folder = f"{home}/.images_service"
    os.mkdir(folder)
    return folder


# How each of them differs from a Nova without this service.
KINDS: dict[str, dict] = {
    "plain": {},
    "front": {"edit": page.in_front, "workers": 2},
    "behind": {"edit": page.behind},
    "gunicorn": {
        "server": cloud_processes.NovaUnderGunicorn,
        "edit": named,
        "environ": {"HOME": "/nonexistent"},
    },
    "granian": {
        "server": cloud_processes.NovaUnderGranian,
        "edit": page.behind,
    },
    "eventlet": {
        "edit": page.in_front,
        "options": {"DEFAULT": {"concurrency_backend": "eventlet"}},
        # It is read before anything is imported.
        "more": "pyargv = --config-file=%d/nova.conf",
        "threads": 1,
    },
}


@functools.cache
def store():
    """Return the MariaDB of this service alone; it may be frozen."""
    server = processes.MariaDB(cloud.running().make_folder())
    cloud.running().launch(server)
    server.create()
    return server


def nova_user(**more):
    """Return how Nova gets a token, and how it validates those of others."""
    running = cloud.running()
    login = running.login("nova")
    return {
        "auth_type": "password",
        **login,
        "www_authenticate_uri": login["auth_url"],
        "memcached_servers": running.memcached.address,
        **more,
    }


@functools.cache
def placement():
    """Return a Placement that has not started."""
    running = cloud.running()
    return cloud_processes.Placement(
        running.make_folder(),
        running.environment,
        running.database,
        nova_user(),
    )


def full_options():
    """Return options of a Nova that has servers, of which none exists."""
    running = cloud.running()
    login = {"auth_type": "password", **running.login("nova")}
    return {
        "DEFAULT": {
            "transport_url": running.rabbitmq.transport_url,
            "compute_driver": "fake.FakeDriver",
            "report_interval": 1,
        },
        "placement": {**login, "endpoint_override": placement().url},
        "glance": {"endpoint_override": running.glance.url},
        "service_user": {**login, "send_service_user_token": "true"},
        "conductor": {"workers": 1},
        "scheduler": {"workers": 1},
    }


def make(home, authtoken, server=cloud_processes.Nova, **kwargs):
    """Make a Nova beside this service's configuration in its HOME.

    :param authtoken: options of Nova's [keystone_authtoken].
    :param server: its class.
    :param kwargs: of the class.
    """
    running = cloud.running()
    environ = {"HOME": home, **kwargs.pop("environ", {})}
    return server(
        home,
        running.environment,
        running.nova_databases,
        authtoken,
        environ=environ,
        **kwargs,
    )


class NovaTestCase(cloud.CloudTestCase):
    """A test of Novas that all such tests of a process share.

    :cvar kinds: of KINDS, which the tests need.
    :ivar novas: by kind.
    """

    nodes = 0
    # Threads that wait for a hanging database answer nobody else, so a worker
    # has more threads than connections.
    options = {"database": {"max_pool_size": 2, "max_overflow": 0}}
    kinds: tuple[str, ...] = ("plain", "front", "behind")
    novas: dict[str, cloud_processes.Nova] = {}

    @classmethod
    def store_server(cls):
        return store()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        missing = [kind for kind in cls.kinds if kind not in cls.novas]
        made = {kind: cls.make_nova(kind) for kind in missing}
        cls.cloud.launch(*made.values())
        cls.novas.update(made)

    @classmethod
    def make_nova(cls, kind, **more):
        """Make a Nova on Keystone.

        :param more: arguments of ``make``.
        """
        home = cls.cloud.make_folder()
        folder = own_folder(home)
        cls.configure(folder, oslo_policy={"policy_file": "policy.yaml"})
        with open(f"{folder}/policy.yaml", "w", encoding="utf-8") as file:
            file.write("# No rules.\n")
        arguments = {
            "authtoken": nova_user(service_token_roles_required="True"),
            "options": full_options(),
            "threads": 4,
            **KINDS[kind],
            **more,
        }
        return make(home, **arguments)

    def at_nova(self, kind, user):
        """Return what sends a Nova a user's requests."""
        return self.cloud.client(self.novas[kind], user)

    def ask(self, kind, method, path, body=None, **headers):
        """Send a Nova a request of amber's.

        :param body: bytes, or what is sent as JSON.
        :param headers: with underscores for their hyphens.
        :returns: status, headers and body of the answer.
        """
        sent = {
            "Host": HOST,
            "X-Auth-Token": self.cloud.session("amber").get_token(),
            "Content-Type": "application/json",
            **{name.replace("_", "-"): v for name, v in headers.items()},
        }
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        # A comparison sends thousands of requests, which is to cost little.
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.novas[kind].port, timeout=60
        )
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            found = [
                (name, value)
                for name, value in response.getheaders()
                if name.lower() not in OWN
            ]
            return Answer(response.status, found, response.read())


@functools.cache
def in_the_catalog():
    """Put the Nova that has this service in front into Keystone's catalog."""
    server = NovaTestCase.novas["front"]
    cloud.running().add_to_catalog("compute", f"{server.url}/v2.1")
    # A token comes with the catalog of its time.
    cloud.running().session("amber").invalidate()
