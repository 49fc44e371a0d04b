# SPDX-License-Identifier: Apache-2.0
"""What a request's policy decisions cost, beside plain oslo.policy's.

A request for an image asks three rules: who is an administrator, whether the
image may be shown, and whether its size may be. Both sides answer the same
questions in turn; what is printed are medians over all rounds, and the
spread from the 10th to the 90th percentile.
"""

import argparse
import json
import os
import statistics
import tempfile
import time

from oslo_policy import policy as oslo_policy

from images_service import config
from images_service import context
from images_service.api import routes
from images_service.policy import enforcer
from images_service.policy import rules

SHOW = "os_compute_api:images:show"
DEEP = {
    **{
        f"step{n}": f"rule:step{n + 1} or user_id:{n} or "
        "(role:auditor and not project_id:%(project_id)s)"
        for n in range(10)
    },
    "step10": "project_id:%(project_id)s and 'public':%(visibility)s",
    SHOW: "rule:step0",
    rules.IMAGE_SIZE: "rule:step0 and not role:guest",
}
POLICIES = {
    "the defaults": {},
    "ten rules deep": DEEP,
    "one rule asks http:": {
        "os_compute_api:images:delete": "http://127.0.0.1:1/"
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--requests", type=int, default=100, help="a round")


def run(options: argparse.Namespace) -> None:
    print("Microseconds for a request's three decisions (p10 to p90)\n")
    print(
        f"{'policy':22}{'images_service':>22}{'oslo.policy':>28}{'ratio':>8}"
    )
    for name, given in POLICIES.items():
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = _measure(folder, given, options)
        middle = statistics.median(theirs) / statistics.median(ours)
        print(f"{name:22}{_told(ours):>22}{_told(theirs):>28}{middle:>7.0f}x")


def _told(times: list[float]) -> str:
    tenths = statistics.quantiles(times, n=10)
    return (
        f"{statistics.median(times):.1f} ({tenths[0]:.1f} to {tenths[-1]:.1f})"
    )


def _measure(folder, given, options):
    path = os.path.join(folder, "images_service.conf")
    for name, text in (("images_service.conf", ""), ("policy.json", given)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text if text == "" else json.dumps(text))
    conf = config.load(["--config-file", path])
    ours = enforcer.Policy(conf, routes.list_rules())
    plain = oslo_policy.Enforcer(
        conf, policy_file=os.path.join(folder, "policy.json")
    )
    plain.suppress_default_change_warnings = True
    plain.register_defaults(routes.list_rules())
    # As many callers as a busy worker has.
    callers = [
        context.RequestContext(
            user_id=f"user-{n}",
            project_id=f"project-{n % 10}",
            roles=["member", "reader"],
            overwrite=False,
        )
        for n in range(options.requests)
    ]
    target = {
        "project_id": "project-1",
        "visibility": "public",
        "status": "active",
        "protected": False,
        "image_id": "00000000-0000-4000-8000-000000000001",
    }

    def ask_ours(caller):
        ours.is_admin(caller)
        ours.allows(SHOW, caller, target)
        ours.allows(rules.IMAGE_SIZE, caller, target)

    def ask_plain(caller):
        values = caller.to_policy_values()
        own = {"project_id": caller.project_id}
        plain.authorize(rules.CONTEXT_IS_ADMIN, own, values)
        plain.authorize(SHOW, target, values)
        plain.authorize(rules.IMAGE_SIZE, target, values)

    found = []
    for ask in (ask_ours, ask_plain):
        for caller in callers:
            ask(caller)
        found.append([])
    for _ in range(options.rounds):
        for times, ask in zip(found, (ask_ours, ask_plain), strict=True):
            start = time.perf_counter()
            for caller in callers:
                ask(caller)
            end = time.perf_counter()
            times.append((end - start) / len(callers) * 1e6)
    return found
