# SPDX-License-Identifier: Apache-2.0
"""A stub of Glance's API, for tests that need no cloud."""

import datetime
import http.server
import json
import threading
import time
from typing import Any
from urllib import parse

from images_service.tests import keystone


def image(image_id, owner, **members):
    """Return an image as Glance's API shows it."""
    return {
        "id": image_id,
        "name": "image",
        "owner": owner,
        "status": "active",
        "visibility": "private",
        "protected": False,
        "os_hidden": False,
        "size": 1,
        "min_ram": 0,
        "min_disk": 0,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "tags": [],
        "self": f"/v2/images/{image_id}",
        "file": f"/v2/images/{image_id}/file",
        "schema": "/v2/schemas/image",
        "checksum": None,
        **members,
    }


class Handler(keystone.Handler):
    """What a mirror asks, and the changes that it passes on."""

    def answer_request(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        url = parse.urlsplit(self.path)
        self.server.requests.append((self.command, self.path, self.headers))
        time.sleep(self.server.delay)
        if self.server.failure is not None:
            self.answer(*self.server.failure)
            return
        query = dict(parse.parse_qsl(url.query))
        parts = url.path.strip("/").split("/")
        if parts[:2] != ["v2", "images"]:
            self.answer(404, {})
        elif len(parts) == 2:
            self.show_all(query)
        elif len(parts) == 4:
            self.members(parts[2])
        else:
            self.one(parts[2], body)

    do_GET = do_PATCH = do_DELETE = answer_request

    def show_all(self, query):
        hidden = query["os_hidden"] == "true"
        found = [
            image
            for image in sorted(
                self.server.images.values(),
                key=lambda image: (image["created_at"], image["id"]),
            )
            if image["os_hidden"] == hidden
            and f"gte:{image['updated_at']}" >= query.get("updated_at", "")
        ]
        ids = [image["id"] for image in found]
        start = ids.index(query["marker"]) + 1 if "marker" in query else 0
        page = found[start : start + self.server.page]
        answer: dict[str, Any] = {"images": page}
        if start + len(page) < len(found):
            given = {**query, "marker": page[-1]["id"]}
            answer["next"] = f"/v2/images?{parse.urlencode(given)}"
        self.answer(200, answer)

    def members(self, image_id):
        shares = self.server.members.get(image_id, {})
        self.answer(
            200,
            {
                "members": [
                    {"member_id": member, "status": status}
                    for member, status in shares.items()
                ]
            },
        )

    def one(self, image_id, body):
        with self.server.lock:
            image = self.server.images.get(image_id)
            if image is None:
                self.answer(404, {"message": "No image found"})
            elif self.command == "DELETE":
                if image["protected"]:
                    self.answer(403, {"message": "protected"})
                    return
                del self.server.images[image_id]
                self.answer(204, b"")
            elif self.command == "PATCH":
                self.patch(image, json.loads(body))
            else:
                self.answer(200, image)

    def patch(self, image, changes):
        new = dict(image)
        for change in changes:
            key = change["path"][1:].replace("~1", "/").replace("~0", "~")
            if change["op"] == "add":
                new[key] = change["value"]
            elif new.pop(key, None) is None:
                self.answer(409, {"message": f"{key} is missing"})
                return
        now = datetime.datetime.now(datetime.UTC)
        new["updated_at"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.server.images[image["id"]] = new
        self.answer(200, new)


class Glance(http.server.ThreadingHTTPServer):
    """The stub on loopback.

    :ivar images: id -> image, as the API shows it.
    :ivar members: id -> project id -> status.
    :ivar requests: (method, path, headers) of each.
    :ivar failure: status and body of each answer, None for true ones.
    :ivar delay: seconds before each answer.
    :ivar page: images of a page.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.lock = threading.Lock()
        self.images = {}
        self.members = {}
        self.requests = []
        self.failure = None
        self.delay: float = 0
        self.page = 3

    def add(self, *images):
        for image in images:
            self.images[image["id"]] = image

    def asked(self, method, image_id=""):
        """Return how often it was asked."""
        return sum(
            sent == method and image_id in path
            for sent, path, _ in self.requests
        )

    def handle_error(self, request, client_address):
        """Say nothing of clients that have gone."""

    def start(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()


class Keystone(keystone.Keystone):
    """A stub whose service user sees all images of a stub of Glance."""

    def __init__(self, tokens, glance):
        super().__init__(tokens)
        self._image_service = glance.url
        self.service_roles = ["admin", "service"]

    def catalog(self):
        return {**super().catalog(), "image": self._image_service}

    def glance_options(self):
        """Return the [glance] options of a service behind both."""
        return {
            "mode": "mirror",
            "auth_type": "password",
            "auth_url": self.url,
            "username": "images",
            "password": "x",
            "user_domain_id": "default",
            "project_name": "service",
            "project_domain_id": "default",
        }
