# SPDX-License-Identifier: Apache-2.0
"""Standard output and error of a server."""

import contextlib
import io
import os
import sys
from unittest import mock

from images_service.cmd import output
from images_service.tests import base


class TestOutput(base.TestCase):
    def test_text_is_written_at_once(self):
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream), output.no_waiting():
            sys.stdout.write("x" * 5000)
            self.assertEqual("x" * 5000, stream.getvalue())

    def test_a_full_pipe(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        with open(writer, "w", encoding="utf-8") as stream:
            written = output.Output(stream)
            for _ in range(1000):
                written.write("x" * 1000 + "\n")
            os.set_blocking(reader, False)
            first = os.read(reader, 1 << 20).decode()
            written.write("then\n")
        self.assertLess(first.count("\n"), 100)
        lost = 1000 - first.count("\n")
        self.assertEqual(
            f"{lost} log lines were dropped.\nthen\n",
            os.read(reader, 1 << 20).decode(),
        )

    def test_a_process_without_output(self):
        with mock.patch.object(sys, "stdout", None), output.no_waiting():
            sys.stdout.write("nothing")
