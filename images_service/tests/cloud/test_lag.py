# SPDX-License-Identifier: Apache-2.0
"""How late the store has what is written in Glance."""

import os

from images_service.tests.cloud import cloud
from images_service.tests.cloud import load

# Seconds of writes, and writes a second.
SECONDS = int(os.environ.get("CLOUD_LOAD_SECONDS", "20"))
RATE = 10
POLL, SWEEP = 2, 8
# What a poll and a sweep themselves take at most, on a machine with two
# processors where all of the cloud runs.
TIME_OF_POLL, TIME_OF_SWEEP = 3, 8
POLLING = {
    "poll_interval": POLL,
    "sweep_interval": SWEEP,
    "members_interval": SWEEP,
    # Of these few images many are deleted between two sweeps.
    "max_sweep_deletes": 50,
}


class TestLag(cloud.CloudTestCase):
    nodes = 0

    def run_load(self, name, **options):
        """Write to Glance beside a mirror; print and return the lags.

        :param options: of [mirror].
        """
        self.start_mirror(mirror=options)
        first = self.at_glance().create(name="first")
        self.assertTrue(self.wait_for(lambda: first in self.rows(), 30))
        measured = load.Load(self.at_glance("amber"), self.database)
        never = measured.run(SECONDS, RATE, patience=SWEEP + TIME_OF_SWEEP)
        print(f"lag {name}, in ms\n{measured.report()}")
        self.assertEqual([], measured.refused)
        self.assertEqual([], never)
        self.assertEqualToGlance()
        return measured

    def test_with_notifications(self):
        # Polls and sweeps would be too late to help.
        measured = self.run_load(
            "with notifications", poll_interval=60, sweep_interval=900
        )
        self.assertLessEqual(measured.worst(), 2)

    def test_without_a_broker(self):
        measured = self.run_load(
            "by polls and sweeps", transport_url=None, **POLLING
        )
        self.assertLessEqual(
            measured.worst(
                *("create", "upload", "patch", "deactivate", "reactivate")
            ),
            POLL + TIME_OF_POLL,
        )
        self.assertLessEqual(
            measured.worst("delete", "member"), SWEEP + TIME_OF_SWEEP
        )
