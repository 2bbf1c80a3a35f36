from typing import Any

import pytest
import yaml

from gnnrec.cli.main import command
from gnnrec_server.main import LIVENESS
from tests.deploy import watched
from tests.tracked import tracked


def manifest(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((watched.KUBERNETES / f"{name}.yaml").read_text())
    return read


@pytest.fixture
def pod() -> dict[str, Any]:
    found: dict[str, Any] = manifest("deployment")["spec"]["template"]
    return found


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_kustomization_names_every_manifest() -> None:
    files = {path.name for path in tracked("deploy/kubernetes/*.yaml")}
    assert set(manifest("kustomization")["resources"]) == files - {"kustomization.yaml"}
    for name in files - {"kustomization.yaml"}:
        assert {"apiVersion", "kind", "metadata", "spec"} <= manifest(name[:-5]).keys()


def test_each_variable_is_an_option_of_serve(container: dict[str, Any]) -> None:
    (subcommand,) = container["args"]
    options = {parameter.envvar for parameter in command().commands[subcommand].params}
    ours = {name for name in environment(container) if name.startswith("GNNREC_")}
    assert ours <= options


def test_probes_ask_health_services_that_there_are(container: dict[str, Any]) -> None:
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert environment(container)["GNNREC_ADDRESS"] == f"0.0.0.0:{ports['grpc']}"
    assert environment(container)["GNNREC_METRICS_PORT"] == str(ports["metrics"])
    assert environment(container)["GNNREC_HEALTH_PORT"] == str(ports["health"])
    probed = {"startupProbe": "", "readinessProbe": "", "livenessProbe": LIVENESS}
    for probe, service in probed.items():
        assert container[probe]["grpc"] == {"port": ports["health"], "service": service}


def test_a_pod_has_time_to_drain(pod: dict[str, Any], container: dict[str, Any]) -> None:
    given = environment(container)
    needed = float(given["GNNREC_DRAIN"]) + float(given["GNNREC_GRACE"])
    assert pod["spec"]["terminationGracePeriodSeconds"] > needed + 5


def test_drain_is_longer_than_readiness_takes_to_notice(container: dict[str, Any]) -> None:
    probe = container["readinessProbe"]
    drain_s = float(environment(container)["GNNREC_DRAIN"])
    assert drain_s >= probe["periodSeconds"] * probe["failureThreshold"]


def test_a_pod_may_do_as_little_as_possible(pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert not pod["spec"]["automountServiceAccountToken"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert {"requests", "limits"} <= container["resources"].keys()
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["registry"]["readOnly"]
    assert mounts["registry"]["mountPath"] == environment(container)["GNNREC_REGISTRY"]
    assert mounts.keys() == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_service_and_budget_select_the_pods(pod: dict[str, Any]) -> None:
    labels = pod["metadata"]["labels"]
    service = manifest("service")["spec"]
    assert service["selector"] == labels
    assert service["clusterIP"] == "None"
    for name in ("deployment", "poddisruptionbudget"):
        assert manifest(name)["spec"]["selector"]["matchLabels"] == labels
    claim = manifest("persistentvolumeclaim")["metadata"]["name"]
    (registry,) = [each for each in pod["spec"]["volumes"] if each["name"] == "registry"]
    assert registry["persistentVolumeClaim"] == {"claimName": claim, "readOnly": True}
