# SPDX-License-Identifier: Apache-2.0
import datetime
import unittest

from oslo_utils import timeutils

from images_service.glance import notifications
from images_service.tests import base


class TestTimes(unittest.TestCase):
    def hint(self, sent, deleted_at):
        """Return the hint of a notification of a deletion."""
        hints = notifications.Hints()
        payload = {"id": base.UNKNOWN, "deleted_at": deleted_at}
        notifications.Endpoint(hints).info(
            {}, "", "image.delete", payload, {"timestamp": sent}
        )
        return hints.take(0)

    def test_as_glance_and_oslo_messaging_write_them(self):
        at = datetime.datetime(2026, 5, 5, 1, 2, 3)
        for sent in (at, at.replace(microsecond=4)):
            with self.subTest(sent):
                hint = self.hint(str(sent), "2026-05-05T01:02:03Z")
                self.assertEqual(sent, hint.sent_at)
                self.assertEqual(at, hint.deleted_at)

    def test_a_time_kept_its_zone(self):
        """The image was asked for without an end: no lag could be told."""
        for text in (
            "2026-W10-1T10:00:00+00:00",
            "0001-01-01T00:00:00+10:00",
        ):
            with self.subTest(text):
                before = timeutils.utcnow()
                hint = self.hint(text, text)
                self.assertLessEqual(before, hint.sent_at)
                self.assertLessEqual(before, hint.deleted_at)
