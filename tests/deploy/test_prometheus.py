import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy import watched
from tests.server.running import Running
from tests.server.scraping import scraped_text


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=watched.RULES.parent, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", watched.RULES.name],
        ["test", "rules", watched.RULES_TEST.name],
        ["check", "config", watched.PROMETHEUS.name],
    ],
    ids=" ".join,
)
def test_promtool_passes(arguments: list[str]) -> None:
    done = run(program("promtool"), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_and_stays_silent_for_a_healthy_server() -> None:
    healthy, *others = yaml.safe_load(watched.RULES_TEST.read_text())["tests"]
    silent = {case["alertname"] for case in healthy["alert_rule_test"]}
    assert silent == watched.rules().keys()
    assert not [case for case in healthy["alert_rule_test"] if case["exp_alerts"]]
    cases = [case for test in others for case in test["alert_rule_test"] if case["exp_alerts"]]
    assert {case["alertname"] for case in cases} == watched.rules().keys()


def test_the_page_on_metrics_names_every_alert_by_the_metrics_it_reads() -> None:
    page = (watched.DEPLOY.parent / "docs" / "metrics.md").read_text()
    for alert, rule in watched.rules().items():
        for name in watched.names(rule["expr"]):
            name = re.sub(r"_(bucket|count|sum)$", "", name)
            (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}`")]
            assert alert in row, name


def test_every_metric_asked_for_is_there(server: Running) -> None:
    """Dashboard and rules read only what a real server says."""
    families = list(text_string_to_metric_families(scraped_text(server.ports.metrics)))
    there = set()
    for family in families:
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
        there |= {family.name + ending for ending in endings.get(family.type, [""])}
    read = {title: watched.names(query) for title, query in watched.queries().items()}
    assert all(names or title == "GnnrecDown" for title, names in read.items())
    assert set().union(*read.values()) - there == set()


class Prometheus:
    """A real Prometheus that scrapes one server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, query: str) -> list[dict[str, Any]]:
        """Return the series that a query gives now."""
        with urlopen(f"{self.url}/api/v1/query?{urlencode({'query': query})}") as response:
            result: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return result

    def is_ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/-/ready"):
                return True
        except URLError:
            return False


def wait_for(condition: Callable[[], Any], limit_s: float = 25) -> Any:
    """Return the condition's first true value."""
    pause, deadline = threading.Event(), time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited too long"
        pause.wait(0.1)
    return value


@pytest.fixture(scope="module")
def prometheus(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    directory = tmp_path_factory.mktemp("prometheus")
    config = directory / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "500ms", "evaluation_interval": "1s"},
                "rule_files": [str(watched.RULES)],
                "scrape_configs": [
                    {
                        "job_name": "gnnrec",
                        "static_configs": [{"targets": [f"127.0.0.1:{server.ports.metrics}"]}],
                    }
                ],
            }
        )
    )
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with subprocess.Popen(command, cwd=directory) as process:
        try:
            here = Prometheus(port)
            wait_for(here.is_ready)
            yield here
        finally:
            process.terminate()


def test_prometheus_tells_the_p99_by_version(prometheus: Prometheus, server: Running) -> None:
    query = (
        "histogram_quantile(0.99, sum by (le, version) "
        '(rate(gnnrec_request_duration_seconds_bucket{job="gnnrec", rpc="TopK"}[10s]))) >= 0'
    )

    def told() -> list[dict[str, Any]]:
        server.client.top_k("u0", k=3)
        return prometheus.query(query)

    (series,) = wait_for(told)
    assert series["metric"] == {"version": "v1"}
    assert 0 < float(series["value"][1]) < 5


def test_prometheus_understands_every_query(prometheus: Prometheus) -> None:
    wait_for(lambda: prometheus.query("up == 1"))
    for query in watched.queries().values():
        prometheus.query(query)  # urlopen raises for an error that Prometheus reports


def test_prometheus_finds_no_alert_firing_for_a_healthy_server(prometheus: Prometheus) -> None:
    wait_for(lambda: prometheus.query("gnnrec_model_info"))
    with urlopen(f"{prometheus.url}/api/v1/rules") as response:
        (group,) = json.load(response)["data"]["groups"]
    assert {rule["name"] for rule in group["rules"]} == watched.rules().keys()
    assert not prometheus.query('ALERTS{alertstate="firing"}')
