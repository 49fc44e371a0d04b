# SPDX-License-Identifier: Apache-2.0
"""The pages on security and log files: TLS, the unit, rotation."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

import requests
import sqlalchemy as sa

from images_service.store.sql import engine
from images_service.tests import base
from images_service.tests import keystone
from images_service.tests import pages
from images_service.tests.servers import processes
from images_service.tests.servers import test_proxies

SECURITY = "doc/source/admin/security.rst"
LOGS = "doc/source/admin/logs.rst"
UNIT = os.path.join(pages.ROOT, "etc/systemd/images-service@.service")


def block(path, language, word):
    """Return the one block of a page that has a word."""
    found = re.findall(
        rf"\.\. code-block:: {language}\n\n((?:(?:   .*)?\n)+)",
        pages.read(path),
    )
    (text,) = [each for each in found if word in each]
    return "\n".join(line[3:] for line in text.rstrip().splitlines()) + "\n"


def make_certificate(folder):
    """Make a certificate of 127.0.0.1; return its path and its key's."""
    path, key = f"{folder}/certificate.pem", f"{folder}/key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", path, "-keyout", key),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return path, key


class TestProxies(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        self.certificate, key = make_certificate(self.folder)
        with open(f"{self.folder}/both.pem", "w", encoding="utf-8") as both:
            for path in (self.certificate, key):
                with open(path, encoding="utf-8") as file:
                    both.write(file.read())
        self.own = {
            "/etc/ssl/certs/images_service.pem": self.certificate,
            "/etc/ssl/private/images_service.key": key,
            "/etc/haproxy/images_service.pem": f"{self.folder}/both.pem",
            "0.0.0.0:": "127.0.0.1:",
        }
        self.api = processes.Api(self.folder)
        self.make_store(
            base.configuration(
                self.api.folder,
                oslo_middleware={"enable_proxy_headers_parsing": "True"},
            )
        )
        self.addCleanup(self.api.stop)
        self.api.start()
        self.api.wait()

    def edited(self, name, pattern, lines):
        """Return the path of a shipped file with the page's lines."""
        with open(
            os.path.join(pages.ROOT, "etc", name), encoding="utf-8"
        ) as file:
            text, count = re.subn(pattern, lines.strip(), file.read())
        self.assertEqual(1, count)
        for known, own in self.own.items():
            text = text.replace(known, own)
        path = os.path.join(self.folder, "proxy.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def check(self, proxy):
        self.addCleanup(proxy.stop)
        proxy.start()
        url = f"https://127.0.0.1:{proxy.port}/v2.1/images?limit=1"
        deadline = time.monotonic() + processes.SECONDS_TO_START
        while True:
            try:
                response = requests.get(
                    url,
                    headers={
                        "X-Auth-Token": base.TOKENS["member"],
                        # Those of a client have no effect.
                        **test_proxies.FORGED,
                    },
                    verify=self.certificate,
                    timeout=30,
                )
                break
            except requests.ConnectionError:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
        self.assertEqual(200, response.status_code, response.text)
        (image,) = response.json()["images"]
        for link in image["links"]:
            self.assertTrue(
                link["href"].startswith(f"https://127.0.0.1:{proxy.port}/"),
                link,
            )

    def test_nginx_speaks_tls(self):
        path = self.edited(
            "nginx/images_service.conf",
            r"listen 8774;",
            block(SECURITY, "nginx", "listen 8774 ssl"),
        )
        ports = {8775: self.api.port, 8776: self.api.port}
        self.check(processes.Nginx(self.folder, path, ports))

    def test_haproxy_speaks_tls(self):
        path = self.edited(
            "haproxy/images_service.cfg",
            r"bind 127\.0\.0\.1:8774",
            block(SECURITY, "text", "bind 0.0.0.0"),
        )
        ports = {8775: self.api.port, 8776: self.api.port}
        self.check(test_proxies.HAProxy(self.folder, path, ports))


class TestKeystone(base.TestCase):
    def test_its_certificate_is_checked(self):
        folder = self.make_folder()
        certificate, key = make_certificate(folder)
        tokens, site = f"{folder}/tokens.json", f"{folder}/site.conf"
        with open(tokens, "w", encoding="utf-8") as file:
            json.dump({"token": ["alice", base.OWNER, ["member"]]}, file)
        with open(site, "w", encoding="utf-8") as file:
            file.write(
                f"server {{ listen 8774 ssl; ssl_certificate {certificate};"
                f" ssl_certificate_key {key};"
                " location / { proxy_pass http://127.0.0.1:8775; } }"
            )
        stub = processes.Stub(folder, keystone.__name__, tokens)
        proxy = processes.Nginx(folder, site, {8775: stub.port})
        os.mkdir(f"{folder}/other")
        other, _ = make_certificate(f"{folder}/other")
        for server in (stub, proxy):
            self.addCleanup(server.stop)
            server.start()
            server.wait()
        options = keystone.options(f"https://127.0.0.1:{proxy.port}")
        for authority, status in ((certificate, 200), (other, 503)):
            api = processes.Api(folder, f"api-{status}")
            self.make_store(
                base.configuration(
                    api.folder,
                    api={"auth_strategy": "keystone"},
                    keystone_authtoken={**options, "cafile": authority},
                )
            )
            self.addCleanup(api.stop)
            api.start()
            api.wait()
            response = requests.get(
                f"{api.url}/v2.1/images",
                headers={"X-Auth-Token": "token"},
                timeout=30,
            )
            self.assertEqual(status, response.status_code, response.text)


class TestDatabases(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        self.certificate, self.key = make_certificate(self.folder)
        os.makedirs(f"{self.folder}/other")
        self.other, _ = make_certificate(f"{self.folder}/other")
        os.chmod(self.folder, 0o755)

    def query(self, scheme, authority):
        """Return the query of the page's URL, with an authority's file."""
        urls = block(SECURITY, "text", "sslmode=verify-full").split()
        (url,) = [url for url in urls if url.startswith(scheme)]
        known = "/etc/ssl/certs/db-ca.pem"
        return "?" + url.partition("?")[2].replace(known, authority)

    def check(self, url, encrypted):
        """Read over TLS; refuse a server that the authority does not name."""
        scheme = url.partition("+")[0]

        def read(authority):
            conf = base.configuration(
                self.folder, connection=url + self.query(scheme, authority)
            )
            database = engine.Database(conf)
            self.addCleanup(database.dispose)
            with database.writer.connect() as db:
                return db.execute(sa.text(encrypted)).one()[-1]

        self.assertTrue(read(self.certificate))
        with self.assertRaisesRegex(sa.exc.OperationalError, "verify failed"):
            read(self.other)

    def test_postgresql(self):
        server = processes.PostgreSQL(self.folder)
        own = os.path.join(server.folder, "server")
        for path, kind in ((self.certificate, "crt"), (self.key, "key")):
            with open(path, "rb") as file, open(f"{own}.{kind}", "wb") as new:
                new.write(file.read())
            os.chmod(f"{own}.{kind}", 0o600)
            if os.getuid() == 0:
                shutil.chown(f"{own}.{kind}", "postgres")
        self.addCleanup(server.stop)
        server.start(
            *("-c", "ssl=on", "-c", f"ssl_cert_file={own}.crt"),
            *("-c", f"ssl_key_file={own}.key"),
        )
        server.wait()
        self.check(
            server.create(),
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        )

    def test_mariadb(self):
        os.chmod(self.key, 0o644)
        server = processes.MariaDB(self.folder)
        self.addCleanup(server.stop)
        server.start(f"--ssl-cert={self.certificate}", f"--ssl-key={self.key}")
        server.wait()
        self.check(server.create(), "SHOW STATUS LIKE 'Ssl_cipher'")


class TestUnit(base.TestCase):
    def exposure(self, text):
        path = os.path.join(self.make_folder(), os.path.basename(UNIT))
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        done = subprocess.run(
            [
                *("systemd-analyze", "security", "--offline=yes"),
                *("--no-pager", path),
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return float(
            re.findall(r"exposure level.*: ([\d.]+) OK", done.stdout)[0]
        )

    def test_the_drop_in_makes_it_safer(self):
        with open(UNIT, encoding="utf-8") as file:
            unit = file.read()
        drop_in = block(SECURITY, "ini", "IPAddressDeny")
        self.assertLess(self.exposure(unit + drop_in), self.exposure(unit))


class Program(processes.Api):
    """images-service-api as it is installed: its name is that of the file."""

    def command(self):
        program = os.path.join(
            os.path.dirname(sys.executable), "images-service-api"
        )
        return [program, *super().command()[3:]]


class TestRotation(base.TestCase):
    def test_no_line_is_lost(self):
        folder = self.make_folder()
        logs = f"{folder}/logs"
        os.mkdir(logs)
        api = Program(folder, workers=2)
        self.make_store(
            base.configuration(api.folder, DEFAULT={"log_dir": logs})
        )
        self.addCleanup(api.stop)
        api.start()
        api.wait()
        configuration = f"{folder}/logrotate.conf"
        with open(configuration, "w", encoding="utf-8") as file:
            file.write(
                block(LOGS, "text", "delaycompress").replace(
                    "/var/log/images_service", logs
                )
            )
        os.chmod(configuration, 0o644)
        for number in range(30):
            if number in (10, 20):
                subprocess.run(
                    [
                        *("logrotate", "--force", "--state"),
                        *(f"{folder}/state", configuration),
                    ],
                    check=True,
                    capture_output=True,
                    timeout=60,
                )
            requests.get(f"{api.url}/v2.1/images/{number}", timeout=30)
        names = sorted(map(os.path.basename, glob.glob(f"{logs}/*")))
        log = "images-service-api.log"
        self.assertEqual([log, f"{log}.1", f"{log}.2.gz"], names)
        text = ""
        for name in names:
            text += subprocess.run(
                ["zcat", "--force", f"{logs}/{name}"],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        self.assertEqual(
            list(range(30)),
            sorted(int(n) for n in re.findall(r"/images/(\d+) ", text)),
        )
