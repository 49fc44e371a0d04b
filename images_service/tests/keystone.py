# SPDX-License-Identifier: Apache-2.0
"""A stub of Keystone that validates tokens it was told of.

Run as a program it listens until it is ended::

    python -m images_service.tests.keystone PORT TOKENS.json

where TOKENS.json maps a token to ``[user id, project id or null, [role…]]``.
"""

import http.server
import json
import sys
import threading
import typing

# The token that the middleware gets for itself.
SERVICE = "the-middleware-itself"
EXPIRES = "2099-01-01T00:00:00.000000Z"


def token_document(user_id, project_id, roles, *, system=False, **catalog):
    """Return what Keystone says of a token.

    :param system: for the whole system, where it is for no project.
    :param catalog: type of a service -> its URL.
    """
    domain = {"id": "default", "name": "Default"}
    token: dict[str, typing.Any] = {
        "methods": ["password"],
        "issued_at": "2026-01-01T00:00:00.000000Z",
        "expires_at": EXPIRES,
        "audit_ids": ["x"],
        "user": {"id": user_id, "name": user_id, "domain": domain},
    }
    if system:
        token["system"] = {"all": True}
        token["roles"] = [{"id": role, "name": role} for role in roles]
    if project_id is not None:
        token["project"] = {
            "id": project_id,
            "name": project_id,
            "domain": domain,
        }
        token["roles"] = [{"id": role, "name": role} for role in roles]
        token["catalog"] = [
            {
                "type": service,
                "name": service,
                "id": service,
                "endpoints": [
                    {
                        "id": f"{service}-{interface}",
                        "interface": interface,
                        "region": "r",
                        "region_id": "r",
                        "url": url,
                    }
                    for interface in ("public", "internal", "admin")
                ],
            }
            for service, url in catalog.items()
        ]
    return {"token": token}


class Handler(http.server.BaseHTTPRequestHandler):
    """The few requests that keystonemiddleware sends."""

    protocol_version = "HTTP/1.1"
    server: typing.Any

    def do_GET(self):
        if self.server.misbehave("GET", self):
            return
        if self.path.startswith("/v3/auth/tokens"):
            document = self.server.tokens.get(self.headers["X-Subject-Token"])
            if document is None:
                self.answer(404, {"error": {"code": 404}})
            else:
                self.answer(200, document)
            return
        root = f"http://{self.headers['Host']}/v3/"
        version = {
            "id": "v3.14",
            "status": "stable",
            "links": [{"rel": "self", "href": root}],
            "media-types": [],
        }
        if self.path.startswith("/v3"):
            self.answer(200, {"version": version})
        else:
            self.answer(300, {"versions": {"values": [version]}})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.misbehave("POST", self):
            return
        self.answer(
            201,
            token_document(
                "middleware",
                "service",
                self.server.service_roles,
                **self.server.catalog(),
            ),
            [("X-Subject-Token", SERVICE)],
        )

    def answer(self, status, document, headers=()):
        """Send an answer; bytes are sent as they are."""
        body = document
        if not isinstance(document, bytes):
            body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


class Keystone(http.server.ThreadingHTTPServer):
    """The stub on loopback.

    :param tokens: token -> what ``token_document`` returns for it.
    """

    daemon_threads = True

    def __init__(self, tokens, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.tokens = tokens
        # Of the user who asks for a token.
        self.service_roles = ["service"]
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def catalog(self):
        """Return the catalog of the middleware's own token."""
        return {"identity": self.url}

    def handle_error(self, request, client_address):
        """Say nothing of clients that have gone."""

    def misbehave(self, method, handler):
        """Answer a request in place of the stub; tell whether it did."""
        return False

    def start(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()

    def options(self):
        """Return the [keystone_authtoken] options of a service behind it."""
        return options(self.url)


def options(url):
    """Return the [keystone_authtoken] options of a service behind a stub."""
    return {
        "auth_type": "password",
        "auth_url": url,
        "www_authenticate_uri": url,
        "username": "middleware",
        "password": "x",
        "user_domain_id": "default",
        "project_name": "service",
        "project_domain_id": "default",
        "http_request_max_retries": "0",
        "service_token_roles_required": "True",
    }


def main():
    port, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        tokens = {
            token: token_document(*owner)
            for token, owner in json.load(file).items()
        }
    Keystone(tokens, int(port)).serve_forever()


if __name__ == "__main__":
    main()
