# SPDX-License-Identifier: Apache-2.0
import contextlib
import io

from images_service.cmd import mirror
from images_service.tests import base


class TestArguments(base.TestCase):
    def test_a_port_that_there_is_not_was_a_traceback(self):
        for text, problem in (
            ("99999", "not in 1..65535: 99999"),
            ("0", "not in 1..65535: 0"),
            ("x", "invalid number value: 'x'"),
        ):
            err = io.StringIO()
            with (
                self.subTest(text),
                contextlib.redirect_stderr(err),
                self.assertRaises(SystemExit) as caught,
            ):
                mirror.main(["--metrics-port", text])
            self.assertEqual(2, caught.exception.code)
            self.assertIn(f"--metrics-port: {problem}", err.getvalue())
