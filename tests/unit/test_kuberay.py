"""The manifests of docs/examples/kuberay, against the fields that KubeRay 1.6 and Kubernetes publish.

kubeconform cannot be had here (neither a package nor its schemas), so this is a check of our own: every field
must be known at its place and of its kind, as an API server with strict field validation would have it.
"""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT

import modelyard
from modelyard.records.clusters import parse_clusters

FOLDER = ROOT / "docs/examples/kuberay"
ADDRESS = "yard-main-head-svc:6379"


class Map:
    """Any keys, texts as values."""


class Quantity:
    """An amount of something, as `2`, `500m`, `4Gi`."""

    FORM = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:m|k|M|G|T|Ki|Mi|Gi|Ti)?")


RESOURCES = {"requests": {str: Quantity}, "limits": {str: Quantity}}
SECURITY = {
    "privileged": bool,
    "runAsUser": int,
    "runAsNonRoot": bool,
    "readOnlyRootFilesystem": bool,
    "allowPrivilegeEscalation": bool,
    "procMount": {"Default", "Unmasked"},
    "seccompProfile": {"type": {"Unconfined", "RuntimeDefault", "Localhost"}, "localhostProfile": str},
    "appArmorProfile": {"type": {"Unconfined", "RuntimeDefault", "Localhost"}},
    "capabilities": {"add": [str], "drop": [str]},
}
PROBE = {
    "httpGet": {
        "path": str,
        "port": object,
        "host": str,
        "scheme": {"HTTP", "HTTPS"},
        "httpHeaders": [{"name": str, "value": str}],
    },
    "initialDelaySeconds": int,
    "periodSeconds": int,
    "timeoutSeconds": int,
    "failureThreshold": int,
}
ENV = [
    {
        "name": str,
        "value": str,
        "valueFrom": {"secretKeyRef": {"name": str, "key": str, "optional": bool}},
    }
]
CONTAINER = {
    "name": str,
    "image": str,
    "imagePullPolicy": {"Always", "Never", "IfNotPresent"},
    "command": [str],
    "args": [str],
    "env": ENV,
    "ports": [{"name": str, "containerPort": int, "protocol": {"TCP", "UDP"}}],
    "resources": RESOURCES,
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
    "securityContext": SECURITY,
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool, "subPath": str}],
}
VOLUME = {
    "name": str,
    "emptyDir": {"medium": {"", "Memory"}, "sizeLimit": Quantity},
    "configMap": {"name": str, "defaultMode": int},
    "secret": {"secretName": str, "defaultMode": int},
}
META = {"name": str, "namespace": str, "labels": Map, "annotations": Map}
POD = {
    "metadata": META,
    "spec": {
        "containers": [CONTAINER],
        "initContainers": [CONTAINER],
        "volumes": [VOLUME],
        "serviceAccountName": str,
        "automountServiceAccountToken": bool,
        "hostUsers": bool,
        "shareProcessNamespace": bool,
        "terminationGracePeriodSeconds": int,
        "nodeSelector": Map,
        "restartPolicy": {"Always"},
    },
}
SELECTOR = {"matchLabels": Map}
PEER = {"podSelector": SELECTOR, "namespaceSelector": SELECTOR}
PORTS = [{"protocol": {"TCP", "UDP"}, "port": object}]
SPECS: dict[tuple[str, str], dict[str, Any]] = {
    ("ray.io/v1", "RayCluster"): {
        "rayVersion": str,
        "suspend": bool,
        "authOptions": {"mode": {"token", "disabled"}, "secretName": str, "enableK8sTokenAuth": bool},
        "enableInTreeAutoscaling": bool,
        "autoscalerOptions": {
            "idleTimeoutSeconds": int,
            "upscalingMode": {"Default", "Aggressive", "Conservative"},
            "version": {"v1", "v2"},
            "resources": RESOURCES,
            "image": str,
            "imagePullPolicy": str,
            "env": ENV,
        },
        "headServiceAnnotations": Map,
        "headGroupSpec": {
            "rayStartParams": Map,
            "template": POD,
            "serviceType": {"ClusterIP", "NodePort", "LoadBalancer"},
            "enableIngress": bool,
        },
        "workerGroupSpecs": [
            {
                "groupName": str,
                "replicas": int,
                "minReplicas": int,
                "maxReplicas": int,
                "idleTimeoutSeconds": int,
                "numOfHosts": int,
                "rayStartParams": Map,
                "template": POD,
                "suspend": bool,
            }
        ],
    },
    ("apps/v1", "StatefulSet"): {
        "serviceName": str,
        "replicas": int,
        "selector": SELECTOR,
        "template": POD,
        "volumeClaimTemplates": [
            {
                "metadata": META,
                "spec": {
                    "accessModes": [str],
                    "resources": RESOURCES,
                    "storageClassName": str,
                },
            }
        ],
    },
    ("v1", "Service"): {
        "selector": Map,
        "clusterIP": str,
        "ports": [{"name": str, "port": int, "targetPort": object, "protocol": {"TCP"}}],
    },
    ("networking.k8s.io/v1", "NetworkPolicy"): {
        "podSelector": SELECTOR,
        "policyTypes": [{"Ingress", "Egress"}],
        "ingress": [{"from": [PEER], "ports": PORTS}],
        "egress": [{"to": [PEER], "ports": PORTS}],
    },
}


def faults(value: Any, due: Any, at: str) -> list[str]:
    """Where a value is not what is due, in words."""
    if isinstance(due, list):
        pairs = (
            [(each, due[0], f"{at}[{n}]") for n, each in enumerate(value)] if type(value) is list else None
        )
        return _each(pairs, f"{at} is no list")
    if due is Map or isinstance(due, dict):
        fields = due if isinstance(due, dict) else {str: str}
        if not isinstance(value, dict):
            return [f"{at} is no object"]
        known = {key: fields.get(str, fields.get(key)) for key in value}
        unknown = [f"{at}.{key} is not known" for key, kind in known.items() if kind is None]
        return unknown + _each([(value[k], kind, f"{at}.{k}") for k, kind in known.items() if kind], "")
    if isinstance(due, set):
        return [] if value in due else [f"{at} is {value!r}, not one of {sorted(due)}"]
    if due is Quantity:
        return [] if Quantity.FORM.fullmatch(str(value)) else [f"{at} is no quantity: {value!r}"]
    good = isinstance(value, due) and not (due is int and isinstance(value, bool))
    return [] if good else [f"{at} is {value!r}, not a {due.__name__}"]


def _each(pairs: list[tuple[Any, Any, str]] | None, otherwise: str) -> list[str]:
    return [otherwise] if pairs is None else [fault for pair in pairs for fault in faults(*pair)]


def document_faults(document: dict[str, Any]) -> list[str]:
    kind = (document["apiVersion"], document["kind"])
    if kind == ("v1", "ConfigMap"):
        return faults(document, {"apiVersion": str, "kind": str, "metadata": META, "data": Map}, "ConfigMap")
    due = {"apiVersion": str, "kind": str, "metadata": META, "spec": SPECS[kind]}
    return faults(document, due, kind[1])


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return [d for path in sorted(FOLDER.glob("*.yaml")) for d in yaml.safe_load_all(path.read_text())]


def one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [d for d in documents if d["kind"] == kind]
    return found


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    cluster, yard = one(documents, "RayCluster")["spec"], one(documents, "StatefulSet")["spec"]
    return [
        cluster["headGroupSpec"]["template"],
        cluster["workerGroupSpecs"][0]["template"],
        yard["template"],
    ]


def test_every_field_is_known_and_of_its_kind(documents: list[dict[str, Any]]) -> None:
    assert len(documents) == 6
    assert [fault for document in documents for fault in document_faults(document)] == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("rayVersions", "2.60.0", "RayCluster.spec.rayVersions is not known"),
        ("rayVersion", 2.6, "RayCluster.spec.rayVersion is 2.6, not a str"),
        ("authOptions", {"mode": "open"}, "RayCluster.spec.authOptions.mode is 'open'"),
        ("workerGroupSpecs", {}, "RayCluster.spec.workerGroupSpecs is no list"),
        ("headGroupSpec", {"rayStartParams": {"num-cpus": 0}}, "num-cpus is 0, not a str"),
    ],
)
def test_the_check_can_fail(documents: list[dict[str, Any]], field: str, value: object, words: str) -> None:
    cluster = one(documents, "RayCluster")
    wrong = {**cluster, "spec": {**cluster["spec"], field: value}}
    assert words in "\n".join(document_faults(wrong))


def test_the_parts_fit_each_other(documents: list[dict[str, Any]]) -> None:
    cluster, yard = one(documents, "RayCluster"), one(documents, "StatefulSet")
    assert cluster["spec"]["authOptions"]["mode"] == "token"
    assert f"{cluster['metadata']['name']}-head-svc:6379" == ADDRESS
    (main,) = parse_clusters(one(documents, "ConfigMap")["data"]["ray.toml"], "ray.toml").by_name.values()
    container = yard["spec"]["template"]["spec"]["containers"][0]
    script = container["args"][0]
    assert main.address == ADDRESS
    assert f"--address {ADDRESS}" in script
    assert main.token_file in script
    secrets = [v["valueFrom"]["secretKeyRef"]["name"] for v in container["env"] if "valueFrom" in v]
    assert secrets == [cluster["metadata"]["name"], "yard-database"], "the operator names it as the cluster"
    labels = yard["spec"]["template"]["metadata"]["labels"]
    assert yard["spec"]["selector"]["matchLabels"] == labels == one(documents, "Service")["spec"]["selector"]
    for pod in pods(documents):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())} | {"data"}
        (only,) = pod["spec"]["containers"]
        assert {mount["name"] for mount in only.get("volumeMounts", ())} <= volumes
        assert only["image"].endswith(f":{modelyard.__version__}")
    assert len({d["metadata"]["namespace"] for d in documents}) == 1


def test_model_code_gets_no_key_of_the_cluster(documents: list[dict[str, Any]]) -> None:
    for pod in pods(documents)[1:]:
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["hostUsers"] is False, "SYS_ADMIN is given within a user namespace alone"
    workers = one(documents, "RayCluster")["spec"]["workerGroupSpecs"][0]["template"]["metadata"]["labels"]
    policies = [d["spec"] for d in documents if d["kind"] == "NetworkPolicy"]
    assert {"Ingress"} in [set(p["policyTypes"]) for p in policies]
    assert any(
        p["policyTypes"] == ["Egress"] and p["podSelector"]["matchLabels"] == workers for p in policies
    )


@pytest.mark.ray
def test_ray_has_the_release_that_is_installed(documents: list[dict[str, Any]]) -> None:
    assert one(documents, "RayCluster")["spec"]["rayVersion"] == metadata.version("ray")
