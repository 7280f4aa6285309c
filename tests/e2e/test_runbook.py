"""The runbook's commands, as they stand in docs/operations.md, against the one-machine stack."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.local.stack import Stack
from tests.e2e.conftest import Session, picture
from tests.world import ROOT

BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/operations.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def served(stack: Stack, http: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder that looks like the repository's root while `make serve API_KEY=test` runs, and a task."""
    session = Session(http, stack.api_url, stack.api_key)
    task = session.start(session.upload(picture()))
    session.ended(task)
    root = tmp_path_factory.mktemp("root")
    (root / ".venv").symlink_to(sys.prefix)
    (root / "infra").symlink_to(ROOT / "infra")
    (root / "layers").symlink_to(ROOT / "layers")
    (root / "var").symlink_to(stack.logs.parent)
    yield root, task


def test_there_are_commands_to_run() -> None:
    said = " ".join(BLOCKS)
    assert all(f"--local var {command}" in said for command in ("create", "grant", "revoke", "spend", "cap", "audit"))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("--local var ")[1].split()[0])
def test_the_runbooks_commands_run(served: tuple[Path, str], block: str) -> None:
    root, task = served
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=root,
        env={"PATH": "/usr/bin:/bin", "TASK": task},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    if " show " in block:
        assert "file done" in ran.stdout
    if " audit" in block:
        assert ran.stdout.endswith(" 0 wrong\n")
