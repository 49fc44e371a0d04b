# SPDX-License-Identifier: Apache-2.0
"""Runs the server as a process of its own."""

from contextlib import redirect_stderr
import io
import os
import socket
import unittest
from unittest import mock

from oslo_config import cfg

from images_service import app
from images_service.cmd import api
from images_service.cmd import demo
from images_service.cmd import serving
from images_service.tests import base


class TestArguments(unittest.TestCase):
    def test_wrong_ones_are_named(self):
        for args in (
            ["--port", "0"],
            ["--port", "65536"],
            ["--port", "x"],
            ["--workers", "0"],
            ["--threads", "²"],
            ["--demo", "--config-file", "x"],
        ):
            with (
                self.subTest(args=args),
                redirect_stderr(io.StringIO()) as err,
            ):
                with self.assertRaises(SystemExit) as caught:
                    api.main(args)
                self.assertEqual(2, caught.exception.code)
                self.assertIn(args[0], err.getvalue())

    def test_a_missing_configuration(self):
        with redirect_stderr(io.StringIO()) as err:
            self.assertEqual(1, api.main(["--config-file", "/no/such.conf"]))
        self.assertIn("/no/such.conf", err.getvalue())


class TestPolicyFile(base.TestCase):
    def test_one_that_cannot_be_taken_is_named(self):
        folder = self.make_folder()
        base.configuration(folder, policy={"no such rule": "!"})
        path = f"{folder}/images_service.conf"
        with (
            redirect_stderr(io.StringIO()) as err,
            mock.patch("oslo_log.log.setup"),
        ):
            self.assertEqual(1, api.main(["--config-file", path]))
        self.assertIn(f"{folder}/policy.json:1: ", err.getvalue())


class TestStart(base.TestCase):
    def refused(self, **options):
        folder = self.make_folder()
        base.configuration(folder, **options)
        with (
            redirect_stderr(io.StringIO()) as err,
            mock.patch("oslo_log.log.setup"),
            mock.patch.object(serving, "Server") as server,
        ):
            path = f"{folder}/images_service.conf"
            self.assertEqual(1, api.main(["--config-file", path]))
        server.assert_not_called()
        text = err.getvalue()
        self.assertTrue(text.startswith("images-service-api: "), text)
        self.assertEqual(1, text.count("\n"), text)
        return text.replace(path, "FILE")

    def test_what_was_found_at_the_first_request(self):
        self.assertIn("images-service-manage db sync", self.refused())
        for options, text in (
            (
                {"connection": "mysql+none://h/n"},
                "FILE: [database] connection: mysql+none is unknown",
            ),
            (
                {"api": {"max_limt": 5}},
                "FILE: [api] max_limt is unknown. Did you mean max_limit?",
            ),
        ):
            with self.subTest(text):
                self.assertIn(text, self.refused(**options))

    def test_no_database_is_configured(self):
        path = f"{self.make_folder()}/images_service.conf"
        with open(path, "w", encoding="utf-8") as file:
            file.write("[api]\nauth_strategy = noauth2\n")
        with (
            redirect_stderr(io.StringIO()) as err,
            mock.patch("oslo_log.log.setup"),
        ):
            self.assertEqual(1, api.main(["--config-file", path]))
        self.assertIn("[database] connection is not set", err.getvalue())

    def test_nothing_is_configured(self):
        with (
            redirect_stderr(io.StringIO()) as err,
            mock.patch("oslo_log.log.setup"),
            mock.patch.object(cfg, "find_config_files", return_value=[]),
            mock.patch.object(cfg, "find_config_dirs", return_value=[]),
            mock.patch.dict(os.environ),
        ):
            os.environ.pop("OS_IMAGES_SERVICE_CONFIG_FILES", None)
            self.assertEqual(1, api.main([]))
        text = err.getvalue()
        self.assertIn("images-service-api --demo\n", text)
        self.assertIn("/etc/images_service/images_service.conf", text)
        self.assertIn("--config-file", text)

    def test_the_environment_alone_configures_it(self):
        with (
            redirect_stderr(io.StringIO()) as err,
            mock.patch("oslo_log.log.setup"),
            mock.patch.object(cfg, "find_config_files", return_value=[]),
            mock.patch.object(cfg, "find_config_dirs", return_value=[]),
            mock.patch.dict(os.environ, OS_DATABASE__CONNECTION="x://"),
        ):
            self.assertEqual(1, api.main([]))
        self.assertIn("[database] connection: ", err.getvalue())

    def test_a_port_in_use(self):
        folder = self.make_folder()
        base.configuration(folder)
        with (
            socket.create_server(("127.0.0.1", 0)) as taken,
            redirect_stderr(io.StringIO()) as err,
            mock.patch("oslo_log.log.setup"),
            mock.patch.object(app, "create") as create,
        ):
            port = str(taken.getsockname()[1])
            path = f"{folder}/images_service.conf"
            self.assertEqual(
                1, api.main(["--config-file", path, "--port", port])
            )
        create.assert_not_called()
        self.assertEqual(
            f"images-service-api: port {port} cannot be opened on 127.0.0.1: "
            "Address already in use. Choose another one with --port.\n",
            err.getvalue(),
        )


class TestHost(base.TestCase):
    def bound(self, strategy, *args):
        folder = self.make_folder()
        base.configuration(folder, api={"auth_strategy": strategy})
        with (
            mock.patch.object(serving, "Server") as server,
            mock.patch.object(app, "create"),
            mock.patch.object(api, "_problem", return_value=None),
            mock.patch("oslo_log.log.setup"),
        ):
            api.main(["--config-file", f"{folder}/images_service.conf", *args])
        return server.call_args.kwargs["bind"]

    def test_who_believes_everybody_listens_on_loopback(self):
        self.assertEqual(["127.0.0.1:8774"], self.bound("noauth2"))
        self.assertEqual(["0.0.0.0:8774"], self.bound("keystone"))
        self.assertEqual(
            ["192.0.2.1:80"],
            self.bound("noauth2", "--host", "192.0.2.1", "--port", "80"),
        )
        self.assertEqual(
            ["[::1]:8774"], self.bound("noauth2", "--host", "::1")
        )


class TestDemo(base.TestCase):
    def test_the_sample_catalogue_is_taken_whole(self):
        folder = self.make_folder()
        path = demo.prepare(folder)
        self.assertTrue(os.path.exists(path))
        for name in ("policy.json", "api-paste.ini", "images.sqlite"):
            self.assertTrue(os.path.exists(os.path.join(folder, name)))
