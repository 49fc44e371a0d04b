# SPDX-License-Identifier: Apache-2.0
"""The wheel in an empty environment, as tools/package.sh has made it."""

import glob
import http.client
import json
import os
import signal
import subprocess
import tarfile
import time
import typing
import urllib.request

from images_service.tests import base
from images_service.tests.servers import guide
from images_service.tests.servers import load
from images_service.tests.servers import processes

ENVIRONMENT = os.environ.get("PACKAGE_ENVIRONMENT", "")
PATH = f"/v2.1/{base.OWNER}/images/detail"
TOKEN = {"X-Auth-Token": base.TOKENS["member"]}
PROGRAMS = {
    "images-service-api": ("--help", "--version"),
    "images-service-manage": ("--help", "--version", "complete", "openapi"),
    "images-service-mirror": ("--help", "--version"),
    "images-service-status": ("--help",),
}


class PackageTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        if not ENVIRONMENT:
            self.skipTest("tox -e package names one")
        self.folder = self.make_folder()
        # Where the usual files are, for a user whose home this is.
        self.settings = os.path.join(self.folder, ".images_service")
        os.mkdir(self.settings)

    def configure(self, **api):
        path = os.path.join(self.settings, "images_service.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                "[database]\n"
                f"connection = sqlite:///{self.folder}/images.sqlite\n"
                "[api]\nauth_strategy = noauth2\n"
            )
            file.writelines(f"{name} = {v}\n" for name, v in api.items())

    def run_program(self, name, *args, **options):
        return subprocess.run(
            [f"{ENVIRONMENT}/bin/{name}", *args],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={"HOME": self.folder, "PATH": "/usr/bin:/bin"},
            **options,
        )


class TestPackage(PackageTestCase):
    def test_the_source_has_what_a_packager_needs(self):
        (path,) = glob.glob(f"{os.environ['PACKAGE_DIST']}/*.tar.gz")
        with tarfile.open(path) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        for name in (
            *("LICENSE", "README.rst", "tox.ini", "requirements.txt"),
            "etc/images_service/api-paste.ini",
            "etc/images_service/policy.json",
            "etc/systemd/images-service@.service",
            "doc/source/install/index.rst",
            "api-ref/source/index.rst",
        ):
            self.assertIn(name, names)

    def test_programs(self):
        installed = {
            os.path.basename(path)
            for path in glob.glob(f"{ENVIRONMENT}/bin/images-service-*")
        }
        self.assertEqual(set(PROGRAMS), installed)
        for name, options in PROGRAMS.items():
            for option in options:
                with self.subTest(f"{name} {option}"):
                    done = self.run_program(name, option)
                    self.assertEqual(0, done.returncode, done.stderr)
                    self.assertNotEqual("", done.stdout)

    def test_commands_and_checks(self):
        self.configure()
        done = self.run_program("images-service-manage", "db", "sync")
        self.assertEqual(0, done.returncode, done.stderr)
        done = self.run_program("images-service-status", "upgrade", "check")
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_the_demonstration_alone_has_its_page(self):
        path = f"{ENVIRONMENT}/etc/images_service/api-paste.ini"
        with open(path, encoding="utf-8") as file:
            self.assertNotIn("demo", file.read())
        demo = Installed(self.folder, self.folder, "images-service-api")
        self.addCleanup(demo.stop)
        demo.start("--demo", "--port", str(demo.port))
        demo.wait()
        for path in ("/demo", "/demo/demo.css", "/demo/demo.js"):
            with urllib.request.urlopen(f"{demo.url}{path}") as response:
                self.assertEqual(200, response.status)

    def test_units(self):
        """systemd takes the unit as it is, but for what isn't installed."""
        if not processes.find("systemd-analyze"):
            self.skipTest("systemd is not installed")
        unit = os.path.join(self.folder, "images-service@8775.service")
        with open(
            f"{ENVIRONMENT}/share/images_service/systemd/"
            "images-service@.service",
            encoding="utf-8",
        ) as file:
            text = file.read().replace("/opt/images_service", ENVIRONMENT)
        with open(unit, "w", encoding="utf-8") as file:
            file.write(text.replace("User=images", "User=daemon"))
        done = subprocess.run(
            ["systemd-analyze", "verify", unit],
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual((0, ""), (done.returncode, done.stderr))


class Installed(guide.Server):
    """A server of the environment, with the service's own settings.

    :param home: of the user as whom it runs.
    """

    def __init__(self, folder, home, *command):
        share = f"{ENVIRONMENT}/share/images_service"
        super().__init__(
            folder,
            ENVIRONMENT,
            command,
            home=home,
            ini=f"{share}/uwsgi/images_service.ini",
        )


class InstalledUWSGI(Installed):
    """uWSGI, whose workers miss a reload while they load the application."""

    def reload(self, seconds=45):
        # Its master waits for 30 seconds, as its file says, and then kills.
        super().reload(seconds)
        self.wait()

    def answers(self):
        with open(self.log, encoding="utf-8") as file:
            text = file.read()
        return super().answers() and all(
            f"pid: {pid} (default app)" in text for pid in self.workers()
        )


if typing.TYPE_CHECKING:
    _Mixin = PackageTestCase
else:
    _Mixin = object


class Servers(_Mixin):
    """What every server must do."""

    command: tuple[str, ...]
    server_class: type[Installed] = Installed

    def setUp(self):
        super().setUp()
        self.configure()
        images = [
            {
                "id": f"{number:08d}{base.UNKNOWN[8:]}",
                "owner": base.OWNER,
                "status": "active",
                "visibility": "public",
            }
            for number in range(100)
        ]
        for args in (("db", "sync"), ("image", "import", "-")):
            done = self.run_program(
                "images-service-manage", *args, input=json.dumps(images)
            )
            self.assertEqual(0, done.returncode, done.stderr)

    def start(self):
        server = self.server_class(
            self.make_folder(), self.folder, *self.command
        )
        self.addCleanup(server.stop)
        server.start()
        server.wait()
        return server


class Reloading(Servers):
    """Servers that lose nothing when they reload."""

    def test_reload_loses_nothing(self):
        server = self.start()
        with load.Load(server.port, PATH, TOKEN) as requests:
            requests.more(200)
            for limit in (3, 2):
                self.configure(max_limit=limit)
                server.reload()
                requests.more(100)
        self.assertEqual(([], 0), (requests.lost, requests.refused))
        self.assertEqual(2, self.images(server))
        print(f"{requests.answered} answers during two reloads, none lost")

    def images(self, server):
        """Return how many images a page has."""
        req = urllib.request.Request(f"{server.url}{PATH}", headers=TOKEN)
        with urllib.request.urlopen(req, timeout=10) as response:
            return len(json.load(response)["images"])


class BehindNginx(Servers):
    """Servers that may reset clients who have just connected when they end.

    nginx sends their requests to another one, as it is told to by the
    configuration that the package brings.
    """

    def test_end_and_reload_of_one_lose_nothing(self):
        if not processes.Nginx.installed():
            self.skipTest("nginx is not installed")
        servers = [self.start(), self.start()]
        proxy = processes.Nginx(
            self.make_folder(),
            f"{ENVIRONMENT}/share/images_service/nginx/images_service.conf",
            {8775: servers[0].port, 8776: servers[1].port},
        )
        self.addCleanup(proxy.stop)
        proxy.start()
        proxy.wait()
        with load.Load(proxy.port, PATH, TOKEN) as requests:
            requests.more(200)
            for server in servers * 2:
                server.process.send_signal(signal.SIGTERM)
                server.process.wait(20)
                requests.more(200)
                server.start()
                server.wait()
                # nginx counts whole seconds, so its one second can be two.
                time.sleep(2.5)
                requests.more(200)
            for server in servers:
                server.reload()
                time.sleep(2.5)
                requests.more(200)
        self.assertEqual(([], 0), (requests.lost, requests.refused))
        print(
            f"{requests.answered} answers during four ends and two reloads, "
            "none lost"
        )


class TestOwn(BehindNginx, Reloading, PackageTestCase):
    """images-service-api, which is gunicorn with threads behind ASGI."""

    command = ("images-service-api", "--port", "8775")


class TestUWSGI(BehindNginx, Reloading, PackageTestCase):
    command = guide.command("uwsgi")
    server_class = InstalledUWSGI

    def test_idle_connections_hold_no_thread(self):
        server = self.start()
        for _ in range(8):
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            self.addCleanup(connection.close)
            connection.request("GET", "/")
            connection.getresponse().read()
        start = time.monotonic()
        self.assertTrue(server.answers())
        self.assertLess(time.monotonic() - start, 2)


class TestGunicorn(BehindNginx, Reloading, PackageTestCase):
    command = guide.command("gunicorn")

    def test_a_script_name_has_no_effect(self):
        server = self.start()
        req = urllib.request.Request(
            f"{server.url}{PATH}", headers={**TOKEN, "SCRIPT_NAME": "/x"}
        )
        with urllib.request.urlopen(req, timeout=10) as response:
            self.assertEqual(200, response.status)


class TestGranian(Servers, PackageTestCase):
    """One that is documented to reset clients now and then."""

    command = guide.command("granian")

    def test_answers(self):
        server = self.start()
        with load.Load(server.port, PATH, TOKEN) as requests:
            requests.more(200)
        self.assertEqual(([], 0), (requests.lost, requests.refused))
