# SPDX-License-Identifier: Apache-2.0
"""The files for Kolla Ansible, rendered and in front of a Nova.

Kolla Ansible's own template is not here: a stand-in uses the same variables.
"""

import http.client
import json
import os
import subprocess

import jinja2
import yaml

from images_service.tests import base
from images_service.tests.servers import processes
from images_service.tests.servers import test_proxies

KOLLA = os.path.join(test_proxies.ETC, "kolla")
# What Kolla Ansible's haproxy_main.cfg sets that matters here.
MAIN = """\
defaults
    option redispatch
    retries 3
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout queue 1m
    timeout connect 10s
    timeout client 1m
    timeout server 1m
    timeout check 10s
    balance roundrobin
"""
SERVICE = """\
{% for name, port in (('nova_api', 8774), ('nova_api_external', 8775)) %}
frontend {{ name }}_front
    mode http
    http-request del-header X-Forwarded-Proto
{%     for http_option in frontend_http_extra
           | default([]) + haproxy_frontend_http_extra %}
    {{ http_option }}
{%     endfor %}
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    bind 127.0.0.1:{{ port }}
    default_backend {{ name }}_back

backend {{ name }}_back
    mode http
    server one 127.0.0.1:18774 check inter 2000 rise 2 fall 5
{% endfor %}
"""


def render(path, **variables):
    """Return a file's text as Ansible's template module renders it."""
    loader = jinja2.ChoiceLoader(
        [
            jinja2.FileSystemLoader(KOLLA),
            jinja2.DictLoader({"service.j2": SERVICE}),
        ]
    )
    templates = jinja2.Environment(
        loader=loader,
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters["kolla_address"] = lambda network, host: "127.0.0.1"
    with open(
        f"{KOLLA}/globals.d/images_service.yml", encoding="utf-8"
    ) as file:
        known = yaml.safe_load(file)
    return templates.get_template(path).render({**known, **variables})


def configuration(port):
    """Return the text of all files of HAProxy.

    :param port: of the service.
    """
    host = {"ansible_facts": {"hostname": "one"}}
    return MAIN + "\n".join(
        (
            render(
                "config/haproxy-config/nova-api.cfg",
                haproxy_service_template="service.j2",
                haproxy_frontend_http_extra=[
                    "option httplog",
                    "option forwardfor",
                ],
            ),
            render(
                "config/haproxy/services.d/images_service.cfg",
                images_service_port=port,
                groups={"nova-api": ["one"]},
                hostvars={"one": host},
            ),
        )
    )


class TestKolla(base.TestCase):
    def setUp(self):
        super().setUp()
        if not test_proxies.HAProxy.installed():
            self.skipTest("HAProxy is not installed")

    def start(self, port):
        """Start HAProxy in front of a Nova and the service's port."""
        site = f"{self.make_folder()}/cfg"
        with open(site, "w", encoding="utf-8") as file:
            file.write(configuration(port))
        nova = test_proxies.Node(self, "nova")
        self.external = processes.free_port()
        self.proxy = test_proxies.HAProxy(
            self.make_folder(),
            site,
            {8775: self.external, 18774: nova.server_port},
        )
        self.addCleanup(self.proxy.stop)
        self.proxy.start()
        self.proxy.wait()

    def ask(self, method, path, headers=None, port=None):
        """Return status, headers and document of an answer."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", port or self.proxy.port, timeout=30
        )
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.headers, json.load(response)
        finally:
            connection.close()

    def test_paths_in_both_frontends(self):
        self.start(test_proxies.Node(self, "image").server_port)
        for port in (self.proxy.port, self.external):
            for name, paths in (
                ("image", test_proxies.IMAGES),
                ("nova", test_proxies.NOVA),
            ):
                for path in paths:
                    with self.subTest(path, port=port):
                        _, _, answer = self.ask("GET", path, port=port)
                        self.assertEqual(
                            (name, path), (answer["name"], answer["path"])
                        )

    def test_the_service_sees_no_forged_headers(self):
        self.start(test_proxies.Node(self, "image").server_port)
        _, _, answer = self.ask(
            "GET", test_proxies.IMAGES[0], test_proxies.FORGED
        )
        passed = {name.lower(): value for name, value in answer["headers"]}
        self.assertEqual(
            {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http"},
            {
                name: value
                for name, value in passed.items()
                if name.replace("_", "-") in test_proxies.LOWER
            },
        )

    def test_a_service_that_is_away_is_a_fault(self):
        self.start(processes.free_port())
        for method in ("GET", "DELETE"):
            status, headers, answer = self.ask(method, test_proxies.IMAGES[0])
            self.assertEqual((503, "5"), (status, headers["Retry-After"]))
            self.assertEqual(503, answer["serviceUnavailable"]["code"])

    def test_haproxy_takes_them(self):
        path = f"{self.make_folder()}/cfg"
        with open(path, "w", encoding="utf-8") as file:
            file.write(configuration(8784))
        done = subprocess.run(
            [processes.find("haproxy"), "-c", "-f", path],
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual(0, done.returncode, done.stderr)
