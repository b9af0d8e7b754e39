"""The manifest of a DaskCluster, for the Dask operator for Kubernetes."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from dask.utils import parse_bytes

from latticescape.deploy.clusters.certificates import AUTHORITY, Certificates, Role
from latticescape.deploy.clusters.profiles import (
    ALLOWED_FAILURES,
    DEATH_SECONDS,
    WORKER_TTL_SECONDS,
    Kubernetes,
)

CERTIFICATES = Path("/certificates")
SCRATCH = "/tmp"
PORT, DASHBOARD_PORT = 8786, 8787

# The user of the processes in a pod, unknown to the node.
USER = 1000

_HEALTH = (
    "from urllib.request import urlopen; "
    f"urlopen('http://127.0.0.1:{DASHBOARD_PORT}/health', timeout=5)"
)


def manifest(profile: Kubernetes) -> dict[str, Any]:
    """The DaskCluster resource of a profile, for ``kubectl apply``.

    Examples
    --------
    >>> manifest(Kubernetes(image="latticescape:0.1", workers=8))["spec"]["worker"]["replicas"]
    8
    """
    service = {
        "type": "ClusterIP",
        "selector": {
            "dask.org/cluster-name": profile.name,
            "dask.org/component": "scheduler",
        },
        "ports": [
            {"name": "tcp-comm", "protocol": "TCP", "port": PORT, "targetPort": "tcp-comm"},
        ],
    }
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": profile.name, "namespace": profile.namespace},
        "spec": {
            "worker": {"replicas": profile.workers, "spec": _pod(profile, _worker(profile))},
            "scheduler": {"spec": _pod(profile, _scheduler(profile)), "service": service},
        },
    }


def manifest_text(profile: Kubernetes) -> str:
    """The DaskCluster resource as YAML."""
    return str(yaml.safe_dump(manifest(profile), sort_keys=False, width=100))


def _scheduler(profile: Kubernetes) -> dict[str, Any]:
    # The dashboard has no password: kubectl port-forward reaches it, and other pods cannot.
    dashboard = f"127.0.0.1:{DASHBOARD_PORT}"
    return {
        **_container(profile, "scheduler", ["--port", str(PORT), "--dashboard-address", dashboard]),
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
        "ports": [{"name": "tcp-comm", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "exec": {"command": ["python", "-I", "-c", _HEALTH]},
            "initialDelaySeconds": 5,
            "periodSeconds": 20,
            "timeoutSeconds": 10,
        },
    }


def _worker(profile: Kubernetes) -> dict[str, Any]:
    scheme = "tls" if profile.tls_secret else "tcp"
    arguments = [
        f"{scheme}://{profile.name}-scheduler:{PORT}",
        *("--name", "$(DASK_WORKER_NAME)"),
        *("--nthreads", str(profile.cores), "--memory-limit", profile.memory.replace(" ", "")),
        *("--death-timeout", str(DEATH_SECONDS), "--dashboard-address", "127.0.0.1:0"),
        *("--local-directory", SCRATCH),
    ]
    amount = f"{math.ceil(parse_bytes(profile.memory) / 2**20)}Mi"
    resources = {"cpu": str(profile.cores), "memory": amount}
    return {
        **_container(profile, "worker", arguments),
        "resources": {"requests": dict(resources), "limits": dict(resources)},
    }


def _container(profile: Kubernetes, role: Role, arguments: list[str]) -> dict[str, Any]:
    settings = {
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(ALLOWED_FAILURES),
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{WORKER_TTL_SECONDS}s",
    }
    if profile.tls_secret:
        settings |= Certificates.in_folder(CERTIFICATES).of(role).environment
    return {
        "name": role,
        "image": profile.image,
        "args": ["dask", role, *arguments],
        "env": [{"name": name, "value": value} for name, value in settings.items()],
        "volumeMounts": [mount for mount, _ in _volumes(profile, role)],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _volumes(profile: Kubernetes, role: Role) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each volume of a pod: its mount, and the volume itself."""
    yield {"name": "scratch", "mountPath": SCRATCH}, {"name": "scratch", "emptyDir": {}}
    if profile.tls_secret:
        files = [AUTHORITY, f"{role}.pem", f"{role}-key.pem"]
        # Only the pod's own group can read the key.
        secret = {
            "secretName": profile.tls_secret,
            "defaultMode": 0o440,
            "items": [{"key": name, "path": name} for name in files],
        }
        mount = {"name": "certificates", "mountPath": str(CERTIFICATES), "readOnly": True}
        yield mount, {"name": "certificates", "secret": secret}
    if profile.volume_claim and role == "worker":
        claim = {"claimName": profile.volume_claim}
        mount = {"name": "stores", "mountPath": profile.mount}
        yield mount, {"name": "stores", "persistentVolumeClaim": claim}


def _pod(profile: Kubernetes, container: dict[str, Any]) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [volume for _, volume in _volumes(profile, container["name"])],
    }
