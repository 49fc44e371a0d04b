# SPDX-License-Identifier: Apache-2.0
"""The folder in which the processes of a server count together."""

import errno
import glob
import os
import shutil
from unittest import mock

from prometheus_client import values
import webob

from images_service import files
from images_service.middleware import metrics
from images_service.tests import base


class TestFolder(base.ApiTestCase):
    options = {"metrics": {"port": "9774"}}

    def setUp(self):
        self.folder = self.make_folder()
        for patch in (
            mock.patch.dict(os.environ, {metrics.FOLDER: self.folder}),
            mock.patch.object(
                values, "ValueClass", values.MultiProcessValue()
            ),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        super().setUp()

    def scrape(self):
        response = webob.Request.blank("/").get_response(metrics.application())
        self.assertEqual(200, response.status_int)
        return response.text

    def test_a_folder_that_is_gone_ended_each_request(self):
        shutil.rmtree(self.folder)
        with self.assertLogs("images_service", "ERROR") as logs:
            for path in ("/images", "/images/x", "/images"):
                response = self.request("GET", path)
                self.assertIn(response.status_int, (200, 404))
        (line,) = logs.output
        self.assertIn(self.folder, line)

    def test_an_edit_of_the_policy_ended_a_request(self):
        self.take_edits_at_once()
        shutil.rmtree(self.folder)
        folder = os.path.dirname(self.conf.config_file[0])
        with open(f"{folder}/policy.json", "w", encoding="utf-8") as file:
            file.write("{}\n")
        with (
            mock.patch.object(files, "_INTERVAL", 0),
            self.assertLogs("images_service", "ERROR"),
        ):
            self.assertEqual(200, self.request("GET", "/images").status_int)

    def test_counts_go_on_where_the_folder_is_back(self):
        shutil.rmtree(self.folder)
        with self.assertLogs("images_service", "ERROR"):
            self.request("GET", "/images")
        os.mkdir(self.folder)
        self.request("GET", "/images")
        self.assertIn(
            'images_service_requests_total{action="images:index",'
            'status="200"} 1.0',
            self.scrape(),
        )

    def test_a_full_file_system_killed_the_process(self):
        """By SIGBUS, when it wrote into a hole of a file."""
        self.request("GET", "/images")
        paths = glob.glob(f"{self.folder}/*.db")
        self.assertEqual(3, len(paths))
        for path in paths:
            found = os.stat(path)
            self.assertGreaterEqual(found.st_blocks * 512, found.st_size)

    def test_files_for_which_there_is_no_space(self):
        full = OSError(errno.ENOSPC, "No space left on device")
        with (
            mock.patch("os.posix_fallocate", side_effect=full),
            self.assertLogs("images_service", "ERROR"),
        ):
            self.assertEqual(200, self.request("GET", "/images").status_int)
        # The library can't read an empty file.
        self.assertEqual([], os.listdir(self.folder))
        self.assertNotIn("images:index", self.scrape())

    def test_a_read_only_file_system_ended_the_server_with_a_worker(self):
        self.request("GET", "/images")
        with mock.patch("os.remove", side_effect=OSError) as remove:
            metrics.ended(os.getpid())
        remove.assert_called_once()
