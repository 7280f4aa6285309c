"""What runs inside a container process: Modal's own runtime. Run by path; it dies with the process that started it."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def die_with_the_stack() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns only when the other end is closed
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=die_with_the_stack, daemon=True).start()
    runpy.run_module("modal._container_entrypoint", run_name="__main__", alter_sys=True)
