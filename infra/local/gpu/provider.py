"""`Provider`: Modal on this machine, for tests and for `make demo WORKER=modal`.

Real are gpu_app.py, `modal deploy`, the client in dispatch and watchdog, and the container runtime that runs
`Upscaler.run` in a process of its own. The control plane between them is the stand-in of `control`. There is no GPU
and no image: containers run in this interpreter, with the default network on the CPU.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from modal_proto import api_pb2

from .control import TOKEN_ID, TOKEN_SECRET, ControlPlane

ROOT = Path(__file__).resolve().parents[3]
APP = ROOT / "gpu_app.py"
RUNTIME = Path(__file__).with_name("container.py")
MOST_CONTAINERS = 2
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")


class DeployFailed(Exception):
    """Holds what `modal deploy` said."""


class Provider:
    """A context manager. `folder` gets a log for each container, `variables` are added to their environment."""

    def __init__(self, folder: Path | None = None, variables: dict[str, str] | None = None) -> None:
        self._wished_folder = folder
        self._variables = variables or {}
        self.plane = ControlPlane()
        self._cleanup = ExitStack()
        self._lock = threading.Lock()
        self._containers: dict[str, subprocess.Popen[bytes]] = {}
        self._wishes: queue.Queue[str | None] = queue.Queue()
        self._closed = False

    def __enter__(self) -> Self:
        self.folder = self._wished_folder or Path(self._cleanup.enter_context(tempfile.TemporaryDirectory()))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._cleanup.enter_context(self.plane)
        self.plane.wanted, self.plane.terminate = self._wishes.put, self._kill
        starter = threading.Thread(target=self._start_what_is_wanted, daemon=True)
        starter.start()
        self._cleanup.callback(starter.join)
        self._cleanup.callback(self._wishes.put, None)
        self._cleanup.callback(self.kill)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._cleanup.close()

    @property
    def environment(self) -> dict[str, str]:
        """For those functions of a stack that talk to Modal."""
        return self.plane.environment

    def deploy(self) -> str:
        """`modal deploy gpu_app.py`; what it printed. Raises DeployFailed."""
        token = {"MODAL_TOKEN_ID": TOKEN_ID, "MODAL_TOKEN_SECRET": TOKEN_SECRET}
        done = subprocess.run(
            [sys.executable, "-m", "modal", "deploy", str(APP)],
            env=_inherited() | self.plane.environment | token,
            cwd=ROOT,
            capture_output=True,
            check=False,
            text=True,
        )
        if done.returncode != 0:
            raise DeployFailed(done.stdout + done.stderr)
        return done.stdout

    def keep_token(self, secrets: Any, name: str = "tessera/modal") -> None:
        """What an operator does once (infra/modal.md)."""
        token = json.dumps({"token_id": TOKEN_ID, "token_secret": TOKEN_SECRET})
        secrets.create_secret(Name=name, SecretString=token)

    def running(self) -> list[str]:
        """The containers that have an input."""
        return [call.task for call in self.plane.calls.values() if call.task and call.output is None]

    def kill(self) -> int:
        """SIGKILL to every container, as an out-of-memory would; how many there were."""
        with self._lock:
            alive = list(self._containers)
        for task in alive:
            self._kill(task)
        return len(alive)

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("ta-*.log")))

    # ------------------------------------------------------------------ containers

    def _start_what_is_wanted(self) -> None:
        while (function_id := self._wishes.get()) is not None:
            with self._lock:
                enough = self._closed or len(self._containers) >= MOST_CONTAINERS
            if not enough:
                self._start(function_id)

    def _start(self, function_id: str) -> None:
        task = self.plane.new_id("ta")
        arguments = self.folder / f"{task}.args"
        arguments.write_bytes(self._arguments(task, function_id).SerializeToString())
        variables = {
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            "MODAL_IS_REMOTE": "1",
            "MODAL_SERVER_URL": self.plane.door(task),
            "MODAL_TASK_ID": task,
            "PYTHONPATH": os.pathsep.join(
                str(ROOT / path) for path in (".", "layers/core/python", "layers/engine/python")
            ),
            "PYTHONUNBUFFERED": "1",
            "TESSERA_MODELS": os.devnull,
            "TESSERA_STAND_IN": "allow",
            "NO_PROXY": "127.0.0.1",
        }
        with (self.folder / f"{task}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", str(RUNTIME)],
                env=_inherited() | variables | self._variables,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with self._lock:
            self._containers[task] = process
        threading.Thread(target=self._watch, args=(task, process), daemon=True).start()

    def _watch(self, task: str, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
        with self._lock:
            self._containers.pop(task)
        if not self._closed:
            self.plane.container_died(task)

    def _kill(self, task: str) -> None:
        with self._lock:
            process = self._containers.get(task)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def _arguments(self, task: str, function_id: str) -> api_pb2.ContainerArguments:
        """What a container is told when it starts: its function as the deploy created it, but without snapshots."""
        deployed = self.plane.deployed
        definition = api_pb2.Function()
        definition.CopyFrom(deployed.functions[function_id].function_data.ranked_functions[0].function)
        definition.checkpointing_enabled = False
        layout = api_pb2.AppLayout(function_ids=deployed.function_ids, class_ids=deployed.classes)
        metadata = api_pb2.FunctionHandleMetadata(function_name=definition.function_name, is_method=False)
        layout.objects.add(object_id=function_id, function_handle_metadata=metadata)
        for needed in definition.object_dependencies:
            layout.objects.add(object_id=needed.object_id)
        for class_id in deployed.classes.values():
            layout.objects.add(object_id=class_id, class_handle_metadata=api_pb2.ClassHandleMetadata())
        return api_pb2.ContainerArguments(
            task_id=task, function_id=function_id, app_id=deployed.app_id, function_def=definition, app_layout=layout
        )


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ}
