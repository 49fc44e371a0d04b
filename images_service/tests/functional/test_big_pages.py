# SPDX-License-Identifier: Apache-2.0
"""Pages that would hold too much end before, and can be followed on."""

from images_service.tests import base


class TestBigPages(base.ApiTestCase):
    options = {"api": {"max_page_metadata": 5000}}
    SIZES = (100, 4000, 100, 6000, 3000, 3000, 100)

    def setUp(self):
        super().setUp()
        self.store = self.make_store(
            self.conf,
            [
                {
                    "id": f"{number:08d}{base.UNKNOWN[8:]}",
                    "name": str(size),
                    "owner": base.OTHER,
                    # Bytes count: each of these characters is two.
                    "key": "ä" * (size // 2),
                }
                for number, size in enumerate(self.SIZES)
            ],
        )

    def test_following_next_meets_each_image_once(self):
        expected = [str(size) for size in reversed(self.SIZES)]
        for first in ("/images/detail", "/images/detail?limit=2"):
            found, pages, path = [], 0, first
            while path:
                response = self.request("GET", path, "other").json
                pages += 1
                ours = [i for i in response["images"] if i["name"].isdigit()]
                for image in ours:
                    size = int(image["name"])
                    self.assertEqual(
                        "ä" * (size // 2), image["metadata"]["key"]
                    )
                found += [image["name"] for image in ours]
                (link,) = response.get("images_links", [{}])
                path = link.get("href", "").removeprefix("http://localhost")
            self.assertEqual(expected, found)
            self.assertGreater(pages, 3)

    def test_an_index_shows_no_metadata_and_is_not_cut_by_them(self):
        response = self.request("GET", "/images", "other").json
        found = [i["name"] for i in response["images"] if i["name"].isdigit()]
        self.assertEqual([str(size) for size in reversed(self.SIZES)], found)
        self.assertNotIn("images_links", response)
