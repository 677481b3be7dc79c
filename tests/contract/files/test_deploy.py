"""The files under `deploy/` say what the code says, fit their schemas, and copy all that is needed."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.app.settings import Settings, load_settings
from backend.stack.balancer import COOKIE
from backend.stack.programs import caddy_program

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
MANIFESTS: dict[str, dict[str, Any]] = {
    manifest["kind"]: manifest
    for path in sorted(KUBERNETES.glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
}
PATHS = set(json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"])
KNOWN = {f"VOUCHSTORM_{name.upper()}" for name in Settings.model_fields}
FOR_CADDY = {"VOUCHSTORM_SITE"}
NODES = ("node-1", "node-2")
UVICORN_WAIT_S = 10
"""`timeout_graceful_shutdown` in `backend/app/process/node.py`."""


ROUTES: list[dict[str, Any]] = MANIFESTS["Ingress"]["spec"]["rules"][0]["http"]["paths"]
INNER = {"/healthz", "/readyz", "/metrics"}
OUTSIDE_THE_SCHEMA = {"/openapi.json", "/asyncapi.yaml", "/docs", "/app/", "/ws/socket.io/"}


def container() -> dict[str, Any]:
    (only,) = MANIFESTS["Deployment"]["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def images() -> list[str]:
    built = [target.partition(" AS ")[2] for target in re.findall(r"^FROM (.+)$", DOCKERFILE, re.MULTILINE)]
    bases = [image for image in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) if image not in built]
    return [*bases, *(service["image"] for service in COMPOSE["services"].values()), container()["image"]]


@pytest.mark.parametrize("image", sorted(set(images())))
def test_images_are_pinned_to_a_version(image):
    assert re.search(r":v?\d+\.\d+\.\d+", image)


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*")), ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path):
    named = set(re.findall(r"VOUCHSTORM_[A-Z_]+[A-Z]", path.read_text())) if path.is_file() else set()
    assert named <= KNOWN | FOR_CADDY


@pytest.mark.parametrize("node", NODES)
def test_a_node_accepts_its_environment_in_compose(node, monkeypatch):
    environment = dict(COMPOSE["services"][node]["environment"])
    environment["VOUCHSTORM_JWT_SECRET"] = "s" * 64
    assert accepted(environment, monkeypatch).node == node


def test_a_node_accepts_its_environment_in_kubernetes(monkeypatch):
    environment = {**MANIFESTS["ConfigMap"]["data"], **MANIFESTS["Secret"]["stringData"]}
    settings = accepted(environment, monkeypatch)
    assert settings.store_url is not None
    assert settings.bus_url is not None


def test_the_cluster_has_the_limits_that_are_advised_in_the_open():
    page = (ROOT / "docs" / "SECURITY.md").read_text(encoding="utf-8")
    passage = page[page.index("**In the open, set**") :].split("\n\n")[0].split("\n- ")[0]
    advised = dict(re.findall(r"`(VOUCHSTORM_\w+)=(\d+)`", passage))
    data = MANIFESTS["ConfigMap"]["data"]
    assert len(advised) == 4
    assert {name: data.get(name) for name in advised} == advised


def accepted(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("VOUCHSTORM_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_the_nodes_of_compose_differ_in_name_only():
    first, second = (COMPOSE["services"][node]["environment"] for node in NODES)
    assert {name for name in first if first[name] != second[name]} == {"VOUCHSTORM_NODE"}


def test_the_image_listens_where_everybody_asks():
    port = re.search(r'"--port", "(\d+)"', DOCKERFILE)
    assert port is not None
    asked = {
        *re.findall(r"^EXPOSE (8000)$", DOCKERFILE, re.MULTILINE),
        *re.findall(r"127\.0\.0\.1:(\d+)/healthz", DOCKERFILE),
        *re.findall(r"node-\d:(\d+)", (DEPLOY / "caddy" / "Caddyfile").read_text()),
        *re.findall(r"node-\d:(\d+)", (DEPLOY / "prometheus" / "prometheus.yml").read_text()),
        str(container()["ports"][0]["containerPort"]),
        str(MANIFESTS["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"]),
        MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"],
    }
    assert asked == {port[1]}


def test_the_image_runs_the_command_of_the_deployment():
    command = re.search(r'ENTRYPOINT \["python", "cli.py"\]\nCMD (\[.*\])', DOCKERFILE)
    assert command is not None
    assert json.loads(command[1]) == container()["args"]


def test_the_image_does_not_run_as_root():
    last_stage = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER 10001:10001$", last_stage, re.MULTILINE)


@pytest.mark.parametrize("line", re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE))
def test_what_the_image_copies_exists(line):
    *sources, _ = line.split()
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_ask_paths_that_exist(probe):
    assert container()[probe]["httpGet"]["path"] in PATHS


def test_readiness_may_fail_where_liveness_may_not():
    paths = [container()[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")]
    assert paths == ["/readyz", "/healthz"]


def test_a_pod_has_time_to_drain():
    stop = container()["lifecycle"]["preStop"]["exec"]["command"]
    needed_s = float(stop[1]) + float(MANIFESTS["ConfigMap"]["data"]["VOUCHSTORM_DRAIN_S"]) + UVICORN_WAIT_S
    assert MANIFESTS["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > needed_s


@pytest.mark.parametrize("node", NODES)
def test_a_node_of_compose_has_time_to_drain(node):
    service = COMPOSE["services"][node]
    needed_s = float(service["environment"]["VOUCHSTORM_DRAIN_S"]) + UVICORN_WAIT_S
    assert seconds(service["stop_grace_period"]) > needed_s


def test_everything_in_the_cluster_selects_the_same_pods():
    labels = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels


def test_the_autoscaler_scales_the_deployment():
    target = MANIFESTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", MANIFESTS["Deployment"]["metadata"]["name"])


def test_the_autoscaler_watches_a_metric_that_nodes_have():
    from backend.app.observability.metrics import Metrics

    metric = MANIFESTS["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert f"# TYPE {metric} gauge".encode() in Metrics("0", "n").render()


def test_the_kustomization_holds_every_manifest_but_the_example():
    listed = set(MANIFESTS["Kustomization"]["resources"])
    present = {path.name for path in KUBERNETES.glob("*.yaml")}
    assert present - listed == {"kustomization.yaml", "secret.example.yaml"}
    assert listed <= present


def test_compose_publishes_to_this_machine_only():
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_store_and_bus_are_on_the_closed_network_only():
    assert COMPOSE["networks"]["inner"]["internal"] is True
    assert [COMPOSE["services"][name]["networks"] for name in ("redis", "mongodb")] == [["inner"], ["inner"]]


def test_the_proxies_that_compose_trusts_are_those_of_its_network():
    (subnet,) = COMPOSE["networks"]["edge"]["ipam"]["config"]
    assert COMPOSE["services"]["node-1"]["environment"]["VOUCHSTORM_TRUSTED_PROXIES"] == subnet["subnet"]


@pytest.mark.parametrize(
    "source",
    [
        volume.partition(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ],
)
def test_files_that_compose_mounts_exist(source):
    assert (DEPLOY / source).exists()


def test_named_volumes_are_declared():
    used = {
        name
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if not (name := volume.partition(":")[0]).startswith(".")
    }
    assert used == set(COMPOSE["volumes"])


def test_no_secret_has_a_value_in_compose():
    text = (DEPLOY / "compose.yaml").read_text()
    for secret in ("VOUCHSTORM_JWT_SECRET: ", "GF_SECURITY_ADMIN_PASSWORD: "):
        assert text.partition(secret)[2].startswith("${")


def test_the_load_balancer_sticks_by_the_cookie_that_the_ingress_uses():
    annotations = MANIFESTS["Ingress"]["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/session-cookie-name"] == COOKIE
    assert f"lb_policy cookie {COOKIE}" in (DEPLOY / "caddy" / "Caddyfile").read_text()


def test_the_load_balancer_keeps_the_metrics_inside():
    assert "respond @private 404" in (DEPLOY / "caddy" / "Caddyfile").read_text()


def routed(path: str) -> bool:
    """As an ingress matches: exactly, or by whole elements of the path."""
    return any(
        path == route["path"]
        or (route["pathType"] == "Prefix" and f"{path}/".startswith(route["path"].rstrip("/") + "/"))
        for route in ROUTES
    )


@pytest.mark.parametrize("path", sorted((PATHS - INNER) | OUTSIDE_THE_SCHEMA))
def test_the_ingress_routes_what_is_public(path):
    assert routed(path)


@pytest.mark.parametrize("path", sorted(INNER))
def test_the_ingress_keeps_the_rest_inside(path):
    assert not routed(path)


@pytest.mark.services
def test_caddy_accepts_the_caddyfile(tmp_path):
    command = [caddy_program(), "validate", "--adapter", "caddyfile"]
    checked = subprocess.run(
        [*command, "--config", str(DEPLOY / "caddy" / "Caddyfile")],
        env={"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


# ---------------------------------------------------------------- the schemas


kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="part of the dev extra")
compose_spec = pytest.importorskip("compose_spec", reason="part of the dev extra")

KUBERNETES_VERSION = "1.31"
MANIFEST_FILES = [path for path in sorted(KUBERNETES.glob("*.yaml")) if path.name != "kustomization.yaml"]


@pytest.mark.parametrize("path", MANIFEST_FILES, ids=lambda path: path.name)
def test_manifests_are_valid(path):
    for manifest in yaml.safe_load_all(path.read_text()):
        assert kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


def test_a_misspelt_field_would_be_found():
    manifest = yaml.safe_load((KUBERNETES / "disruption-budget.yaml").read_text())
    manifest["spec"]["maxUnavailabel"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


def test_the_compose_file_is_valid():
    # Anchors and merge keys are YAML's, not the specification's: resolve them first.
    resolved = yaml.safe_dump(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))
    assert compose_spec.PyCompose.from_yaml(resolved).to_spec().services


def test_a_wrong_compose_file_would_be_found():
    resolved = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    resolved["services"]["redis"]["helthcheck"] = {}
    with pytest.raises(ValueError):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(resolved))


# ---------------------------------------------------------------- the image: what is copied is enough


IGNORED = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
STAGES = {
    name: (base, body)
    for base, name, body in re.findall(
        r"^FROM (\S+) AS (\S+)\n((?:(?!FROM ).*\n)*)",
        DOCKERFILE,
        re.MULTILINE,
    )
}
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
START_S = 60


def copies(stage: str) -> list[tuple[str, str]]:
    """(source in the repository, place in the image) of a stage and of those it is built from."""
    base, body = STAGES[stage]
    below = copies(base) if base in STAGES else []
    lines = [line.split() for line in re.findall(r"^COPY (?!--from)(.+)$", body, re.MULTILINE)]
    return below + [(source, place) for *sources, place in lines for source in sources]


def laid_out(stage: str, root: Path) -> Path:
    """What the stage copies, without the web UI that another stage builds."""
    for source, place in copies(stage):
        if (ROOT / source).is_dir():
            ignore = shutil.ignore_patterns("node_modules", "__pycache__")
            shutil.copytree(ROOT / source, root / place, ignore=ignore)
        else:
            shutil.copy(ROOT / source, root / place)
    return root


def locked_packages(names: list[str], into: Path) -> Path:
    """A directory with these installed packages only; those for other systems are left out."""
    tops: set[str] = set()
    for name in names:
        with suppress(PackageNotFoundError):
            tops |= {file.parts[0] for file in distribution(name).files or []}
    into.mkdir()
    for top in tops - {".."}:
        (into / top).symlink_to(SITE_PACKAGES / top)
    return into


def started(root: Path, packages: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`-S`: no `.pth` file is read, so an editable install of this repository is not seen."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VOUCHSTORM_")}
    return subprocess.run(
        [sys.executable, "-S", "-B", *words],
        cwd=root,
        env={**environment, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S,
    )


@pytest.fixture(scope="module")
def run_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lock = (ROOT / "requirements" / "run.txt").read_text()
    names = re.findall(r"^([\w.-]+)(?:\[.*\])?==", lock, re.MULTILINE)
    return locked_packages(names, tmp_path_factory.mktemp("image") / "packages")


@pytest.fixture(scope="module")
def node_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out("node", tmp_path_factory.mktemp("node"))


@pytest.mark.parametrize("words", [["serve", "--help"], ["seed", "--help"]], ids=" ".join)
def test_the_command_line_starts_in_the_node_image(node_root, run_packages, words):
    done = started(node_root, run_packages, "cli.py", *words)
    assert done.returncode == 0, done.stderr


def test_the_service_is_composed_in_the_node_image(node_root, run_packages):
    done = started(node_root, run_packages, "-c", "import backend.app.main, backend.app.process.node")
    assert done.returncode == 0, done.stderr


def test_the_checkout_is_not_seen_from_the_image(tmp_path, run_packages):
    done = started(tmp_path, run_packages, "-c", "import backend")
    assert "No module named 'backend'" in done.stderr


def test_locust_finds_our_users_in_the_loadtest_image(tmp_path):
    root = laid_out("loadtest", tmp_path)
    words = ["-m", "locust", "-f", "loadtest/locustfile.py", "--list"]
    done = started(root, SITE_PACKAGES, *words)
    assert done.returncode == 0, done.stderr
    assert "ValidatorUser" in done.stdout + done.stderr


@pytest.mark.parametrize("source", sorted({source for name in STAGES for source, _ in copies(name)}))
def test_what_is_copied_is_not_kept_from_the_builder(source):
    assert IGNORED[0] == "**"
    allowed = [line.removeprefix("!") for line in IGNORED if line.startswith("!")]
    assert any(source == each or (each.endswith("/") and source.startswith(each)) for each in allowed)


def test_what_npm_installed_here_is_kept_from_the_builder():
    assert "**/node_modules/" in IGNORED
