"""Write the dashboards of panels.py as Grafana's JSON to dashboards/ (or to the directory that is named)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from panels import DASHBOARDS, Dashboard, Panel

HERE = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${source}"}
COLOURS = ("green", "yellow", "red")
WIDTHS = {"timeseries": 12, "barchart": 12, "bargauge": 12, "stat": 6, "gauge": 6}
HEIGHT = 8


def variable(name: str, label: str, metric: str) -> dict[str, Any]:
    query = f"label_values({metric}, {name})"
    common = {"name": name, "label": label, "type": "query", "datasource": SOURCE, "refresh": 2, "sort": 1}
    everything = {"includeAll": True, "multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return common | everything | {"definition": query, "query": {"query": query, "refId": name}}


def variables() -> list[dict[str, Any]]:
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    chosen = {"text": "Prometheus", "value": "sentinel-prometheus"}
    address = "http://localhost:8080"
    return [
        source | {"current": chosen},
        variable("job", "Job", "up"),
        variable("instance", "Instance", 'up{job=~"$job"}'),
        {"name": "sentinel_url", "label": "LLM-Sentinel", "type": "textbox", "query": address,
         "current": {"text": address, "value": address}},
    ]  # fmt: skip


def thresholds(panel: Panel) -> dict[str, Any]:
    limits = (None, *panel.steps)
    steps = [{"color": colour, "value": limit} for colour, limit in zip(COLOURS, limits, strict=False)]
    return {"mode": "absolute", "steps": steps}


def links(panel: Panel) -> list[dict[str, Any]]:
    """Metrics carry no incident's id: the overview lists the incidents of the service, each with its page."""
    if not panel.per_service:
        return []
    url = "${sentinel_url}/?service=${__field.labels.service:percentencode}"
    return [{"title": "Incidents of this service", "url": url, "targetBlank": True}]


def place(widths: list[int]) -> list[dict[str, int]]:
    """From left to right, a new row where the next would not fit into 24 columns."""
    places, x, y = [], 0, 0
    for width in widths:
        if x + width > 24:
            x, y = 0, y + HEIGHT
        places.append({"x": x, "y": y, "w": width, "h": HEIGHT})
        x += width
    return places


def panel_json(number: int, panel: Panel, position: dict[str, int]) -> dict[str, Any]:
    is_instant = panel.kind in ("barchart", "bargauge")
    targets = [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend or "__auto",
         "instant": is_instant, "range": not is_instant}
        for index, (legend, query) in enumerate(panel.queries.items())
    ]  # fmt: skip
    defaults = {"unit": panel.unit, "thresholds": thresholds(panel), "links": links(panel), "min": 0}
    if panel.unit == "percentunit" and panel.kind == "gauge":
        defaults["max"] = 1
    if panel.kind == "timeseries" and panel.steps:
        defaults["custom"] = {"thresholdsStyle": {"mode": "dashed"}}
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": position,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if panel.kind in ("stat", "gauge", "bargauge") else {},
    }


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    places = place([WIDTHS[panel.kind] for panel in dashboard.panels])
    overview = {
        "title": "Incidents",
        "type": "link",
        "url": "${sentinel_url}/",
        "targetBlank": True,
        "icon": "external link",
    }
    others = {
        "title": "Dashboards",
        "type": "dashboards",
        "tags": ["llm-sentinel"],
        "asDropdown": True,
        "keepTime": True,
    }
    return {
        "uid": dashboard.uid,
        "title": f"LLM-Sentinel: {dashboard.title}",
        "tags": ["llm-sentinel"],
        "schemaVersion": 41,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables()},
        "links": [overview, others],
        "panels": [
            panel_json(number, panel, position)
            for number, (panel, position) in enumerate(zip(dashboard.panels, places, strict=True), start=1)
        ],
    }


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for dashboard in DASHBOARDS:
        text = json.dumps(dashboard_json(dashboard), indent=2) + "\n"
        (folder / f"{dashboard.uid}.json").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
