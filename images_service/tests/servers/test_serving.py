# SPDX-License-Identifier: Apache-2.0
"""images-service-api as it is deployed: signals, metrics, and its log."""

import contextlib
import fcntl
import glob
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from unittest import mock
import urllib.error
import urllib.request

from images_service.tests import base
from images_service.tests.servers import load
from images_service.tests.servers import processes

TOKEN = {"X-Auth-Token": base.TOKENS["member"]}
BODY = b'{"metadata": {"a": "b"}}'
PATH = f"/v2.1/{base.OWNER}/images/detail"


class TestServing(base.TestCase):
    def start(self, *, workers=2, api_class=processes.Api, more=(), **options):
        self.folder = self.make_folder()
        api = api_class(self.folder, workers=workers)
        self.conf = base.configuration(api.folder, **options)
        self.store = self.make_store(self.conf)
        self.addCleanup(api.stop)
        api.start(*more)
        api.wait()
        return api

    def get(self, port, path, headers=None):
        req = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", headers=headers or {}
        )
        with urllib.request.urlopen(req, timeout=10) as response:
            return response.read().decode()

    def configure(self, server, **options):
        base.configuration(server.folder, **options)


class TestSignals(TestServing):
    """What a reload makes of a mistake; test_package has the rest."""

    def test_a_reload_of_a_wrong_configuration_changes_nothing(self):
        api = self.start()
        self.configure(api, api={"max_limit": "many"})
        with load.Load(api.port, PATH, TOKEN) as requests:
            requests.more(100)
            api.reload()
            requests.more(100)
        self.assertEqual(([], 0), (requests.lost, requests.refused))
        with open(api.log, encoding="utf-8") as file:
            (line,) = [line for line in file if "stays as it was" in line]
        self.assertIn("max_limit", line)


class Installed(processes.Api):
    """images-service-api as installed, so that it can start itself again."""

    def command(self):
        _, _, _, *args = super().command()
        folder = os.path.dirname(sys.executable)
        return [f"{folder}/images-service-api", *args]


class Activated(Installed):
    """images-service-api with a socket of its own, as systemd passes it."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.socket = socket.create_server(("127.0.0.1", self.port))
        os.set_inheritable(self.socket.fileno(), True)

    def command(self):
        script = 'exec 3<&"$1"; shift; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        return [
            *("sh", "-c", script, "sh", str(self.socket.fileno())),
            *super().command(),
        ]

    def start(self, *more):
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                [*self.command(), *more],
                stdout=output,
                stderr=output,
                close_fds=False,
                start_new_session=True,
            )


class TestEnds(TestServing):
    """What becomes of the port when a server ends."""

    def unfinished(self, api):
        """Send a request without its body; return its connection."""
        client = socket.create_connection(("127.0.0.1", api.port), timeout=30)
        self.addCleanup(client.close)
        client.sendall(
            f"POST /v2.1/images/{base.IDS['own']}/metadata HTTP/1.1\r\n"
            f"Host: x\r\nX-Auth-Token: {base.TOKENS['member']}\r\n"
            f"Content-Length: {len(BODY)}\r\n\r\n".encode()
        )
        time.sleep(0.5)
        return client

    def finish(self, client):
        client.sendall(BODY)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        self.assertEqual(200, answer.status)

    def test_newcomers_are_served_or_refused_while_it_drains(self):
        api = self.start()
        client = self.unfinished(api)
        idle = http.client.HTTPConnection("127.0.0.1", api.port)
        self.addCleanup(idle.close)
        idle.request("GET", "/")
        idle.getresponse().read()
        api.process.send_signal(signal.SIGTERM)
        refused = 0
        for _ in range(20):
            start = time.monotonic()
            try:
                self.get(api.port, "/")
            except (OSError, http.client.HTTPException):
                refused += 1
            self.assertLess(time.monotonic() - start, 2)
            time.sleep(0.1)
        self.assertGreater(refused, 0)
        self.finish(client)
        # Nor does a connection that is idle keep it.
        self.assertEqual(0, api.process.wait(5))

    def test_the_port_lives_on_with_a_server_that_took_over(self):
        port = processes.free_port()
        api = self.start(api_class=Installed, metrics={"port": port})
        new = None
        with load.Load(api.port, PATH, TOKEN) as requests:
            requests.more(100)
            api.process.send_signal(signal.SIGUSR2)
            deadline = time.monotonic() + 20
            while new is None:
                self.assertLess(time.monotonic(), deadline)
                for pid in api.workers():
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        command = file.read()
                    children = f"/proc/{pid}/task/{pid}/children"
                    with open(children, encoding="ascii") as file:
                        if b"images-service-api" in command and file.read():
                            new = int(pid)
                time.sleep(0.1)
            self.addCleanup(os.killpg, api.process.pid, signal.SIGKILL)
            api.process.send_signal(signal.SIGTERM)
            self.assertEqual(0, api.process.wait(40))
            requests.more(100)
        self.assertEqual(([], 0), (requests.lost, requests.refused))
        self.assertIn("images_service_requests", self.get(port, "/metrics"))

    def test_the_port_lives_on_at_a_restart_with_a_socket_of_systemd(self):
        api = self.start(api_class=Activated)
        self.addCleanup(api.socket.close)
        with load.Load(api.port, PATH, TOKEN) as requests:
            for _ in range(2):
                requests.more(100)
                api.process.send_signal(signal.SIGTERM)
                self.assertEqual(0, api.process.wait(40))
                api.start()
            requests.more(100)
        self.assertEqual(([], 0), (requests.lost, requests.refused))


class TestConnections(TestServing):
    def test_one_worker_took_all_connections_that_came_at_once(self):
        api = self.start()
        self.wait_for_both(api)
        processor = min(os.sched_getaffinity(0))
        for pid in api.workers():
            # No worker runs while another does.
            os.sched_setaffinity(int(pid), {processor})
        bursts = [self.burst(api) for _ in range(20)]
        # Where the client has the processor, both have waited for it.
        self.assertGreater(sum(map(all, bursts)), 15, bursts)

    def wait_for_both(self, api):
        """Wait until both workers have opened what they need."""
        counts: list[dict[str, int]] = []
        deadline = time.monotonic() + 20
        while counts[-20:] != [self.sockets(api)] * 20 or len(counts[-1]) < 2:
            self.assertLess(time.monotonic(), deadline)
            counts.append(self.sockets(api))
            time.sleep(0.05)

    def burst(self, api):
        """Open connections; return how many of them each worker has."""
        before = self.sockets(api)
        clients = [socket.socket() for _ in range(8)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", api.port))
        for client in clients:
            client.settimeout(10)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(client.recv(1))
        found = self.sockets(api)
        for client in clients:
            client.close()
        deadline = time.monotonic() + 10
        while self.sockets(api) != before:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return [found[pid] - before[pid] for pid in before]

    def sockets(self, api):
        """Return how many sockets each worker has."""
        return {pid: processes.count_sockets(pid) for pid in api.workers()}


class TestTimeout(TestServing):
    """Workers that do not respond."""

    def workers(self, api):
        """Return the process ids of both workers."""
        deadline = time.monotonic() + 20
        while len(api.workers()) < 2:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        return api.workers()

    def wait_for_another(self, api, hung, deadline):
        """Wait until another worker has replaced one."""
        while hung in api.workers() or len(api.workers()) < 2:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def test_one_that_hangs_is_replaced(self):
        api = self.start(more=("--timeout", "2"))
        before = self.workers(api)
        hung = before.pop()
        os.kill(int(hung), signal.SIGSTOP)
        self.wait_for_another(api, hung, time.monotonic() + 20)
        self.assertLess(before, api.workers())
        self.get(api.port, PATH, TOKEN)

    def test_one_that_hangs_as_it_starts_is_replaced(self):
        api = self.start(more=("--timeout", "2"))
        before = self.workers(api)
        os.kill(int(min(before)), signal.SIGKILL)
        deadline = time.monotonic() + 20
        new: set[str] = set()
        while not new:
            self.assertLess(time.monotonic(), deadline)
            new = api.workers() - before
        (hung,) = new
        os.kill(int(hung), signal.SIGSTOP)
        self.wait_for_another(api, hung, deadline)

    def test_busy_ones_are_left_alone(self):
        api = self.start(more=("--timeout", "3"))
        before = self.workers(api)
        with load.Load(api.port, PATH, TOKEN, threads=32) as requests:
            time.sleep(8)
        self.assertEqual([], requests.lost)
        self.assertEqual(before, api.workers())


class SlowStart(processes.Api):
    """images-service-api whose workers take a minute to set up their loop."""

    def command(self):
        program, option, start, *arguments = super().command()
        slow = (
            "import time; from gunicorn.workers import gasgi; "
            "gasgi.ASGIWorker._setup_event_loop = lambda _: time.sleep(60); "
        )
        return [program, option, slow + start, *arguments]

    def answers(self):
        return len(self.workers()) >= self.worker_count


class TestStart(TestServing):
    def test_workers_that_start_lost_the_signal_to_end(self):
        api = self.start(api_class=SlowStart)
        start = time.monotonic()
        api.process.send_signal(signal.SIGTERM)
        self.assertEqual(0, api.process.wait(25), api.last_words())
        self.assertLess(time.monotonic() - start, 10)


class TestDemonstration(TestServing):
    def test_workers_that_end_leave_its_files(self):
        demo = processes.Demonstration(self.make_folder())
        self.addCleanup(demo.stop)
        demo.start()
        demo.wait()
        with open(demo.log, encoding="utf-8") as file:
            text = file.read()
        (path,) = re.findall(r"curl .* http://[^/]+(/\S*)", text)
        folder = demo.find_folder()
        for _ in range(2):
            demo.reload()
            self.assertIn("policy.json", os.listdir(folder))
            answer = json.loads(
                self.get(demo.port, path, {"X-Auth-Token": "demo:demo"})
            )
            self.assertNotEqual([], answer["images"])
        demo.stop()
        self.assertFalse(os.path.exists(folder))


class TestMetrics(TestServing):
    def values(self, port):
        lines = self.get(port, "/metrics").splitlines()
        return {
            name: float(value)
            for name, _, value in (
                line.rpartition(" ") for line in lines if line[0] != "#"
            )
        }

    def test_what_all_workers_count(self):
        port = processes.free_port()
        api = self.start(metrics={"port": port})
        for _ in range(20):
            self.get(api.port, PATH, TOKEN)
        self.get(api.port, "/healthcheck")
        values = self.values(port)
        counted = (
            'images_service_requests_total{action="images:detail",'
            'status="200"}'
        )
        self.assertEqual(20, values[counted])
        self.assertEqual(
            20,
            values[
                'images_service_request_seconds_count{action="images:detail"}'
            ],
        )
        self.assertIn(
            'images_service_database_connections{state="idle"}', values
        )
        # Workers that have gone are still counted, but for what they hold.
        api.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        idle = 'images_service_database_connections{state="idle"}'
        while self.values(port).get(idle, 0) and time.monotonic() < deadline:
            time.sleep(0.1)
        values = self.values(port)
        self.assertEqual((20, 0), (values[counted], values.get(idle, 0)))
        # An edit is taken by each worker that answers after it.
        path = os.path.join(api.folder, "policy.json")
        taken = 'images_service_policy_reloads_total{result="taken"}'
        refused = 'images_service_policy_reloads_total{result="refused"}'
        for text, name in (("{}\n", taken), ("nonsense", refused)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            deadline = time.monotonic() + 20
            while not self.values(port).get(name):
                self.assertLess(time.monotonic(), deadline)
                self.get(api.port, PATH, TOKEN)
                time.sleep(0.1)

    def test_off_by_default(self):
        api = self.start()
        with self.assertRaises(urllib.error.HTTPError):
            self.get(api.port, "/metrics")

    def test_two_services_of_one_configuration(self):
        """The first has the port; --metrics-port gives the other its own."""
        port, own = processes.free_port(), processes.free_port()
        first = self.start(metrics={"port": port})
        second = processes.Api(self.folder, "second")
        base.configuration(
            second.folder,
            connection=self.conf.database.connection,
            metrics={"port": port},
        )
        self.addCleanup(second.stop)
        second.start()
        second.wait()
        self.get(second.port, PATH, TOKEN)
        with open(second.log, encoding="utf-8") as file:
            (line,) = [
                line
                for line in file
                if "WARNING" in line and "[metrics]" in line
            ]
        self.assertIn(f"[metrics] port {port} cannot be opened", line)
        self.assertIn("--metrics-port", line)
        second.stop()
        second.start("--metrics-port", str(own))
        second.wait()
        for server, number, count in ((first, port, 3), (second, own, 5)):
            for _ in range(count):
                self.get(server.port, PATH, TOKEN)
            self.assertEqual(
                count,
                self.values(number)[
                    'images_service_requests_total{action="images:detail",'
                    'status="200"}'
                ],
            )

    def test_a_reload_leaves_the_port_open(self):
        port, other = processes.free_port(), processes.free_port()
        api = self.start(metrics={"port": port})
        api.reload()
        self.get(port, "/metrics")
        self.configure(api, metrics={"port": other})
        api.reload()
        self.get(port, "/metrics")
        with open(api.log, encoding="utf-8") as file:
            (line,) = [line for line in file if "until a restart" in line]
        self.assertIn(str(port), line)

    def test_a_folder_that_is_gone_ended_each_request(self):
        """As a cleaner of /tmp may do; a reload was refused as well."""
        temporary = self.make_folder()
        with mock.patch.object(
            processes.Api, "environ", {"TMPDIR": temporary}
        ):
            api = self.start(metrics={"port": processes.free_port()})
            (folder,) = glob.glob(f"{temporary}/images-service-metrics-*")
            shutil.rmtree(folder)
            api.reload()
        for path in (PATH, "/", "/healthcheck"):
            self.get(api.port, path, TOKEN)
        with open(api.log, encoding="utf-8") as file:
            text = file.read()
        self.assertNotIn("stays as it was", text)
        self.assertIn("Metrics are incomplete", text)

    def test_each_worker_that_ended_left_files_to_read(self):
        port, temporary = processes.free_port(), self.make_folder()
        with mock.patch.object(
            processes.Api, "environ", {"TMPDIR": temporary}
        ):
            api = self.start(workers=1, metrics={"port": port})
        for _ in range(4):
            self.get(api.port, PATH, TOKEN)
            api.reload()
        # A new worker starts before the one that it replaces ends.
        files = glob.glob(f"{temporary}/images-service-metrics-*/counter_*")
        self.assertEqual(2, len(files), files)
        os.kill(int(*api.workers()), signal.SIGKILL)
        api.wait()
        self.get(api.port, PATH, TOKEN)
        counted = (
            'images_service_requests_total{action="images:detail",'
            'status="200"}'
        )
        self.assertEqual(5, self.values(port)[counted])

    def test_no_thread_is_there_when_workers_are_forked(self):
        api = self.start(metrics={"port": processes.free_port()})
        threads = os.listdir(f"/proc/{api.process.pid}/task")
        self.assertEqual([str(api.process.pid)], threads)

    def test_a_process_that_forks_workers_had_threads(self):
        """A worker could inherit a lock that one of them held at its end."""
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        server = f"images@127.0.0.1:{silent.getsockname()[1]}/images"
        for connection in (None, f"mysql+pymysql://{server}"):
            with self.subTest(connection):
                api = NotedThreads(self.make_folder())
                self.make_store(base.configuration(api.folder))
                base.configuration(api.folder, connection=connection)
                self.addCleanup(api.stop)
                api.start()
                api.wait()
                api.reload()
                self.assertNotIn(api.process.pid, api.noted())
                self.get(api.port, "/")
                self.assertNotEqual(set(), api.noted())


class NotedThreads(processes.Api):
    """Notes the processes that start threads."""

    def command(self):
        python, option, code, *arguments = super().command()
        code = (
            "import os, sys, threading\n"
            "start = threading.Thread.start\n"
            "def noted(thread):\n"
            "    print('thread of', os.getpid(), file=sys.stderr)\n"
            "    start(thread)\n"
            "threading.Thread.start = noted\n" + code
        )
        return [python, option, code, *arguments]

    def noted(self):
        with open(self.log, encoding="utf-8") as file:
            return {*map(int, re.findall("thread of ([0-9]+)", file.read()))}


class Unread(processes.Api):
    """A service whose output is a full pipe; ``reader`` can read it."""

    def start(self):
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 16384)
        with open(self.log, "w", encoding="utf-8"):
            self.process = subprocess.Popen(
                self.command(),
                stdout=writer,
                stderr=writer,
                start_new_session=True,
            )
        os.close(writer)

    def read(self):
        """Return what it has written so far."""
        os.set_blocking(self.reader, False)
        parts = []
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.reader, 1 << 16):
                parts.append(part)
        return b"".join(parts).decode()


class TestLog(TestServing):
    def test_a_log_that_nobody_reads_stopped_the_service(self):
        """Its threads waited for the reader, and held the lock of the log."""
        api = self.start(api_class=Unread)
        self.addCleanup(os.close, api.reader)
        for _ in range(100):
            self.get(api.port, PATH, TOKEN)
        api.reload()
        self.get(api.port, PATH, TOKEN)
        self.assertIn("Listening", api.read())
        self.get(api.port, PATH, TOKEN)
        self.assertRegex(
            api.read(), f"(?s)[0-9]+ log lines were dropped.*GET {PATH} "
        )
        for _ in range(100):
            self.get(api.port, PATH, TOKEN)
        api.process.send_signal(signal.SIGTERM)
        self.assertEqual(0, api.process.wait(20))

    def test_no_secrets_even_when_debugging(self):
        """Neither tokens nor bodies nor the database's password."""
        if not processes.MariaDB.installed():
            self.skipTest("MariaDB is not installed")
        database = processes.MariaDB(self.make_folder())
        self.addCleanup(database.stop)
        database.start()
        database.wait()
        database.create()
        password = "secret-password"
        database.sql(
            "CREATE USER other@'127.0.0.1' "
            f"IDENTIFIED BY '{password}'; "
            "GRANT ALL ON images.* TO other@'127.0.0.1'"
        )
        api = self.start(
            DEFAULT={
                "debug": True,
                # The service itself logs nothing at this level.
                "default_log_levels": "sqlalchemy.engine=WARNING,"
                "sqlalchemy.pool=DEBUG",
            },
            connection=f"mysql+pymysql://other:{password}@127.0.0.1:"
            f"{database.port}/images",
        )
        images = f"/v2.1/{base.OWNER}/images"
        item = f"{images}/{base.IDS['own']}/metadata/key"
        for method, path, body in (
            ("GET", images, None),
            ("PUT", item, '{"meta": {"key": "secret-value"}}'),
            ("PUT", item, '{"meta": {"key": 5, "secret-value": 6}}'),
            ("PUT", item, '{"secret-value'),
            ("GET", f"{images}?name=secret-value", None),
            ("GET", f"{images}?limit=secret-value", None),
        ):
            self.assertLess(self.status(api, method, path, body), 500)
        database.kill()
        self.assertEqual(503, self.status(api, "GET", images))
        # A service that starts then says so, too.
        api.stop()
        api.start()
        api.wait()
        self.assertEqual(503, self.status(api, "GET", images))
        with open(api.log, encoding="utf-8") as file:
            log = file.read()
        self.assertIn(item, log)
        self.assertIn("DEBUG", log)
        self.assertIn("The database is not available", log)
        for secret in ("secret-role", "secret-value", password):
            self.assertNotIn(secret, log)

    def status(self, api, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", api.port)
        try:
            token = f"alice:{base.OWNER}:reader,member,secret-role"
            connection.request(method, path, body, {"X-Auth-Token": token})
            return connection.getresponse().status
        finally:
            connection.close()
