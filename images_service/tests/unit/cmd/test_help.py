# SPDX-License-Identifier: Apache-2.0
from importlib import metadata
import shlex
import unittest

from images_service.cmd import manage

COMMANDS = metadata.entry_points(group="images_service.manage")


class TestHelp(unittest.TestCase):
    def test_every_command_has_examples_that_work(self):
        self.assertGreater(len(COMMANDS), 10)
        app = manage.Manage()
        for entry in COMMANDS:
            name = entry.name.replace("_", " ")
            command = entry.load()(app, None)
            parser = command.get_parser(f"{manage.PROGRAM} {name}")
            self.assertNotEqual((), command.examples, name)
            for example in command.examples:
                with self.subTest(example=example):
                    self.assertTrue(example.startswith(name))
                    words = shlex.split(example.removeprefix(name))
                    parser.parse_args(words)
                    self.assertIn(
                        f"\n  {manage.PROGRAM} {example}\n",
                        parser.format_help(),
                    )
