# SPDX-License-Identifier: Apache-2.0
"""The dashboard and the alerts ask for what the service exports."""

import json
import os
import re
import unittest
from unittest import mock

import yaml

from images_service.glance import metrics as mirror_metrics
from images_service.middleware import metrics

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")
RULES = "etc/prometheus/images_service.rules.yml"
DASHBOARD = "etc/grafana/images_service.json"
# Those of Prometheus itself.
LABELS = {"instance", "job", "le"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def exported():
    """Return the series that both programs export: name -> labels."""
    api = metrics.Metrics(mock.Mock(), mock.Mock(), mock.Mock())
    found: dict[str, set[str]] = {"up": set()}
    for registry in (api.registry, mirror_metrics.Metrics().registry):
        for collector, names in registry._collector_to_names.items():
            for name in names:
                found[name] = set(getattr(collector, "_labelnames", ()))
    return found


def alerts():
    """Return the expressions of the alerts: name -> PromQL."""
    return {
        rule["alert"]: rule["expr"]
        for group in yaml.safe_load(read(RULES))["groups"]
        for rule in group["rules"]
    }


def panels():
    """Return the expressions of the dashboard: panel and letter -> PromQL."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in json.loads(read(DASHBOARD))["panels"]
        for target in panel["targets"]
    }


class TestExpressions(unittest.TestCase):
    def test_their_series_and_labels_are_exported(self):
        series = exported()
        for name, text in {**alerts(), **panels()}.items():
            with self.subTest(name):
                used = set(re.findall(r"images_service_\w+|\bup\b", text))
                # Where the name is a job's, it is in quotes.
                used -= set(re.findall(r'"(\w+)"', text))
                self.assertNotEqual(set(), used)
                self.assertLessEqual(used, set(series))
                known = LABELS.union(*(series[name] for name in used))
                labels = re.findall(r'(\w+)=~?"', text)
                for group in re.findall(r"by \(([\w, ]+)\)", text):
                    labels += group.split(", ")
                self.assertLessEqual(set(labels), known)

    def test_the_dashboard_has_all_of_them(self):
        text = " ".join(panels().values())
        for name in exported():
            family = re.sub("_(total|created|bucket|count|sum)$", "", name)
            if family != "up":
                self.assertIn(family, text)

    def test_legends_use_labels_that_are_left(self):
        for panel in json.loads(read(DASHBOARD))["panels"]:
            for target in panel["targets"]:
                with self.subTest(panel["title"]):
                    named = re.findall(r"{{(\w+)}}", target["legendFormat"])
                    kept = re.findall(r"by \(([\w, ]+)\)", target["expr"])
                    if kept:
                        self.assertEqual(
                            set(named), set(kept[0].split(", ")) - {"le"}
                        )

    def test_each_panel_has_a_place_of_its_own(self):
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(read(DASHBOARD))["panels"]:
            place = panel["gridPos"]["x"], panel["gridPos"]["y"]
            self.assertNotIn(place, taken)
            taken.add(place)
