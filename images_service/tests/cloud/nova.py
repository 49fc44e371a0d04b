# SPDX-License-Identifier: Apache-2.0
"""Nova's API with and without this service in its process."""

import functools
import re

from images_service.tests.cloud import cloud
from images_service.tests.cloud import processes as cloud_processes
from images_service.tests.servers import processes

# Where in Nova's api-paste.ini this service can be.
COMPOSITE = "[composite:osapi_compute]\n"


def in_front(text, name="egg:images_service#front"):
    """Return Nova's api-paste.ini with this service before its urlmap."""
    return text.replace(COMPOSITE, f"{COMPOSITE}filter-with = {name}\n")


def behind(text):
    """Return Nova's api-paste.ini with this service after authtoken."""
    return re.sub(
        r"^(keystone = .* authtoken) ",
        r"\1 egg:images_service#behind ",
        text,
        flags=re.MULTILINE,
    )


# How each of them differs from a Nova without this service.
KINDS: dict[str, dict] = {
    "plain": {},
    "front": {"edit": in_front, "workers": 2},
    "behind": {"edit": behind},
}


@functools.cache
def store():
    """Return the MariaDB of this service alone; it may be frozen."""
    server = processes.MariaDB(cloud.running().make_folder())
    cloud.running().launch(server)
    server.create()
    return server


def make(home, authtoken, **kwargs):
    """Make a Nova beside this service's configuration in its HOME.

    :param authtoken: options of Nova's [keystone_authtoken].
    :param kwargs: of ``processes.Nova``.
    """
    running = cloud.running()
    environ = {"HOME": home, **kwargs.pop("environ", {})}
    return cloud_processes.Nova(
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
    def make_nova(cls, kind):
        """Make a Nova on Keystone."""
        home = cls.cloud.make_folder()
        cls.configure(home, oslo_policy={"policy_file": "policy.yaml"})
        with open(f"{home}/policy.yaml", "w", encoding="utf-8") as file:
            file.write("# No rules.\n")
        authtoken = {
            "www_authenticate_uri": cls.cloud.keystone.auth_url,
            "auth_url": cls.cloud.keystone.auth_url,
            "memcached_servers": cls.cloud.memcached.address,
            "auth_type": "password",
            "username": "nova",
            "password": cloud.PASSWORD,
            "user_domain_id": "default",
            "project_name": "service",
            "project_domain_id": "default",
            "service_token_roles_required": "True",
        }
        return make(home, authtoken, threads=4, **KINDS[kind])

    def at_nova(self, kind, user):
        """Return what sends a Nova a user's requests."""
        return self.cloud.client(self.novas[kind], user)
