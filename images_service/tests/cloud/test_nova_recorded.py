# SPDX-License-Identifier: Apache-2.0
"""Recorded answers of a real Nova, from this service in Nova's process."""

from concurrent import futures
import json
import os
import re
import subprocess
import sys
import unittest

from images_service.store.sql import engine
from images_service.store.sql.migrations import run
from images_service.tests import base
from images_service.tests import keystone
from images_service.tests.cloud import cloud
from images_service.tests.cloud import novas
from images_service.tests.cloud import page
from images_service.tests.cloud import processes

ROOT = os.path.abspath(__file__ + "/../../../..")
CASES = os.path.join(ROOT, "../shared/conformance")
TOKENS = os.path.join(ROOT, "tools/conformance_tokens.py")

# Cases that fail: what the line of each one matches, and their names. None of
# them concerns an image.
IN_FRONT = (
    # Nova's own version documents.
    (
        r'"2\.104"|got \d+ b',
        (
            "0002 versions-root-token",
            "0003 versions-root-query",
            "0005 versions-root-post",
            "0006 versions-root-put",
            "0008 versions-root-xml",
            "0009 versions-root-atom",
            "0010 versions-root-mv",
            "0013 versions-v21-slash",
            "0014 versions-v21-slash-token",
            "0015 versions-v21-mv",
            "0022 versions-v21-query",
            "0025 versions-v3",
            "0026 versions-v11",
            "0027 versions-unknown",
            "0031 versions-favicon",
            "0033 versions-double-slash",
            "0039 versions-v2.10",
            "0040 versions-v21-upper",
            "c044 allow-delete-root",
            "c046 allow-put-v21",
            "c047 allow-delete-v2",
            "c469 headers-json-on-html-unknown-version",
        ),
    ),
    # Paths that Nova does not have either; it says so in its own words.
    (
        r"404 Not Found|The request you have made requires",
        (
            "0035 versions-v21-only-project",
            "0037 versions-v21-only-project-noauth",
            "0043 list-index-slash",
            "0044 list-detail-slash",
            "0306 show-percent2f",
            "0307 show-href",
            "0317 show-slash",
            "0361 delete-collection-slash",
            "0367 delete-trailing-slash",
            "0393 metadata-index-json",
            "0625 meta-put-key-key-slash",
            "0656 meta-delete-trailing-slash",
            "0834 method-post-action",
            "0840 path-metadata-sub",
            "0841 path-detail-sub",
            "0847 path-index-xml",
            "0856 path-os-images",
            "0863 path-edit",
            "0865 path-metadata-edit",
            "0866 path-servers-images",
            "0868 path-unknown-resource",
            "0869 path-unknown-resource-noproject",
            "0965 mv-header-bad-on-unknown-path",
            "1047 header-404-route-accept-html",
            "1048 header-404-route-accept-json",
            "c058 order-route-before-type",
            "c450 headers-request-id-unknown-path",
            "c483 slashes-unknown-path",
        ),
    ),
    # uWSGI's http-socket does not decode chunks.
    (
        r"None is not of type",
        (
            "c132 keys-too-large-chunked",
            "c133 keys-chunked-put",
        ),
    ),
)
BEHIND = (
    *IN_FRONT,
    # The filter authtoken answers in its own words.
    (
        r"The request you have made requires",
        (
            "0767 auth-none",
            "0768 auth-none-detail",
            "0769 auth-none-show",
            "0772 auth-none-v2",
            "0773 auth-none-accept-xml",
            "0774 auth-bad",
            "0777 auth-revoked",
            "0781 auth-bearer",
            "0784 auth-bad-service-token",
            "0786 auth-long-token",
            "0787 auth-unicode-token",
            "0837 method-patch-show-noauth",
            "0975 mv-header-on-401",
            "1049 header-401-accept-json",
            "c049 allow-delete-metadata-no-token",
            "c451 headers-request-id-no-token",
            "c466 headers-www-authenticate",
            "c481 slashes-no-token",
        ),
    ),
    # So does the filter sizelimit.
    (
        r"413 Request Entity Too Large",
        (
            "0763 size-body-1MiB",
            "c082 order-too-large-before-project",
        ),
    ),
)


class TestRecorded(base.TestCase):
    keystone: keystone.Keystone
    front: processes.Nova
    behind: processes.Nova

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not os.path.exists(f"{CASES}/cases.jsonl"):
            raise unittest.SkipTest(
                "The recorded cases are missing: ../shared/conformance beside "
                "the checkout has none"
            )
        tokens = subprocess.run(
            [sys.executable, "-B", TOKENS, CASES],
            check=True,
            capture_output=True,
        ).stdout
        cls.keystone = keystone.Keystone(
            {
                token: keystone.token_document(*owner)
                for token, owner in json.loads(tokens).items()
            }
        )
        cls.addClassCleanup(cls.keystone.stop)
        cls.keystone.start()
        made = [cls.make(edit) for edit in (page.in_front, page.behind)]
        cls.front, cls.behind = made
        for each in made:
            cls.addClassCleanup(each.stop)
            each.start()
        for each in made:
            each.wait()

    @classmethod
    def make(cls, edit):
        """Make a Nova with the images of the cases."""
        home = cloud.running().make_folder()
        options = cls.keystone.options()
        folder = novas.own_folder(home)
        conf = base.configuration(
            folder,
            api={"auth_strategy": "keystone", "max_microversion": "2.38"},
            keystone_authtoken=options,
        )
        database = engine.Database(conf)
        run.sync(database)
        database.dispose()
        subprocess.run(
            [
                *(sys.executable, "-c", cloud.START_MANAGE),
                *("--config-file", f"{folder}/images_service.conf"),
                *("image", "import", f"{CASES}/fixtures.json"),
            ],
            check=True,
            capture_output=True,
        )
        return novas.make(home, options, edit=edit)

    def failures(self, server):
        """Send all cases; return the line of each that fails, by its name."""
        out = subprocess.run(
            [
                *(sys.executable, f"{CASES}/run.py", "--auth", "fake"),
                *("--url", server.url),
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        ).stdout
        self.assertIn(" passed, ", out)
        print(out.splitlines()[-1])
        found = re.findall(r"^(c?\d+ [\w.-]+): (.*)$", out, re.MULTILINE)
        return dict(found)

    def assertExplained(self, table, failures):
        """Check that what fails is exactly what is known to fail."""
        known = {case: pattern for pattern, cases in table for case in cases}
        self.assertEqual(
            {},
            {
                case: line
                for case, line in failures.items()
                if not re.search(known.get(case, "^$"), line)
            },
        )
        self.assertEqual(set(), known.keys() - failures.keys(), "They pass.")

    def test_recorded_cases(self):
        servers = (self.front, self.behind)
        with futures.ThreadPoolExecutor(2) as pool:
            found = list(pool.map(self.failures, servers))
        for table, failures in zip((IN_FRONT, BEHIND), found, strict=True):
            self.assertExplained(table, failures)
