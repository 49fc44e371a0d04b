# SPDX-License-Identifier: Apache-2.0
"""Mirrors and RabbitMQ are killed, Glance hangs."""

import collections
import contextlib
import threading
import time

from images_service.tests.cloud import cloud
from images_service.tests.cloud import load

SWEEP = 8
OPTIONS = {
    "mirror": {
        "poll_interval": 2,
        "sweep_interval": SWEEP,
        "members_interval": SWEEP,
        # Of these few images many are deleted between two sweeps.
        "max_sweep_deletes": 50,
    }
}
# Seconds after the last write by which a sweep must have been.
PATIENCE = SWEEP + 10
# Seconds in which a read must be answered.
READ = 3

Answer = collections.namedtuple("Answer", "status seconds retry_after")


class TestFaults(cloud.CloudTestCase):
    options = OPTIONS

    def setUp(self):
        super().setUp()
        self.glance_as_amber = self.at_glance("amber")
        self.images = [
            self.glance_as_amber.create(name=f"kept {number}")
            for number in range(3)
        ]
        self.mirrors = [self.start_mirror(f"mirror-{n}") for n in range(2)]
        self.assertTrue(
            self.wait_for(lambda: set(self.images) <= self.rows().keys(), 30)
        )
        self.load = load.Load(self.glance_as_amber, self.database)

    @contextlib.contextmanager
    def repeating(self, *actions):
        """Call functions over and over, each in a thread of its own."""
        stopping = threading.Event()
        failures = []

        def repeat(action):
            try:
                while not stopping.wait(0.2):
                    action()
            except Exception as error:
                failures.append(error)

        threads = [
            threading.Thread(target=repeat, args=(action,))
            for action in actions
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
        self.assertEqual([], failures)

    @contextlib.contextmanager
    def reading(self):
        """Read lists and an image all the time; each answer must be 200."""
        api = self.at_api("amber")
        answers = []
        begun = time.monotonic()

        def read(path):
            start = time.monotonic()
            response = api.request("GET", f"/v2.1/images{path}")
            seconds = time.monotonic() - start
            at = start - begun
            answers.append((response.status_code, seconds, at, path))

        paths = ("/detail", "?limit=5", f"/{self.images[0]}")
        with self.repeating(*(lambda p=p: read(p) for p in paths)):
            yield
        self.assertGreater(len(answers), 50)
        self.assertEqual(
            [],
            [each for each in answers if each[0] != 200 or each[1] > READ],
        )

    def assertInStep(self, seconds, meanwhile):
        """Write to Glance while something happens; nothing is missed."""
        with self.reading():
            never = self.load.run(seconds, 10, PATIENCE, meanwhile)
        print(f"lag in ms\n{self.load.report()}")
        self.assertEqual([], never)
        self.assertEqualToGlance(PATIENCE)

    def test_mirrors_are_killed(self):
        def kill():
            one, two = self.mirrors
            time.sleep(3)
            one.kill()
            time.sleep(2)
            one.start()
            time.sleep(8)
            one.kill()
            two.kill()
            time.sleep(2)
            one.start()
            two.start()

        self.assertInStep(18, kill)
        self.assertEqual([], self.load.refused)
        for mirror in self.mirrors:
            self.assertIsNone(mirror.process.poll(), mirror.last_words())

    def test_rabbitmq_is_killed(self):
        rabbitmq = self.cloud.rabbitmq

        def kill():
            time.sleep(3)
            rabbitmq.kill()
            time.sleep(10)
            rabbitmq.start()
            rabbitmq.wait()

        self.assertInStep(16, kill)
        for mirror in self.mirrors:
            self.assertIsNone(mirror.process.poll(), mirror.last_words())
        # They listen to it again, without a poll or a sweep in between.
        second = load.Load(self.glance_as_amber, self.database, seed=2)
        self.assertEqual([], second.run(5, 10, PATIENCE))
        self.assertLess(second.worst(part=50), 1)

    def test_glance_hangs(self):
        api = self.at_api("amber")
        acknowledged: dict[str, str] = {}
        answers = []
        count = 0

        def write(image_id):
            nonlocal count
            count += 1
            value = str(count)
            start = time.monotonic()
            response = api.request(
                "PUT",
                f"/v2.1/images/{image_id}/metadata/key",
                {"meta": {"key": value}},
            )
            answers.append(
                Answer(
                    response.status_code,
                    time.monotonic() - start,
                    response.headers.get("Retry-After"),
                )
            )
            if response.status_code == 200:
                acknowledged[image_id] = value

        def hang():
            time.sleep(3)
            with self.glance.frozen():
                time.sleep(20)
            time.sleep(3)

        writers = [lambda i=i: write(i) for i in self.images]
        with self.reading(), self.repeating(*writers):
            self.load.run(1, 5, PATIENCE, hang)
        statuses = collections.Counter(answer.status for answer in answers)
        print(f"statuses of writes: {dict(statuses)}")
        self.assertEqual({200, 503}, set(statuses))
        for answer in answers:
            self.assertLess(answer.seconds, 10)
            if answer.status == 503:
                self.assertIsNotNone(answer.retry_after)
        self.assertEqual(set(self.images), set(acknowledged))
        self.assertEqualToGlance(PATIENCE)
        for image_id, value in acknowledged.items():
            image = self.glance_as_amber.done("GET", f"/v2/images/{image_id}")
            # What was answered with 503 since may have been done.
            self.assertGreaterEqual(int(image["key"]), int(value))
