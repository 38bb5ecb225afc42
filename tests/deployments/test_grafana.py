"""The dashboards: built from their one source, complete, and asking only for what is emitted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml

import alerting.metrics
import baselines.metrics
import ingestion.metrics

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deployments" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
METRIC = re.compile(r"\b((?:sentinel|process|django)_[a-z0-9_]+|up)\b(?=[{\[])")
# Of Prometheus itself, and of client libraries: processes by prometheus_client, requests by django-prometheus.
OF_OTHERS = {
    "up",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "django_http_requests_total_by_method_total",
}
# Promised to users by name, so they exist as long as the product does.
PROMISED = {
    "sentinel_anomalies_detected_total",
    "sentinel_cache_hits_total",
    "sentinel_cache_misses_total",
    "sentinel_detection_errors_total",
    "sentinel_detection_latency_seconds_bucket",
    "sentinel_storage_errors_total",
    "sentinel_storage_writes_total",
}
DEFINITIONS = (alerting.metrics, baselines.metrics, ingestion.metrics)
PANELS = {
    "sentinel-anomalies": 6,
    "sentinel-health": 7,
    "sentinel-performance": 6,
    "sentinel-alerts": 7,
}

Json = dict[str, Any]


def load(path: Path) -> Json:
    loaded: Json = json.loads(path.read_text())
    return loaded


def expressions() -> list[str]:
    return [target["expr"] for path in FILES for panel in load(path)["panels"] for target in panel["targets"]]


def emitted() -> set[str]:
    """Names of all samples that the definitions lead to."""
    known = {value for module in DEFINITIONS for value in vars(module).values() if hasattr(value, "describe")}
    families = prometheus_client.REGISTRY._collector_to_names
    return {name for metric in known for name in families.get(metric, ())}


def test_the_files_are_what_their_source_builds(tmp_path: Path) -> None:
    subprocess.run([sys.executable, GRAFANA / "build.py", tmp_path], check=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {p.name: p.read_text() for p in FILES}


def test_there_are_the_four_dashboards_with_all_their_panels() -> None:
    assert {load(path)["uid"]: len(load(path)["panels"]) for path in FILES} == PANELS


def test_every_metric_that_a_panel_asks_for_is_emitted() -> None:
    asked = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert len(asked) > 15
    assert asked - OF_OTHERS - PROMISED - emitted() == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_panels_have_a_unit_a_source_and_a_place_of_their_own(path: Path) -> None:
    panels = load(path)["panels"]
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in panels)
    assert {panel["datasource"]["uid"] for panel in panels} == {"${source}"}
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_variable_that_is_used_exists_and_incidents_are_one_step_away(path: Path) -> None:
    dashboard = load(path)
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", path.read_text()))
    assert used == names
    assert dashboard["links"][0]["url"] == "${sentinel_url}/"


def test_grafana_is_told_the_same_source_and_folder_every_time() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    chosen = {variable["name"]: variable for variable in load(FILES[0])["templating"]["list"]}["source"]["current"]
    assert [source["uid"] for source in sources] == [chosen["value"]]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/sentinel.yaml").read_text())["providers"]
    mounts = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert f"./deployments/grafana/dashboards:{provider['options']['path']}:ro" in mounts
