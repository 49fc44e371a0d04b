# SPDX-License-Identifier: Apache-2.0
import json
import typing
import unittest

from images_service.cmd import comparison

NOVA, IMAGES = "http://nova:8774/compute", "http://images:8775"
JSON = {"content-type": "application/json"}


def answer(document, root=NOVA, status=200, **headers):
    body = document if isinstance(document, bytes) else json.dumps(document)
    return comparison.Answer.read(
        status,
        {**JSON, **{k.replace("_", "-"): v for k, v in headers.items()}},
        body if isinstance(body, bytes) else body.encode(),
        root,
    )


def image(root, number="1", **members):
    """Return an image as it is listed."""
    return {
        "id": number,
        "status": "ACTIVE",
        "metadata": {},
        "links": [
            {"rel": "self", "href": f"{root}/v2.1/images/{number}"},
            {"rel": "bookmark", "href": f"{root}/images/{number}"},
        ],
        **members,
    }


class ComparisonTestCase(unittest.TestCase):
    maxDiff = None

    def differences(self, nova, images, target="/v2.1/images", method="GET"):
        """Return the differences: each without what is empty at its end."""
        found = []
        for one in comparison.differences(method, target, nova, images):
            values = list(one)
            while values and not values[-1]:
                values.pop()
            found.append(tuple(values))
        return found

    def lists(self, nova, images, query="", method="GET"):
        """Return the differences of two lists of images."""
        return self.differences(
            answer({"images": nova}),
            answer({"images": images}, IMAGES),
            f"/v2.1/images{query}",
            method,
        )


class TestDifferences(ComparisonTestCase):
    def test_none(self):
        nova = image(NOVA)
        images = image(IMAGES)
        images["links"].reverse()
        images = dict(reversed(images.items()))
        self.assertEqual([], self.lists([nova], [images]))

    def test_links(self):
        nova, images = (
            {
                "images": [],
                "images_links": [{"rel": "next", "href": f"{root}/i?{query}"}],
            }
            for root, query in (
                (NOVA, "limit=1&name="),
                (IMAGES, "name=&limit=1"),
            )
        )
        self.assertEqual(
            [], self.differences(answer(nova), answer(images, IMAGES))
        )
        images["images_links"][0]["href"] = "https://elsewhere/i"
        self.assertEqual(
            [
                (
                    *("images_links.next.href", ""),
                    *('"/i?limit=1&name="', '"https://elsewhere/i"'),
                )
            ],
            self.differences(answer(nova), answer(images, IMAGES)),
        )

    def test_an_address_elsewhere_stays(self):
        """Only links have an endpoint's address."""
        value = f"{NOVA}/images"
        self.assertEqual(
            [],
            self.lists(
                [image(NOVA, metadata={"href2": value})],
                [image(IMAGES, metadata={"href2": value})],
            ),
        )

    def test_fields(self):
        self.assertEqual(
            [
                ("images.status", "2", '"ACTIVE"', '"SAVING"'),
                ("images.metadata.a", "2", '"1"', "1"),
                ("images.metadata.b", "2", '""', "-"),
                ("images.metadata.d", "2", "{}", "[]"),
                ("images.metadata.c", "2", "-", "null"),
                ("images.links.self.href", "2", '"/v2.1/images/2"', '"x"'),
                ("images.links.bookmark", "2"),
            ],
            [
                one[:2] if one[0].endswith("bookmark") else one
                for one in self.lists(
                    [
                        image(NOVA),
                        image(
                            NOVA, "2", metadata={"a": "1", "b": "", "d": {}}
                        ),
                    ],
                    [
                        image(IMAGES),
                        image(
                            IMAGES,
                            "2",
                            status="SAVING",
                            metadata={"a": 1, "c": None, "d": []},
                            links=[{"rel": "self", "href": "x"}],
                        ),
                    ],
                )
            ],
        )

    def test_other_images_and_another_order(self):
        nova = [image(NOVA, number) for number in "123"]
        images = [image(IMAGES, number) for number in "421"]
        found = self.lists(nova, images)
        self.assertEqual(
            [("images", "3"), ("images", "4"), ("images (order)", "")],
            [one[:2] for one in found],
        )
        self.assertEqual("-", found[0][3])
        self.assertEqual("-", found[1][2])
        self.assertEqual(('["1", "2"]', '["2", "1"]'), found[2][2:])

    def test_many_of_a_field_are_one(self):
        nova = [image(NOVA, str(n), a=n) for n in range(9)]
        images = [image(IMAGES, str(n), a=0) for n in range(3, 12)]
        self.assertEqual(
            [
                ("images", "0 and 2 more"),
                ("images.a", "3 and 5 more"),
                ("images", "9 and 2 more"),
            ],
            [one[:2] for one in self.lists(nova, images)],
        )

    def test_lists_of_other_things(self):
        self.assertEqual(
            [("x", "1", "2", "3"), ("x", "2", "-", "4")],
            self.differences(
                answer({"x": [1, 2]}), answer({"x": [1, 3, 4]}, IMAGES)
            ),
        )

    def test_statuses(self):
        fault = {"itemNotFound": {"code": 404, "message": "Image\x1b not"}}
        self.assertEqual(
            [("status", "", "200", r'404 "Image\u001b not"')],
            self.differences(answer({}), answer(fault, status=404)),
        )

    def test_faults(self):
        nova, images = (
            answer({"itemNotFound": {"message": text}}, status=404)
            for text in ("a", "b")
        )
        self.assertEqual(
            [("itemNotFound.message", "", '"a"', '"b"')],
            self.differences(nova, images),
        )

    def test_headers(self):
        self.assertEqual(
            [
                ("header Vary", "", '"Accept-Encoding"', '"-"'),
                ("header OpenStack-API-Version", "", '"compute 2.1"', '"-"'),
            ],
            self.differences(
                answer(
                    {},
                    vary="Accept-Encoding",
                    openstack_api_version="compute 2.1",
                    date="now",
                ),
                answer({}, etag='"1"', content_type="application/JSON"),
            ),
        )
        self.assertEqual(
            [],
            self.differences(answer({}, vary="a, b"), answer({}, vary="B,a")),
        )
        # As in Nova's faults.
        kinds = ("application/json; charset=UTF-8", "application/json")
        nova, images = (answer({}, content_type=kind) for kind in kinds)
        self.assertEqual([], self.differences(nova, images))

    def test_bodies_that_are_no_json(self):
        for text in (b"<html>", b'{"images": [', b"[" * 100_000, b"\xff"):
            with self.subTest(text[:20]):
                self.assertEqual(
                    [], self.differences(answer(text), answer(text))
                )
                (found,) = self.differences(answer(text), answer({}))
                self.assertEqual("body", found[0])
                self.assertEqual("{}", found[3])

    def test_values_are_short_and_printable(self):
        (found,) = self.lists(
            [image(NOVA, name="é\x9b\n")], [image(IMAGES, name="x" * 10_000)]
        )
        self.assertEqual('"\\u00e9\\u009b\\n"', found[2])
        self.assertLess(len(found[3]), 200)

    def test_no_list(self):
        documents: tuple[typing.Any, ...] = (
            *(None, 1, [], {"images": 1}, {"images": [1]}),
        )
        for document in documents:
            made = answer(document)
            self.assertEqual({}, made.listed)
            self.assertIsNone(made.next_query)


class TestDocumented(ComparisonTestCase):
    def reason(self, found):
        (one,) = found
        return one[4] if len(one) > 4 else None

    def statuses(self, nova, images, target="/v2.1/images", method="GET"):
        answers = [answer({}, status=status) for status in (nova, images)]
        return self.reason(
            self.differences(answers[0], answers[1], target, method)
        )

    def test_statuses(self):
        self.assertIsNone(self.statuses(200, 404))
        self.assertIsNone(self.statuses(404, 200))
        self.assertIn("HEAD", self.statuses(404, 200, method="HEAD"))
        self.assertIsNone(self.statuses(200, 500, method="HEAD"))
        self.assertIn("Nova fails", self.statuses(500, 200))
        self.assertIsNone(self.statuses(500, 503))
        path = "/v2.1/images"
        self.assertIn("marker", self.statuses(403, 400, f"{path}?marker=x"))
        self.assertIsNone(self.statuses(403, 400, path))
        self.assertIn("numbers", self.statuses(200, 400, f"{path}?minRam=x"))
        self.assertIsNone(self.statuses(200, 400, f"{path}?minRam=1"))

    def test_deleted_images(self):
        deleted = image(IMAGES, status="DELETED")
        query = "?changes-since=2026-01-01T00:00:00Z"
        self.assertIn("deleted", self.reason(self.lists([], [deleted], query)))
        self.assertIsNone(self.reason(self.lists([], [deleted])))
        self.assertIsNone(self.reason(self.lists([], [image(IMAGES)], query)))

    def test_filters(self):
        found = image(NOVA, name="A", metadata={"os": "X", "image_type": "y"})
        for query in ("name=a", "property-os=x", "type=Y"):
            with self.subTest(query):
                self.assertIn(
                    "exactly",
                    self.reason(self.lists([found], [], f"?{query}")),
                )
        for query in ("name=A", "property-os=X", "type=y", "status=x", ""):
            with self.subTest(query):
                self.assertIsNone(
                    self.reason(self.lists([found], [], f"?{query}"))
                )
        del found["metadata"]
        self.assertIsNone(
            self.reason(self.lists([found], [], "?property-os=x"))
        )
