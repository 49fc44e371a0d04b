# SPDX-License-Identifier: Apache-2.0
"""The image that Containerfile describes, built by buildah and run.

Its base is not fetched from a registry: mmdebstrap makes the same root from
Debian's packages. Processes are isolated by chroot, in the network of the
machine, so that this runs in a container, too.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from images_service.tests import base
from images_service.tests.servers import processes

ROOT = os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "..", "..")
)
SUITE = "trixie"
# Programs that build others, and those that the first stage alone needs.
BUILDERS = ("cc", "gcc", "g++", "c++", "ld", "as", "make", "git")


class TestContainer(base.TestCase):
    folder: str
    storage: list[str]
    container: str

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        place = tempfile.TemporaryDirectory()
        cls.addClassCleanup(place.cleanup)
        cls.folder = place.name
        cls.storage = [
            *("--root", f"{cls.folder}/storage"),
            *("--runroot", f"{cls.folder}/run"),
        ]
        cls.addClassCleanup(cls.buildah, "rm", "--all")
        cls.make_base()
        context = f"{cls.folder}/context"
        subprocess.run(["git", "clone", "-q", ROOT, context], check=True)
        cls.buildah(
            *("build-using-dockerfile", "--layers=false"),
            *("--format", "docker", "--tag", "images-service"),
            *("--build-arg", "BASE=localhost/base", context),
        )
        cls.container = cls.buildah("from", "images-service").strip()

    @classmethod
    def buildah(cls, command, *args):
        """Run buildah and return its output."""
        done = subprocess.run(
            ["buildah", *cls.storage, command, *args],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
            timeout=1200,
        )
        if done.returncode:
            raise AssertionError(f"{args}: {done.stdout}{done.stderr}")
        return done.stdout

    @classmethod
    def make_base(cls):
        """Make the image that stands for Debian's own."""
        root = f"{cls.folder}/root.tar"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", SUITE, root],
            check=True,
            timeout=1200,
        )
        container = cls.buildah("from", "scratch").strip()
        cls.buildah("add", "--quiet", container, root, "/")
        os.unlink(root)
        # Where pip's registry has a certificate of its own.
        if certificates := os.environ.get("PIP_CERT"):
            cls.buildah("add", container, certificates, "/etc/pip.crt")
            cls.buildah("config", "--env", "PIP_CERT=/etc/pip.crt", container)
        cls.buildah("commit", "--quiet", "--rm", container, "localhost/base")

    def command(self, *args, **environ):
        """Return the command line that runs a program in the container."""
        return [
            *("buildah", *self.storage, "run", "--isolation", "chroot"),
            *(f"--env={name}={value}" for name, value in environ.items()),
            *("--", self.container, *args),
        ]

    def run_program(self, *args, **environ):
        return subprocess.run(
            self.command(*args, **environ),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def settings(self):
        """Return what its documentation lets the image's user set."""
        return {
            "OS_DATABASE__CONNECTION": "sqlite:////var/lib/images_service/"
            f"{self.id()}.sqlite",
            "OS_API__AUTH_STRATEGY": "noauth2",
        }

    def test_it_has_no_compiler_and_is_not_root(self):
        done = self.run_program("id", "-u")
        self.assertEqual("42480\n", done.stdout)
        done = self.run_program(
            "sh", "-c", f"command -v {' '.join(BUILDERS)} || true"
        )
        self.assertEqual("", done.stdout)
        done = self.run_program("sh", "-c", "ls /src; touch /opt/x /etc/x")
        self.assertEqual(1, done.returncode)
        self.assertIn("Permission denied", done.stderr)

    def test_it_makes_tables_serves_is_healthy_and_ends(self):
        settings = self.settings()
        done = self.run_program(
            "images-service-manage", "db", "sync", **settings
        )
        self.assertEqual(0, done.returncode, done.stderr)
        image = json.loads(
            self.buildah("inspect", "--type", "image", "images-service")
        )
        config = image["Docker"]["config"]
        self.assertEqual("42480:42480", config["User"])
        port = processes.free_port()
        health = [
            word.replace("8774", str(port))
            for word in config["Healthcheck"]["Test"][1:]
        ]
        self.assertNotEqual(0, self.run_program(*health).returncode)
        server = subprocess.Popen(
            self.command(*config["Cmd"], "--port", str(port), **settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.addCleanup(server.wait)
        self.addCleanup(os.killpg, server.pid, signal.SIGTERM)
        deadline = time.monotonic() + processes.SECONDS_TO_START
        while self.run_program(*health).returncode:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.5)
        url = f"http://127.0.0.1:{port}/v2.1/images"
        request = urllib.request.Request(url, headers={"X-Auth-Token": "a:b"})
        with urllib.request.urlopen(request, timeout=10) as response:
            self.assertEqual({"images": []}, json.load(response))
