# SPDX-License-Identifier: Apache-2.0
"""The store equals a naive model, whatever happens, on every database."""

import dataclasses
import datetime
import json
import operator
import os
import unittest
from unittest import mock
import uuid

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st
import sqlalchemy as sa

from images_service import config
from images_service import exception
from images_service import model
from images_service.glance import records
from images_service.store import base as store_base
from images_service.store.sql import admin
from images_service.store.sql import engine
from images_service.store.sql import listing
from images_service.store.sql import schema
from images_service.store.sql.migrations import run
from images_service.store.sql.store import SqlStore
from images_service.tests import backends

QUOTA = 4
PROJECTS = ("p", "q", "r")
VIEWERS = [
    *(model.Viewer(project) for project in PROJECTS),
    model.Viewer("p", is_admin=True),
    model.Viewer("", is_admin=True, is_operator=True),
]
# Few values, so that times are equal and filters match.
TIMES = [f"2026-01-01T00:00:0{second}Z" for second in range(3)]
NAMES = (None, "", "n", "N", "n ", "\U0001f600")
KEYS = ("a", "A", "a ", "mappings")
VALUES = ("", "x", "X", "x ", "\U0001f600")

properties = st.dictionaries(
    st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=3
)
sample = st.fixed_dictionaries(
    {
        "id": st.integers(0, 40).map(lambda n: str(uuid.UUID(int=n))),
        "owner": st.sampled_from(PROJECTS),
        "name": st.sampled_from(NAMES),
        "status": st.sampled_from(["active", *model.STATUSES]),
        "visibility": st.sampled_from(model.VISIBILITIES),
        "min_ram": st.sampled_from([0, 1]),
        "min_disk": st.sampled_from([0, 1]),
        "protected": st.booleans(),
        "os_hidden": st.sampled_from([False, False, True]),
        "created_at": st.sampled_from(TIMES),
        "updated_at": st.sampled_from(TIMES),
        "properties": properties,
    },
    optional={
        "members": st.lists(
            st.fixed_dictionaries(
                {
                    "member_id": st.sampled_from(PROJECTS),
                    "status": st.sampled_from(
                        ["accepted", "accepted", "pending", "rejected"]
                    ),
                }
            ),
            max_size=3,
            unique_by=lambda member: member["member_id"],
        )
    },
)
queries = st.builds(
    model.ListQuery,
    limit=st.integers(1, 7),
    name=st.sampled_from((None, None, None, *NAMES)),
    status=st.sampled_from(
        [
            *(None, None, None),
            *("active", "queued", "saving", "killed", "error", "deleted"),
            *("pending_delete", "importing", "unknown", "nonsense"),
        ]
    ),
    min_ram=st.sampled_from([None, None, None, 0, 1, 2]),
    min_disk=st.sampled_from([None, None, None, 0, 1]),
    changes_since=st.sampled_from(
        [
            None,
            None,
            datetime.datetime(2026, 1, 1, 0, 0, 1),
            datetime.datetime(2026, 1, 1, 0, 0, 2),
            datetime.datetime(2026, 6, 1),
        ]
    ),
    properties=st.one_of(
        st.just(()),
        properties.map(lambda items: tuple(items.items())),
    ),
)


@dataclasses.dataclass
class Naive:
    """An image of the model: nothing but dictionaries and loops."""

    image: model.Image
    metadata: dict
    members: dict

    def visible(self, viewer):
        image = self.image
        return (
            viewer.is_admin
            or image.visibility in ("public", "community")
            or image.owner == viewer.project_id
            or (
                image.visibility == "shared"
                and viewer.project_id in self.members
            )
        )

    def listed(self, viewer):
        image = self.image
        return (
            viewer.is_operator
            or image.visibility == "public"
            or image.owner == viewer.project_id
            or (viewer.is_admin and image.visibility != "community")
            or (
                image.visibility == "shared"
                and self.members.get(viewer.project_id) == "accepted"
            )
        )

    def matches(self, query, viewer):
        image = self.image
        operator = viewer.is_operator
        changed = max(
            time
            for time in (image.created_at, image.updated_at, image.deleted_at)
            if time is not None
        )
        since = query.changes_since
        return (
            (operator or not image.os_hidden)
            and (
                image.deleted_at is None
                or (since is not None and not operator)
            )
            and (
                operator or image.status != "killed"
                if query.status is None
                else query.status
                in (image.status, model.STATUSES[image.status][0].lower())
            )
            and query.name in (None, image.name)
            and query.min_ram in (None, image.min_ram)
            and query.min_disk in (None, image.min_disk)
            and (since is None or changed >= since)
            and all(self.metadata.get(k) == v for k, v in query.properties)
        )


class StoreMachine(stateful.RuleBasedStateMachine):
    """Drives a store and the model alike."""

    backend = "sqlite"
    first = listing.FIRST

    def __init__(self):
        super().__init__()
        # Probes decide at a number that a few images reach.
        self.patches = [
            mock.patch("images_service.store.sql.listing.FIRST", self.first),
            mock.patch("images_service.store.sql.listing.FURTHER", 2),
        ]
        for patch in self.patches:
            patch.start()
        self.database, self.store = made_for(self.backend)
        with self.database.writer.begin() as db:
            for table in reversed(schema.metadata.sorted_tables):
                db.execute(sa.delete(table))
        self.model: dict[str, Naive] = {}

    def teardown(self):
        assert list(admin.check(self.database, repair=False)) == []
        for patch in self.patches:
            patch.stop()

    @stateful.rule(
        listed=st.lists(sample, min_size=1, max_size=8),
        replace=st.booleans(),
    )
    def add(self, listed, replace):
        now = datetime.datetime(2026, 1, 1)
        images = [records.new_image(record, now) for record in listed]
        results = self.store.add(images, replace=replace)
        batch = set()
        for new, result in zip(images, results, strict=True):
            image_id = new.image.id
            old = self.model.get(image_id)
            refused = image_id in batch or (old is not None and not replace)
            assert (result is not None) == refused
            if refused:
                continue
            batch.add(image_id)
            members = new.members
            if members is None:
                members = {} if old is None else old.members
            naive = Naive(new.image, dict(new.metadata), dict(members))
            if old is not None:
                # What replaces an image by the same leaves it as it was.
                naive.image = naive.image._replace(
                    metadata=old.image.metadata,
                    generation=old.image.generation,
                )
                if naive == old:
                    continue
            generation = 1 if old is None else old.image.generation + 1
            naive.image = naive.image._replace(generation=generation)
            self.model[image_id] = naive

    @stateful.precondition(lambda self: self.model)
    @stateful.rule(data=st.data(), behind=st.sampled_from([0, 0, 0, 1]))
    def delete(self, data, behind):
        image_id = data.draw(st.sampled_from(sorted(self.model)))
        naive = self.model[image_id]
        try:
            self.store.delete(self.read(image_id, behind))
        except store_base.Changed:
            assert behind or naive.image.deleted_at is not None
            return
        assert not behind and naive.image.deleted_at is None
        stored = self.stored(image_id)
        assert stored.deleted_at is not None
        naive.image = naive.image._replace(
            status="deleted",
            deleted_at=stored.deleted_at,
            updated_at=stored.updated_at,
            generation=naive.image.generation + 1,
        )

    @stateful.precondition(lambda self: self.model)
    @stateful.rule(
        data=st.data(),
        items=properties,
        merge=st.booleans(),
        behind=st.sampled_from([0, 0, 0, 1]),
    )
    def change(self, data, items, merge, behind):
        image_id = data.draw(st.sampled_from(sorted(self.model)))
        naive = self.model[image_id]
        after = {**naive.metadata, **items} if merge else items
        try:
            image = self.store.change_metadata(
                self.read(image_id, behind), after
            )
        except store_base.Changed:
            assert behind or naive.image.deleted_at is not None
            return
        assert not behind and naive.image.deleted_at is None
        naive.metadata = after
        naive.image = naive.image._replace(
            updated_at=image.updated_at,
            generation=naive.image.generation + 1,
        )

    @stateful.rule(query=queries, viewer=st.sampled_from(VIEWERS))
    def page_through(self, query, viewer):
        expected = sorted(
            (
                naive
                for naive in self.model.values()
                if naive.listed(viewer) and naive.matches(query, viewer)
            ),
            key=lambda naive: (naive.image.created_at, naive.image.id),
            reverse=True,
        )
        found = list(self.store.iterate(query, viewer))
        assert [n.image.id for n in expected] == [i.id for i in found]
        for naive, image in zip(expected, found, strict=True):
            self.check(naive, image)
        page = self.store.page(query, viewer, model.Image)
        assert page.more == (len(expected) > query.limit)
        for kind in (model.Detail, model.Summary):
            part = self.store.page(query, viewer, kind)
            assert part.more == page.more
            attributes = operator.attrgetter(*kind._fields)
            assert part.images == [attributes(i) for i in page.images]

    @stateful.precondition(lambda self: self.model)
    @stateful.rule(
        data=st.data(), query=queries, viewer=st.sampled_from(VIEWERS)
    )
    def start_anywhere(self, data, query, viewer):
        marker = data.draw(st.sampled_from(sorted(self.model)))
        query = dataclasses.replace(query, marker=marker)
        start = self.model[marker]
        try:
            page = self.store.page(query, viewer, model.Image)
        except exception.MarkerNotFound:
            assert not start.visible(viewer)
            return
        assert start.visible(viewer)
        place = (start.image.created_at, marker)
        expected = sorted(
            (
                (naive.image.created_at, naive.image.id)
                for naive in self.model.values()
                if naive.listed(viewer) and naive.matches(query, viewer)
            ),
            reverse=True,
        )
        expected = [key for key in expected if key < place]
        assert expected[: query.limit] == [
            (image.created_at, image.id) for image in page.images
        ]

    @stateful.invariant()
    def images_are_seen(self):
        for image_id, naive in self.model.items():
            viewer = VIEWERS[naive.image.generation % len(VIEWERS)]
            seen = naive.visible(viewer) and naive.image.deleted_at is None
            try:
                image = self.store.get(image_id, viewer)
            except exception.ImageNotFound:
                assert not seen
            else:
                assert seen
                self.check(naive, image)

    def check(self, naive, image):
        assert naive.image._replace(metadata="") == image._replace(metadata="")
        assert naive.metadata == json.loads(image.metadata)

    def read(self, image_id, behind):
        """Return an image, maybe as it was some changes ago."""
        image = self.stored(image_id)
        return image._replace(generation=image.generation - behind)

    def stored(self, image_id):
        with self.database.writer.connect() as db:
            row = db.execute(
                sa.select(*list(schema.images.c)[:15]).where(
                    schema.images.c.id == image_id
                )
            ).one()
        return model.Image._make(row)


# A store keeps what it compiles, which takes longer than all that it does, so
# the examples of a class share one.
_made: dict = {}


def made_for(backend):
    return _made[backend]


class Modelled(backends.OnBackend):
    examples: int

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        conf = config.load(["--config-file", os.devnull])
        conf.set_override("connection", cls.connection, group="database")
        conf.set_override("sqlite_synchronous", False, group="database")
        database = engine.Database(conf)
        cls.addClassCleanup(database.dispose)
        run.sync(database)
        _made[cls.backend] = database, SqlStore(database)

    def check(self, first):
        machine = type(
            "Machine",
            (StoreMachine,),
            {"backend": self.backend, "first": first},
        )
        stateful.run_state_machine_as_test(
            machine,
            settings=hypothesis.settings(
                max_examples=self.examples,
                stateful_step_count=25,
                deadline=None,
                database=None,
                print_blob=True,
                suppress_health_check=list(hypothesis.HealthCheck),
            ),
        )

    def test_the_store_equals_the_model(self):
        self.check(listing.FIRST)

    def test_it_does_whatever_probes_find(self):
        self.check(0)


class TestSqlite(Modelled, unittest.TestCase):
    backend = "sqlite"
    examples = 60


class TestMysql(Modelled, unittest.TestCase):
    backend = "mysql"
    examples = 30


class TestPostgresql(Modelled, unittest.TestCase):
    backend = "postgresql"
    examples = 30
