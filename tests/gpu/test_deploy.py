"""What `modal deploy gpu_app.py` creates, and that it is what gpu_app.py says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from modal_proto import api_pb2
from tessera import modal_dispatch
from tessera_engine import catalogue, pull

import gpu_app
from infra.local.gpu.control import TOKEN_ID, TOKEN_SECRET
from infra.local.gpu.definitions import Deployed
from infra.local.gpu.provider import Provider
from tests.world import ROOT

BUILDS_IMAGE = "pull_weights"


def machines(deployed: Deployed) -> list[api_pb2.Function]:
    """The definition of Upscaler for each GPU, in the order in which they are tried."""
    request = deployed.functions[deployed.function_ids[f"{modal_dispatch.CLASS}.*"]]
    return [ranked.function for ranked in request.function_data.ranked_functions]


def test_the_app_is_the_one_that_the_dispatcher_calls(deployed: Deployed) -> None:
    assert deployed.name == modal_dispatch.APP
    assert list(deployed.classes) == [modal_dispatch.CLASS]
    assert "run" in machines(deployed)[0].method_definitions


def test_each_gpu_has_the_same_bounds(deployed: Deployed) -> None:
    assert [machine.resources.gpu_config.gpu_type for machine in machines(deployed)] == ["L4", "A10"]
    for machine in machines(deployed):
        assert (machine.timeout_secs, machine.startup_timeout_secs) == (600, 300)
        assert machine.autoscaler_settings.scaledown_window == 15
        assert machine.autoscaler_settings.max_containers == 10
        assert machine.autoscaler_settings.min_containers == 0
        assert machine.retry_policy.retries == 1
        assert machine.checkpointing_enabled
        assert machine.target_concurrent_inputs == 0
        assert machine.scheduler_placement.regions == []


def test_a_container_can_reach_nothing_of_modal_and_has_no_secret(deployed: Deployed) -> None:
    assert deployed.secrets == []
    for machine in machines(deployed):
        assert machine.untrusted  # restrict_modal_access
        assert list(machine.secret_ids) == []
        assert list(machine.volume_mounts) == []
        assert api_pb2.DATA_FORMAT_CBOR in machine.method_definitions["run"].supported_input_formats


def test_packages_are_pinned_and_those_that_the_engine_is_tested_with(deployed: Deployed) -> None:
    groups: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    pinned = [*groups["engine"], *(name for name in groups["torch"] if isinstance(name, str))]
    assert sorted(gpu_app.PACKAGES) == sorted(name for name in pinned if not name.startswith("pytest"))
    lines = [line for image in deployed.images for line in image.image.dockerfile_commands]
    (install,) = (line for line in lines if "pip install --python" in line)
    for package in gpu_app.PACKAGES:
        assert package in install
    assert re.search(r"FROM python:3\.11", "\n".join(lines))


def test_the_weights_are_fetched_while_the_image_is_built(deployed: Deployed) -> None:
    (builder,) = (made.function for made in deployed.functions.values() if made.function.is_builder_function)
    assert builder.function_name == BUILDS_IMAGE
    assert builder.resources.gpu_config.gpu_type == ""
    lines = [line for image in deployed.images for line in image.image.dockerfile_commands]
    assert "ENV TESSERA_STAND_IN=refuse" in lines
    assert f"ENV TESSERA_MODELS={gpu_app.MODELS}" in lines
    assert "ENV TESSERA_FACES=none" in lines  # its licence is for the operator to judge


def test_only_what_a_worker_needs_is_uploaded_and_all_of_it(deployed: Deployed) -> None:
    sent = {file.filename for mount in deployed.mounts for file in mount.files}
    shared = {name.removeprefix("/root/tessera/") for name in sent if name.startswith("/root/tessera/")}
    assert shared == {"__init__.py", "job.py", "logs.py", "recipe.py", "redaction.py", "sizes.py"}
    source = ROOT / "layers/engine/python"
    files = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {f"/root/{path.relative_to(source)}" for path in files} - sent == set()
    assert not any(name.endswith(".pyc") for name in sent)


def test_a_wrong_byte_stops_the_image_s_build(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Puller(pull.Puller):
        def _chunks(self, file: catalogue.File) -> Any:
            asked.append(file.path)
            yield bytes(file.size)

    monkeypatch.setattr(gpu_app, "MODELS", str(tmp_path))
    monkeypatch.setattr(pull, "Puller", Puller)
    with pytest.raises(pull.PullFailed, match="not those that the catalogue lists"):
        gpu_app.pull_weights()
    assert asked == [next(iter(catalogue.FILES.values())).path]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("faces", "more"), [("none", set()), ("installed", set(catalogue.FACES))])
def test_what_restores_faces_is_fetched_where_the_operator_says_so(
    faces: str, more: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(gpu_app, "FACES", faces)
    monkeypatch.setattr(pull.Puller, "pull", lambda _, file: asked.append(file.name))
    gpu_app.pull_weights()
    assert set(asked) == set(catalogue.FILES) | more


@pytest.fixture
def modal_here(tmp_path: Path) -> Iterator[Provider]:
    with Provider(tmp_path) as provider:
        yield provider


def make_deploy_gpu(provider: Provider) -> subprocess.CompletedProcess[str]:
    """With a token in the environment, as `modal token set` leaves it in a file."""
    token = {"MODAL_TOKEN_ID": TOKEN_ID, "MODAL_TOKEN_SECRET": TOKEN_SECRET}
    environment = {**os.environ, **provider.environment, **token}
    command = [sys.executable, "-m", "infra.deploy_gpu"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_make_deploy_gpu_ends_with_a_picture(modal_here: Provider) -> None:
    done = make_deploy_gpu(modal_here)
    assert done.returncode == 0, done.stderr + modal_here.logs()
    assert "tessera is deployed; the sample took" in done.stdout
    assert modal_here.plane.requests["AppPublish"]


def test_make_deploy_gpu_deploys_nothing_with_a_bad_token(modal_here: Provider) -> None:
    modal_here.plane.tokens.clear()
    done = make_deploy_gpu(modal_here)
    assert done.returncode == 1
    assert "modal token new" in done.stderr
    assert "AppCreate" not in modal_here.plane.requests
