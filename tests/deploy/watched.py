"""The queries of the dashboard and of the alert rules, for tests with a real server."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "gnnrec.json"
RULES = DEPLOY / "prometheus" / "gnnrec.rules.yml"
RULES_TEST = DEPLOY / "prometheus" / "gnnrec.rules.test.yml"
PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yml"
KUBERNETES = DEPLOY / "kubernetes"

_NAME = re.compile(r"\b(?:gnnrec|grpc_server|process)_[a-z_]+\b")


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def dashboard_queries() -> dict[str, str]:
    """Return the dashboard's queries by panel, with its variables filled in."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    }
    for annotation in dashboard()["annotations"]["list"]:
        found[annotation["name"]] = annotation["expr"]
    filled = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*"}
    for variable, value in filled.items():
        found = {title: query.replace(variable, value) for title, query in found.items()}
    return found


def rules() -> dict[str, dict[str, Any]]:
    """Return the alert rules by name."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def queries() -> dict[str, str]:
    """Return every query of the dashboard and the rules."""
    return dashboard_queries() | {name: rule["expr"] for name, rule in rules().items()}


def names(query: str) -> set[str]:
    """Return the metrics that a query reads."""
    without_labels = re.sub(r"\{[^}]*\}|by \([^)]*\)|on \([^)]*\)", "", query)
    return set(_NAME.findall(without_labels))
