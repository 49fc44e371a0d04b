# SPDX-License-Identifier: Apache-2.0
"""Run in Nova's own environment: load its API, print what its process is.

The last line of the output is a JSON object.  Two of them differ where this
service has changed what Nova shares with it.
"""

import gc
import importlib
import io
import json
import locale
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings

# Loggers of others than this service and its own libraries.
LOGGERS = ("nova", "oslo", "keystone", "sqlalchemy", "amqp", "requests")


def options(conf):
    """Return all values of a configuration, and the options' own defaults."""
    groups = {"DEFAULT": conf._opts}
    groups.update((name, g._opts) for name, g in conf._groups.items())
    found = {}
    for group, opts in groups.items():
        for name in opts:
            opt = opts[name]["opt"]
            place = conf if group == "DEFAULT" else conf[group]
            try:
                value = repr(getattr(place, name))
            except Exception as error:
                value = repr(error)
            found[f"{group}.{name}"] = [value, repr(opt.default)]
    return found


def loggers():
    """Return level and handlers of each logger."""
    found: dict[str, logging.Logger] = {"": logging.root}
    found.update(
        (name, logger)
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and name.startswith(LOGGERS)
    )
    return {
        name: [
            logger.level,
            logger.disabled,
            logger.propagate,
            [
                [repr(handler), repr(type(handler.formatter))]
                for handler in logger.handlers
            ],
            [repr(type(each)) for each in logger.filters],
        ]
        for name, logger in found.items()
    }


def whole_process():
    """Return what all code of the process shares."""
    return {
        "patched": [
            thing.__module__
            for thing in (
                socket.socket,
                threading.Thread,
                threading.current_thread,
                threading.Lock,
                time.sleep,
                os.fork,
            )
        ],
        "eventlet": "eventlet" in sys.modules,
        "servers": sorted({"gunicorn", "granian"} & sys.modules.keys()),
        "signals": {
            name: repr(signal.getsignal(number))
            for name, number in vars(signal).items()
            if name.startswith("SIG") and isinstance(number, signal.Signals)
        },
        "hooks": [
            f"{hook.__module__}.{hook.__qualname__}"
            for hook in (
                sys.excepthook,
                threading.excepthook,
                logging.getLogRecordFactory(),
                logging.getLoggerClass(),
                sys.displayhook,
            )
        ],
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()],
        "intervals": [sys.getswitchinterval(), socket.getdefaulttimeout()],
        "recursion": sys.getrecursionlimit(),
        "folder": os.getcwd(),
        "environ": dict(os.environ),
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": os.umask(0o022),
        "path": sys.path,
        "finders": [repr(finder) for finder in sys.meta_path],
        "warnings": repr(warnings.filters),
        "stdout": [repr(type(sys.stdout)), repr(type(sys.stderr))],
    }


def ask(application, path):
    """Send a request without a token; return the status."""
    statuses = []
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "nova.example",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    answer = application(environ, lambda status, *_: statuses.append(status))
    list(answer)
    return statuses


def main():
    # First, as a server does it: Nova minds what is imported before.
    application = importlib.import_module(
        "nova.wsgi.osapi_compute"
    ).application
    cfg = importlib.import_module("oslo_config.cfg")
    policy = importlib.import_module("nova.policy")
    asked = [
        ask(application, path)
        for path in ("/", "/v2.1/flavors", "/v2.1/images")
    ]
    policy.init()
    print(
        json.dumps(
            {
                "inside": "images_service.app" in sys.modules,
                "asked": asked,
                "options": options(cfg.CONF),
                "loggers": loggers(),
                "process": whole_process(),
                "policy": {
                    name: str(rule)
                    for name, rule in policy._ENFORCER.rules.items()
                },
            }
        )
    )


main()
