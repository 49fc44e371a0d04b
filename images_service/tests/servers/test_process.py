# SPDX-License-Identifier: Apache-2.0
"""images-service-api, started by hand."""

import http.client
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time

from images_service.tests import base
from images_service.tests.servers import processes

# What the one line of the demonstration asks of curl, in Python.
CURL = """
import sys, urllib.request
silent, header, token, url = sys.argv[1:]
assert (silent, header) == ("-s", "-H")
name, value = token.split(": ")
request = urllib.request.Request(url, headers={name: value})
print(urllib.request.urlopen(request).read().decode())
"""


class TestProcess(base.TestCase):
    def launch(self, *args):
        """Start the program, and don't wait for it."""
        self.port = processes.free_port()
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                processes.START,
                "--port",
                str(self.port),
                *args,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def start(self, *args):
        process = self.launch(*args)
        deadline = time.monotonic() + 60
        while True:
            self.assertIsNone(process.poll(), "the server has ended")
            self.assertLess(time.monotonic(), deadline, "it doesn't answer")
            try:
                self.assertEqual(200, self.get("/")[0])
            except OSError:
                time.sleep(0.05)
            else:
                return process

    def get(self, path, token=None):
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=30
        )
        headers = {} if token is None else {"X-Auth-Token": token}
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def test_demo(self):
        process = self.launch("--demo")
        said = ""
        while "curl" not in said:
            line = process.stdout.readline()
            self.assertNotEqual("", line, "the server has ended")
            said += line
        # Whoever pastes it at once gets an answer.
        line, _, tool = said.splitlines()[-1].partition(" | ")
        self.assertEqual("python3 -m json.tool", tool)
        command = shlex.split(line)
        self.assertEqual("curl", command[0])
        self.assertIn(f":{self.port}/", command[-1])
        answer = subprocess.run(
            [sys.executable, "-c", CURL, *command[1:]],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertIn('"debian-13-generic"', answer.stdout)
        while "Stop it" not in said:
            said += process.stdout.readline()
        self.assertIn(f" http://127.0.0.1:{self.port}/demo ", said)
        (folder,) = re.findall(r"Everything is in (\S+) ", said)
        self.assertTrue(os.path.exists(folder))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(0, process.wait(30))
        self.assertFalse(os.path.exists(folder))

    def test_sigterm_drains(self):
        folder = self.make_folder()
        conf = base.configuration(folder)
        self.make_store(conf)
        process = self.start(
            "--config-file", f"{folder}/images_service.conf", "--workers", "1"
        )
        body = b'{"metadata": {"a": "b"}}'
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(
                f"POST /v2.1/images/{base.IDS['own']}/metadata HTTP/1.1\r\n"
                f"Host: x\r\nX-Auth-Token: {base.TOKENS['member']}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
            )
            # The request is in a worker's hands, its body is on its way.
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            time.sleep(1)
            client.sendall(body)
            client.settimeout(20)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            self.assertEqual(200, answer.status)
            self.assertIn(b'"a":"b"', answer.read())
        self.assertEqual(0, process.wait(40))

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            process = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    processes.START,
                    "--demo",
                    "--port",
                    str(taken.getsockname()[1]),
                ],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        self.assertEqual(1, process.returncode)
        self.assertIn("in use. Choose another one with --port", process.stderr)
        self.assertNotIn("curl", process.stdout)
