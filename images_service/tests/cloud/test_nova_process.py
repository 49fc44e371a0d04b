# SPDX-License-Identifier: Apache-2.0
"""Nothing of Nova's process changes with this service in it."""

from concurrent import futures
import json
import os
import re
import subprocess

from images_service.tests.cloud import novas

PROGRAM = os.path.join(os.path.dirname(__file__), "nova_process.py")


def changes(before, after):
    """Return what differs between two objects, before and after."""
    if not isinstance(before, dict):
        return {} if before == after else {"": (before, after)}
    return {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }


class TestProcess(novas.NovaTestCase):
    def facts(self, kind):
        """Return what the process of a Nova is."""
        server = self.novas[kind]
        environ = {
            "PATH": os.environ["PATH"],
            **server.environ,
        }
        out = subprocess.run(
            [f"{self.cloud.environment}/bin/python", PROGRAM],
            check=True,
            stdout=subprocess.PIPE,
            cwd=server.folder,
            env=environ,
            text=True,
            timeout=120,
        ).stdout
        # The log is before it. Each has folders and addresses of its own.
        line = out.splitlines()[-1].replace(server.environ["HOME"], "HOME")
        return json.loads(re.sub("0x[0-9a-f]{6,}", "0x", line))

    def test_the_process(self):
        with futures.ThreadPoolExecutor(2) as pool:
            plain, *others = pool.map(self.facts, self.kinds)
        self.assertFalse(plain.pop("inside"))
        self.assertEqual(
            [["200 OK"], ["401 Unauthorized"], ["401 Unauthorized"]],
            plain["asked"],
        )
        self.assertIn("oslo_policy.policy_file", plain["options"])
        self.assertEqual([], plain["process"]["servers"])
        for kind, found in zip(self.kinds[1:], others, strict=True):
            with self.subTest(kind=kind):
                self.assertTrue(found.pop("inside"))
                for part, expected in plain.items():
                    self.assertEqual({}, changes(expected, found[part]), part)
