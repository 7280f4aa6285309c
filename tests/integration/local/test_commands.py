"""`python -m infra.local`, as its user sees it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import demo
from infra.local.stack import Hop

ROOT = Path(__file__).resolve().parents[3]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "infra.local", *arguments]


def test_serve_prints_what_one_needs_and_ends_in_order(tmp_path: Path) -> None:
    arguments = ("serve", "--port", "0", "--state", str(tmp_path / "var"), "--param", "LeaseSeconds=30")
    keys = []
    for end in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            printed = "".join(iter(process.stdout.readline, "Try it:\n")) + process.stdout.readline()
            process.send_signal(end)
            process.stdout.read()
            assert process.wait(20) == 0
        assert re.search(r"API +http://127\.0\.0\.1:\d+\n", printed)
        keys.append(re.findall(r"Key +(\S+)\n", printed))
        assert f"X-API-Key: {keys[-1][0]}" in printed
    assert keys[0] == keys[1]


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("serve", "--port", port, "--state", str(tmp_path)),
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == f"error: port {port} is in use: choose another with --port\n"


@pytest.mark.parametrize(
    ("parameter", "message"),
    [("Worker=gpu9", "error: Worker must be one of"), ("Nothing=1", "error: no such parameter: Nothing\n")],
)
def test_a_wrong_parameter_is_one_line(tmp_path: Path, parameter: str, message: str) -> None:
    arguments = command("serve", "--port", "0", "--state", str(tmp_path), "--param", parameter)
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False, env={**os.environ})
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_the_timeline_counts_what_repeats() -> None:
    hops = [
        Hop(1010, "http POST /start-task -> 200 9 ms"),
        Hop(1020, "http POST /get-task-status -> 200 5 ms"),
        Hop(1030, "http POST /get-task-status -> 200 6 ms"),
        Hop(1040, "s3 PUT results/a 1,024 B -> 200"),
    ]
    assert demo.timeline(hops, 1000).splitlines() == [
        "      10 ms  http POST /start-task -> 200 9 ms",
        "      20 ms  http POST /get-task-status -> 200 5 ms  (x 2)",
        "      40 ms  s3 PUT results/a 1,024 B -> 200",
    ]
