"""The files under `deploy/` fit the schemas of Kubernetes and of the Compose specification."""

from pathlib import Path

import pytest
import yaml

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="part of the dev extra")
compose_spec = pytest.importorskip("compose_spec", reason="part of the dev extra")

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBERNETES_VERSION = "1.31"
MANIFESTS = [
    path for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) if path.name != "kustomization.yaml"
]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_valid(path):
    for manifest in yaml.safe_load_all(path.read_text()):
        assert kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


def test_a_misspelt_field_would_be_found():
    manifest = yaml.safe_load((DEPLOY / "kubernetes" / "disruption-budget.yaml").read_text())
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
