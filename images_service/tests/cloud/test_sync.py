# SPDX-License-Identifier: Apache-2.0
"""Sweeps: the first one, those that follow, and those that must not delete."""

import os
import resource
import time

import requests

from images_service.tests.cloud import cloud
from images_service.tests.cloud import seed

IMAGES = int(os.environ.get("CLOUD_IMAGES", "2000"))


class SyncTestCase(cloud.CloudTestCase):
    nodes = 0

    def seed(self, count):
        """Add images to Glance; return how many it shows."""
        owners = [self.cloud.projects[name] for name in cloud.TENANTS]
        return seed.seed(self.glance, owners, count)

    def generations(self):
        return {row.id: row.generation for row in self.rows().values()}


class TestSync(SyncTestCase):
    is_recorded = True

    def measured(self, what):
        """Sweep once; return what was printed, and print what it costs."""
        self.recorder.requests.clear()
        start, cpu = time.monotonic(), self.glance.seconds_of_cpu()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        printed = self.sync()
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        print(
            f"{what}: {time.monotonic() - start:.1f} s, "
            f"{len(self.recorder.requests)} requests, "
            f"CPU {self.glance.seconds_of_cpu() - cpu:.1f} s in Glance, "
            f"{own:.1f} s here"
        )
        return printed

    def test_images_of_every_kind(self):
        count = self.seed(IMAGES)
        printed = self.measured(f"first sweep of {count} images")
        self.assertIn(f"{count} created", printed)
        self.assertEqual(count, len(self.rows()))
        self.assertEqualToGlance()
        generations = self.generations()
        printed = self.measured("second sweep")
        self.assertIn(
            f"0 created, 0 changed, {count} same, 0 deleted", printed
        )
        self.assertEqual(generations, self.generations())

    def test_what_has_changed(self):
        count = self.seed(100)
        self.sync()
        glance = self.at_glance()
        generations = self.generations()
        free = [row.id for row in self.rows().values() if not row.protected]
        changed, deleted = set(free[:3]), set(free[3:8])
        for image_id in changed:
            glance.set_property(image_id, "a", "b")
        for image_id in deleted:
            glance.done("DELETE", f"/v2/images/{image_id}")
        made = {glance.create(name="new") for _ in range(2)}
        expected = f"2 created, 3 changed, {count - 8} same, 5 deleted"
        self.assertIn("5 deleted", self.sync("--dry-run"))
        self.assertEqual(generations, self.generations())
        self.assertIn(expected, self.sync())
        self.assertEqualToGlance()
        found = self.generations()
        self.assertEqual(made, found.keys() - generations.keys())
        self.assertEqual(deleted, generations.keys() - found.keys())
        self.assertEqual(
            changed,
            {
                image_id
                for image_id in found.keys() & generations.keys()
                if found[image_id] != generations[image_id]
            },
        )


class TestGuards(SyncTestCase):
    """Whatever Glance seems to have lost, its images stay here."""

    nodes = 1
    workers = 1
    options = {"healthcheck": {"detailed": "True"}}
    REASONS = ("The last poll failed", "The last sweep failed")

    def setUp(self):
        super().setUp()
        self.count = self.seed(150)
        self.sync()
        self.before = self.generations()
        self.assertEqual(self.count, len(self.before))

    def assertRefused(self, *args, **changes):
        done = self.manage("mirror", "sync", *args, **changes)
        self.assertEqual(1, done.returncode, done.stdout)
        self.assertEqual(self.before, self.generations(), done.stdout)
        return done.stdout

    def assertMirrorKeeps(self, **changes):
        """Check that sweeps of a mirror delete nothing."""
        mirror = self.start_mirror(
            mirror={"poll_interval": 1, "sweep_interval": 2}, **changes
        )
        failed = (
            'images_service_mirror_runs_total{kind="sweep",result="failed"}'
        )
        # It sweeps at its start, and some times more.
        self.assertTrue(
            self.wait_for(lambda: mirror.metric(failed) >= 3, 30),
            mirror.last_words(),
        )
        self.assertIsNone(mirror.process.poll(), mirror.last_words())
        self.assertEqual(self.before, self.generations())
        # The check's answer is some seconds old.
        self.assertTrue(
            self.wait_for(lambda: self.reason() in self.REASONS, 10),
            self.reason(),
        )
        mirror.stop()
        self.assertEqual(0, mirror.process.returncode, mirror.last_words())
        with open(mirror.log, encoding="utf-8") as log:
            self.assertRegex(log.read(), "ERROR|CRITICAL")

    def reason(self):
        """Return what the health check says of the mirror."""
        response = requests.get(
            f"{self.apis[0].url}/healthcheck",
            headers={"Accept": "application/json"},
            timeout=10,
        )
        # A mirror that is behind makes no node unhealthy.
        self.assertEqual(200, response.status_code, response.text)
        return response.json()["reasons"][-1]["details"].partition(":")[0]

    def test_a_service_user_without_its_roles(self):
        demoted = {"glance": {"username": "demoted"}}
        printed = self.assertRefused(**demoted)
        self.assertIn("admin", printed)
        self.assertMirrorKeeps(**demoted)

    def test_an_empty_glance_behind_a_wrong_endpoint(self):
        self.cloud.other.wipe()
        empty = {"glance": {"endpoint_override": self.cloud.other.url}}
        self.assertRefused(**empty)
        self.assertMirrorKeeps(**empty)
        # A person may want just that.
        self.sync("--allow-deletes", **empty)
        self.assertEqual({}, self.generations())

    def test_a_glance_that_is_not_there(self):
        self.assertRefused(glance={"endpoint_override": "http://127.0.0.1:1"})

    def test_deletions_up_to_a_tenth(self):
        glance = self.at_glance()
        free = [row.id for row in self.rows().values() if not row.protected]
        for image_id in free[:12]:
            glance.done("DELETE", f"/v2/images/{image_id}")
        self.assertIn("12 deleted", self.sync())
        self.before = self.generations()
        for image_id in free[12:40]:
            glance.done("DELETE", f"/v2/images/{image_id}")
        self.assertRefused()
        self.assertIn("28 deleted", self.sync("--allow-deletes"))
        self.assertEqualToGlance()
