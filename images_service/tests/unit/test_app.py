# SPDX-License-Identifier: Apache-2.0
import contextlib
import json

from oslo_config import cfg
import webob

from images_service import app
from images_service import config
from images_service import startup
from images_service.api import dispatch
from images_service.store.sql import engine
from images_service.store.sql.migrations import revisions
from images_service.store.sql.migrations import run
from images_service.tests import base


class TestCreate(base.TestCase):
    def test_a_database_that_is_down_keeps_nothing_from_starting(self):
        for connection in (
            "sqlite:////no/such/folder/db",
            "mysql+pymysql://images:s3cret@127.0.0.1:1/images",
            "postgresql+psycopg://images:s3cret@127.0.0.1:1/images",
        ):
            with self.subTest(connection):
                conf = self.make_conf(connection=connection)
                with self.assertLogs("images_service", "ERROR") as logged:
                    made = app.create(conf)
                self.assertNotIn("s3cret", str(logged.output))
                req = webob.Request.blank("/v2.1/")
                self.assertEqual(200, req.get_response(made).status_int)
                req = webob.Request.blank("/v2.1/images")
                req.headers["X-Auth-Token"] = base.TOKENS["member"]
                with self.assertLogs("images_service", "ERROR"):
                    self.assertEqual(503, req.get_response(made).status_int)

    def test_missing_tables_were_found_at_the_first_request(self):
        conf = self.make_conf()
        with self.assertRaisesRegex(
            startup.NotReady,
            "has no tables. Run images-service-manage db sync",
        ):
            app.create(conf)
        database = engine.Database(conf)
        self.addCleanup(database.dispose)
        run.sync(database, "0001")
        with self.assertRaisesRegex(
            startup.NotReady,
            f"is at 0001, this release needs {revisions.HEAD}",
        ):
            app.create(conf)
        run.sync(database)
        app.create(conf)
        # A later release has upgraded the tables: this one still starts.
        with database.writer.begin() as db:
            db.exec_driver_sql("UPDATE alembic_version SET version_num = '9'")
        with self.assertLogs("images_service", "WARNING"):
            app.create(conf)

    def test_audit_without_its_filter_would_tell_nobody(self):
        shipped = config.find_shipped_file("api-paste.ini")
        assert shipped is not None
        with open(shipped, encoding="utf-8") as file:
            text = file.read()
        path = f"{self.make_folder()}/api-paste.ini"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("audit ", "").partition("[filter:au")[0])
            file.write(text[text.index("[filter:faults") :])
        for url, error in (
            (None, contextlib.nullcontext()),
            ("fake:/", self.assertRaisesRegex(startup.NotReady, "#audit")),
        ):
            audit = {"audit": {"transport_url": url}} if url else {}
            conf = self.make_conf(api={"paste_config": path}, **audit)
            with error:
                app.create(conf, self.make_store(conf))

    def test_a_driver_was_missed_at_the_first_request(self):
        conf = self.make_conf(connection="mysql+nodriver://a:s3cret@h/n")
        with self.assertRaisesRegex(
            startup.NotReady, "images_service.conf: .database. connection"
        ):
            app.create(conf)

    def test_an_unknown_option_was_ignored(self):
        conf = self.make_conf(api={"max_limt": 5})
        with self.assertRaisesRegex(startup.NotReady, "max_limt"):
            app.create(conf)

    def test_a_connection_is_not_shared_with_forked_workers(self):
        conf = self.make_conf()
        self.make_store(conf)
        database = startup.open_database(conf)
        self.addCleanup(database.dispose)
        self.assertEqual((0, 0), database.connection_counts())

    def test_no_pipeline(self):
        conf = self.make_conf(api={"paste_config": "no-such.ini"})
        with self.assertRaisesRegex(
            cfg.ConfigFilesNotFoundError, "no-such.ini"
        ):
            app.create(conf)

    def test_a_strategy_that_the_pipeline_lacks(self):
        folder = self.make_folder()
        with open(f"{folder}/short.ini", "w", encoding="utf-8") as file:
            file.write(
                "[composite:main]\nuse = egg:images_service#root\n"
                "keystone = api\n[app:api]\nuse = egg:images_service#api\n"
            )
        conf = base.configuration(folder, api={"paste_config": "short.ini"})
        store = self.make_store(conf)
        with self.assertRaisesRegex(cfg.ConfigFileValueError, "noauth2"):
            app.create(conf, store)


class TestRoot(base.ApiTestCase):
    def test_what_wants_no_token(self):
        for path in ("/v2.1", "/v2.1/", "/v2/", "/v2.1/p/"):
            with self.subTest(path=path):
                response = self.request("GET", path, token=None)
                self.assertEqual(200, response.status_int)
        self.assertFault(
            self.request("GET", "/v3/images", token=None), 404, "itemNotFound"
        )

    def test_what_wants_one(self):
        for path in ("/images", "/images/", "/nothing", "/p/images", "/p"):
            with self.subTest(path=path):
                self.assertFault(
                    self.request("GET", path, token=None), 401, "unauthorized"
                )

    def test_request_ids(self):
        response = self.request("GET", "/images")
        request_id = response.headers["x-openstack-request-id"]
        self.assertRegex(request_id, "^req-[0-9a-f-]{36}$")
        self.assertEqual(request_id, response.headers["x-compute-request-id"])


class TestLinks(base.ApiTestCase):
    options = {
        "api": {
            "compute_link_prefix": "https://cloud.example/compute",
            "glance_link_prefix": "https://cloud.example/image",
        }
    }

    def test_prefixes(self):
        image_id = base.IDS["own"]
        response = self.request("GET", f"/{base.OWNER}/images/{image_id}")
        self.assertEqual(
            [
                "https://cloud.example/compute/v2.1/"
                f"{base.OWNER}/images/{image_id}",
                f"https://cloud.example/compute/{base.OWNER}/images/{image_id}",
                f"https://cloud.example/image/images/{image_id}",
            ],
            [link["href"] for link in response.json["image"]["links"]],
        )
        response = self.request("GET", "/images?limit=1")
        self.assertTrue(
            response.json["images_links"][0]["href"].startswith(
                "https://cloud.example/compute/v2.1/images?"
            )
        )


class TestEmptyVersionHeaders(base.ApiTestCase):
    def test_an_empty_legacy_header_is_400_on_the_version_document_too(self):
        for path in ("/", "/images"):
            response = self.request(
                "GET", path, X_OpenStack_Nova_API_Version=""
            )
            self.assertFault(
                response,
                400,
                "badRequest",
                "API Version String  is of invalid format. "
                "Must be of format MajorNum.MinorNum.",
            )
            response = self.request("GET", path, OpenStack_API_Version="")
            self.assertEqual(200, response.status_int)


class TestCatalog(base.TestCase):
    def test_the_image_endpoint_of_the_catalog(self):
        endpoint = self._alternate(
            [
                {"type": "compute", "endpoints": [{"publicURL": "http://c"}]},
                {
                    "type": "image",
                    "endpoints": [{"publicURL": "http://glance/v2/"}],
                },
            ]
        )
        self.assertEqual("http://glance", endpoint)

    def test_an_endpoint_without_a_public_url_is_skipped(self):
        endpoints = [
            {"region": "a", "internalURL": "http://internal"},
            # It was a TypeError, and the answer 500.
            {"region": "a", "publicURL": 5},
            {"region": "b", "publicURL": "http://b"},
        ]
        for region in (None, "a", "b"):
            self.assertEqual("http://b", self._of(endpoints, region))

    def test_the_configured_region_comes_before_the_first(self):
        endpoints = [
            {"region": "a", "publicURL": "http://a/v2"},
            {"publicURL": "http://everywhere"},
            {"region": "b", "publicURL": "http://b/v2"},
        ]
        for region, url in (
            (None, "http://a"),
            ("a", "http://a"),
            ("b", "http://b"),
            ("c", "http://a"),
        ):
            with self.subTest(region=region):
                self.assertEqual(url, self._of(endpoints, region))

    def test_catalogs_that_have_none(self):
        catalogs: tuple = ([], {}, [{"type": "image"}], [5], "x")
        for catalog in catalogs:
            with self.subTest(catalog=catalog):
                self.assertIsNone(self._alternate(catalog))

    def _of(self, endpoints, region):
        return self._alternate(
            [{"type": "image", "endpoints": endpoints}], region
        )

    def _alternate(self, catalog, region=None):
        conf = self.make_conf()
        region_name = cfg.StrOpt("region_name", default=region)
        conf.register_opt(region_name, "keystone_authtoken")
        return dispatch._image_endpoint(conf, json.dumps(catalog))
