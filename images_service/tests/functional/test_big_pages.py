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
                    # Characters count, however many bytes they are.
                    "key": "ä" * size,
                }
                for number, size in enumerate(self.SIZES)
            ],
        )

    def test_following_next_meets_each_image_once(self):
        expected = [str(size) for size in reversed(self.SIZES)]
        for first in ("/images/detail", "/images", "/images/detail?limit=2"):
            found, pages, path = [], 0, first
            while path:
                response = self.request("GET", path, "other").json
                pages += 1
                ours = [i for i in response["images"] if i["name"].isdigit()]
                for image in ours:
                    if "metadata" in image:
                        size = int(image["name"])
                        self.assertEqual("ä" * size, image["metadata"]["key"])
                found += [image["name"] for image in ours]
                (link,) = response.get("images_links", [{}])
                path = link.get("href", "").removeprefix("http://localhost")
            self.assertEqual(expected, found)
            self.assertGreater(pages, 3)
