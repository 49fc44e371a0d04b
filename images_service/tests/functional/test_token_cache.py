# SPDX-License-Identifier: Apache-2.0
"""Servers in the place of memcached that are out of reach, or hang."""

import contextlib
import socket
import threading
import time

from images_service import app
from images_service.tests.functional.test_keystone import KeystoneTestCase

# Seconds for which a server that trickles holds a request that waits for it.
LONG = 12
# Seconds for a request: one for memcached, and the machine may be busy.
SHORT = 2.5


class TestTokenCache(KeystoneTestCase):
    options = {"token_cache_time": "300"}

    def use(self, *servers):
        """Let the service cache tokens in servers; it knows no identities."""
        addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in servers]
        self.conf.set_override("identity_cache_time", 0, "api")
        self.conf.set_override(
            "memcached_servers", addresses, "keystone_authtoken"
        )
        self.app = app.create(self.conf, self.store)

    def trickling(self):
        """Return a server that sends a byte now and then, and no line."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        # Else the thread waits for connections for ever.
        self.addCleanup(server.shutdown, socket.SHUT_RDWR)

        def trickle(connection):
            end = time.monotonic() + LONG
            with connection, contextlib.suppress(OSError):
                while time.monotonic() < end:
                    connection.sendall(b"x")
                    time.sleep(0.2)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(
                        target=trickle, args=server.accept()[:1], daemon=True
                    ).start()

        threading.Thread(target=accept, daemon=True).start()
        return server

    def out_of_reach(self):
        """Return a server whose queue of connections is full."""
        server = socket.socket()
        self.addCleanup(server.close)
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            client = socket.socket()
            self.addCleanup(client.close)
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        return server

    def seconds(self, token, **headers):
        """Return how long a request takes, which must be answered."""
        start = time.monotonic()
        response = self.get("/images", token, **headers)
        self.assertEqual(200, response.status_int, response.text)
        return time.monotonic() - start

    def test_a_memcached_that_trickled_held_its_threads(self):
        """The client's time-out is for each part of an answer."""
        self.use(self.trickling())
        with self.assertLogs("images_service", "ERROR") as logs:
            for _ in range(3):
                self.assertLess(self.seconds("member"), SHORT)
        # Not one for each request.
        self.assertEqual(1, len(logs.output), logs.output)
        self.assertIn("memcached: no answer within", logs.output[0])

    def test_a_memcached_that_trickles_while_many_ask(self):
        self.use(self.trickling())
        self.seconds("member")
        found: list[float] = []
        threads = [
            threading.Thread(
                target=lambda: found.append(self.seconds("member"))
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(8, len(found))
        self.assertLess(max(found), SHORT)

    def test_a_request_waited_a_second_for_each_memcached(self):
        """And so it did for each token, and for each answer to be cached."""
        self.use(*(self.out_of_reach() for _ in range(4)))
        seconds = self.seconds("member", X_Service_Token="service")
        self.assertLess(seconds, SHORT)

    def test_all_connections_of_the_pool_are_in_use(self):
        """Another request than the one that holds them was answered 503."""
        for name, value in (
            ("memcache_pool_maxsize", 1),
            ("memcache_pool_conn_get_timeout", 0),
        ):
            self.conf.set_override(name, value, "keystone_authtoken")
        self.use(self.trickling())
        for _ in range(2):
            self.assertLess(self.seconds("member"), SHORT)
