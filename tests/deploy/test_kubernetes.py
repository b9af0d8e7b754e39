"""Kubernetes without a cluster: manifests against schemas, the profile against a scheduler."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from dask_kubernetes.operator.controller import controller
from dask_kubernetes.operator.validation import validate_cluster_name

from latticescape.deploy.clusters.authority import make_certificates
from latticescape.deploy.clusters.certificates import ROLES, Certificates
from latticescape.deploy.clusters.connect import profile_of
from latticescape.deploy.clusters.kubernetes import manifest
from latticescape.deploy.clusters.profiles import Kubernetes, parse_profile
from latticescape.sweeps import Sweep
from tests.support.processes import ROOT, end
from tests.support.runs import SPEC, assert_same_bits

FILES = ROOT / "deploy" / "kubernetes"
CONTAINERFILE = ROOT / "deploy" / "containers" / "Containerfile"
VERSION = "1.31"
CRD = "deployment/helm/dask-kubernetes-operator/crds/daskcluster.yaml"
PLAIN = Kubernetes(image="lab/latticescape:0.1.0", workers=2, cores=3, memory="1.5 GiB")


def shipped() -> Kubernetes:
    profile = profile_of("kubernetes")
    assert isinstance(profile, Kubernetes)
    return profile


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Of a DaskCluster; a field that is not in it is an error."""
    resource = yaml.safe_load((files("dask_kubernetes.operator") / CRD).read_text())
    (version,) = resource["spec"]["versions"]
    assert version["name"] == "v1"
    found: dict[str, Any] = _closed(version["schema"]["openAPIV3Schema"])
    # What every resource has, and no schema of one repeats.
    found["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    return found


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


@pytest.mark.parametrize("profile", [shipped(), PLAIN], ids=["shipped", "plain"])
def test_the_manifest_fits_the_schema_of_the_operator(
    profile: Kubernetes, schema: dict[str, Any]
) -> None:
    found = manifest(profile)
    jsonschema.validate(found, schema)
    validate_cluster_name(found["metadata"]["name"])
    found["spec"]["worker"]["spec"]["containers"][0]["arguments"] = []
    with pytest.raises(jsonschema.ValidationError, match="'arguments' was unexpected"):
        jsonschema.validate(found, schema)


@pytest.mark.parametrize("profile", [shipped(), PLAIN], ids=["shipped", "plain"])
def test_what_the_operator_makes_of_it_is_valid(profile: Kubernetes) -> None:
    for resource in made(profile):
        kubernetes_validate.validate(resource, VERSION, strict=True)


def made(profile: Kubernetes) -> list[dict[str, Any]]:
    """Scheduler, its service, and a worker, as the operator's own functions make them."""
    found, name, namespace = manifest(profile), profile.name, profile.namespace
    scheduler, worker = found["spec"]["scheduler"], found["spec"]["worker"]
    return [
        controller.build_scheduler_deployment_spec(name, scheduler["spec"], {}, {}),
        controller.build_scheduler_service_spec(name, scheduler["service"], {}, {}),
        controller.build_worker_deployment_spec(
            f"{name}-default", namespace, name, "1", worker["spec"], {}, {}
        ),
    ]


def test_the_longest_name_is_one_for_the_operator() -> None:
    validate_cluster_name(53 * "a")
    assert isinstance(
        parse_profile(f'kind = "kubernetes"\nimage = "a"\nname = "{53 * "a"}"'), Kubernetes
    )


def test_each_pod_gets_the_keys_of_its_own_role() -> None:
    for resource, role in zip(made(shipped())[::2], ROLES, strict=False):
        pod = resource["spec"]["template"]["spec"]
        (secret,) = (v["secret"] for v in pod["volumes"] if "secret" in v)
        names = [item["key"] for item in secret["items"]]
        assert names == ["ca.pem", f"{role}.pem", f"{role}-key.pem"]
        assert not secret["defaultMode"] & 0o007
        reported = {e["name"]: e["value"] for e in pod["containers"][0]["env"]}
        shown = Certificates.in_folder(Path("/certificates")).of(role).environment
        assert reported.items() >= shown.items()


def test_the_file_to_copy_is_what_the_command_prints() -> None:
    assert yaml.safe_load((FILES / "cluster.yaml").read_text()) == manifest(shipped())


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FILES / "sweep.yaml").read_text()))


@pytest.mark.parametrize("document", documents(), ids=lambda document: str(document["kind"]))
def test_the_sweep_to_copy_is_valid(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_the_sweep_to_copy_fits_the_cluster() -> None:
    claim, config, job = documents()
    profile, pod = shipped(), job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (container["image"], claim["metadata"]["name"]) == (profile.image, profile.volume_claim)
    assert Sweep.from_toml(config["data"]["ising.toml"]).points == 41 * 21
    shown = Certificates.in_folder(Path("/certificates")).of("client").environment
    reported = {e["name"]: e["value"] for e in container["env"]}
    assert reported.items() <= shown.items()
    assert f"tls://{profile.name}-scheduler:8786" in container["args"]
    workers = manifest(profile)["spec"]["worker"]["spec"]
    assert pod["securityContext"] == workers["securityContext"]
    assert container["securityContext"] == workers["containers"][0]["securityContext"]


def test_the_profile_of_the_page_is_the_one_that_is_shipped() -> None:
    page = (ROOT / "docs" / "howto" / "run-on-kubernetes.md").read_text()
    text = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert text
    assert parse_profile("\n".join(map(str.strip, text[1].splitlines()))) == shipped()


@pytest.mark.slow
def test_the_commands_of_the_manifests_run(tmp_path: Path, calm: Path) -> None:
    """Of scheduler, worker and sweep, as processes of this machine, with paths and ports of it."""
    tls = make_certificates(tmp_path / "tls").authority.parent
    (tmp_path / "ising.toml").write_text(SPEC)
    (tmp_path / "stores").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    here = {
        "/certificates": str(tls),
        "/specs": str(tmp_path),
        "/stores": str(tmp_path / "stores"),
        "latticescape-scheduler:8786": f"127.0.0.1:{port}",
        "8786": port,
        "127.0.0.1:8787": "127.0.0.1:0",
    }
    scheduler, _, worker = made(shipped())
    with ExitStack() as stack:
        for resource in (scheduler, worker):
            pod = resource["spec"]["template"]["spec"]
            stack.enter_context(process(pod, here))
        (job,) = (d for d in documents() if d["kind"] == "Job")
        sweep = stack.enter_context(process(job["spec"]["template"]["spec"], here))
        assert sweep.wait(90) == 0
    assert_same_bits(calm, tmp_path / "stores" / "ising.zarr")


@contextmanager
def process(pod: dict[str, Any], here: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The container of a pod, as a process."""

    def changed(text: str) -> str:
        for there, place in here.items():
            text = text.replace(there, place)
        return text

    (container,) = pod["containers"]
    variables = {e["name"]: changed(e["value"]) for e in container["env"]}
    arguments = [
        changed(re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], argument))
        for argument in container["args"]
    ]
    program = shutil.which(arguments[0], path=str(Path(sys.executable).parent))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with subprocess.Popen(
        [str(program), *arguments[1:]],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        try:
            yield running
        finally:
            end(running)


def test_the_container_file_passes_its_linter() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter is not None
    done = subprocess.run([linter, str(CONTAINERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_container_holds_all_that_the_wheel_is_made_of() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--)(.*)$", CONTAINERFILE.read_text(), re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert all((ROOT / source).exists() for source in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], *wheel["force-include"], *project["project"]["license-files"]]
    assert {*needed, project["project"]["readme"], "pyproject.toml"} <= set(copied)
