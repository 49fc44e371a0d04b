# SPDX-License-Identifier: Apache-2.0
"""Databases to test on: SQLite, and servers that answer on 127.0.0.1.

``tools/test-setup.sh`` makes the user; each test class makes databases of its
own.  A server that can't be reached skips the tests that need it; these carry
the server's name, so that ``.ci/run`` can run them alone.
"""

import contextlib
import functools
import itertools
import os
import tempfile
import unittest

import sqlalchemy as sa

from images_service.tests import base

USER = "openstack_citest"
SERVERS = {
    "mysql": f"mysql+pymysql://{USER}:{USER}@127.0.0.1/{USER}",
    "postgresql": f"postgresql+psycopg://{USER}:{USER}@127.0.0.1/{USER}",
}
BACKENDS = ("sqlite", *SERVERS)

_numbers = itertools.count(1)


@functools.cache
def missing(backend):
    """Return why a backend can't be tested on, or None."""
    if backend == "sqlite":
        return None
    try:
        with _server(backend) as server:
            server.execute(sa.text("SELECT 1"))
    except (ImportError, sa.exc.DBAPIError) as error:
        return (
            f"no {backend} server on 127.0.0.1 for the user {USER}, whom "
            f"tools/test-setup.sh makes: {str(error).splitlines()[0]}"
        )
    return None


@contextlib.contextmanager
def database(backend):
    """Provide the URL of an empty database, and drop it at the end.

    :raises unittest.SkipTest: its server can't be reached.
    """
    reason = missing(backend)
    if reason is not None:
        raise unittest.SkipTest(reason)
    if backend == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/images.sqlite"
        return
    name = f"{USER}_{os.getpid()}_{next(_numbers)}"
    with _server(backend) as server:
        server.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        url = sa.make_url(SERVERS[backend]).set(database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if backend == "postgresql" else ""
        with _server(backend) as server:
            server.execute(sa.text(f"DROP DATABASE {name}{force}"))


class OnBackend(base.Mixin):
    """Mixin of a test class that has a database of its own."""

    backend: str
    connection: str

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        made = database(cls.backend)
        cls.connection = made.__enter__()
        cls.addClassCleanup(made.__exit__, None, None, None)


@contextlib.contextmanager
def _server(backend):
    engine = sa.create_engine(
        SERVERS[backend],
        isolation_level="AUTOCOMMIT",
        poolclass=sa.pool.NullPool,
    )
    with engine.connect() as connection:
        yield connection
