# SPDX-License-Identifier: Apache-2.0
"""Mirrors and RabbitMQ are killed, Glance hangs."""

import collections
import contextlib
import threading
import time

from images_service.tests.cloud import cloud
from images_service.tests.cloud import load

# Seconds after which a sweep that is due must have been.
SWEPT = 10
# Seconds in which a read must be answered.
READ = 3

Answer = collections.namedtuple("Answer", "status seconds retry_after")


class FaultsTestCase(cloud.CloudTestCase):
    """Two mirrors of a few images, and what reads and writes them.

    :cvar poll: seconds between two polls.
    :cvar sweep: seconds between two sweeps.
    """

    poll, sweep = 2, 8

    def setUp(self):
        super().setUp()
        self.glance_as_amber = self.at_glance("amber")
        self.images = [
            self.glance_as_amber.create(name=f"kept {number}")
            for number in range(3)
        ]
        options = {
            "poll_interval": self.poll,
            "sweep_interval": self.sweep,
            "members_interval": self.sweep,
            # Of these few images many are deleted between two sweeps.
            "max_sweep_deletes": 50,
        }
        self.mirrors = [
            self.start_mirror(f"mirror-{n}", mirror=options) for n in range(2)
        ]
        # Seconds after the last write by which all must be in step.
        self.patience = self.sweep + SWEPT
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
            never = self.load.run(seconds, 10, self.patience, meanwhile)
        print(f"lag in ms\n{self.load.report()}")
        self.assertEqual([], never)
        self.assertEqualToGlance(self.patience)


class TestFaults(FaultsTestCase):
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
            self.load.run(1, 5, self.patience, hang)
        statuses = collections.Counter(answer.status for answer in answers)
        print(f"statuses of writes: {dict(statuses)}")
        self.assertEqual({200, 503}, set(statuses))
        for answer in answers:
            self.assertLess(answer.seconds, 10)
            if answer.status == 503:
                self.assertIsNotNone(answer.retry_after)
        self.assertEqual(set(self.images), set(acknowledged))
        self.assertEqualToGlance(self.patience)
        for image_id, value in acknowledged.items():
            image = self.glance_as_amber.done("GET", f"/v2/images/{image_id}")
            # What was answered with 503 since may have been done.
            self.assertGreaterEqual(int(image["key"]), int(value))


class TestRabbitMQ(FaultsTestCase):
    # Polls and sweeps are rare, so what is stored soon was told by RabbitMQ.
    poll = sweep = 16

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
        # The mirrors and Glance connect again.
        self.assertTrue(self.wait_for(self.is_told, 60))
        second = load.Load(self.glance_as_amber, self.database, seed=2)
        self.assertEqual([], second.run(5, 10, self.patience))
        self.assertLess(second.worst(part=50), 2)

    def is_told(self):
        """Tell whether a new image of Glance is stored within a second."""
        image_id = self.glance_as_amber.create(name="told")
        return self.wait_for(lambda: image_id in self.rows(), 1)
