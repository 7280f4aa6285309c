"""`make deploy-gpu`: gpu_app.py to Modal, with your own token; checked before and, by a real picture, after.

Before: the client is the pinned one, since the service's dispatcher and the container runtime speak its protocol, and
Modal knows the token. After: the deployed class enlarges the bundled sample, which costs a cold start and a second.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import modal
from modal import exception as modal_errors
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
APP, CLASS = "tessera", "Upscaler"  # as tessera.modal_dispatch calls it
SAMPLE = ROOT / "infra/local/sample/lighthouse.jpg"
MODEL, SCALE = "realesrgan-x4plus", 4


class NotReady(Exception):
    """Says what to do."""


def check_before() -> None:
    pinned = (ROOT / "layers/modal/requirements.txt").read_text().strip()
    if pinned != f"modal=={version('modal')}":
        raise NotReady(f"this environment has modal {version('modal')}, the service is deployed with {pinned}")
    try:
        modal.Client.from_env().hello()
    except modal_errors.AuthError as error:
        raise NotReady(f"{error} (modal token new)") from error


def deploy() -> None:
    subprocess.run([sys.executable, "-m", "modal", "deploy", str(ROOT / "gpu_app.py")], cwd=ROOT, check=True)


def check_after() -> float:
    """Seconds that the sample took, a cold start included."""
    began = time.monotonic()
    source = SAMPLE.read_bytes()
    enlarged = modal.Cls.from_name(APP, CLASS)().enlarge.remote(source, MODEL, SCALE)
    width, height = Image.open(io.BytesIO(source)).size
    made = Image.open(io.BytesIO(enlarged)).size
    if made != (width * SCALE, height * SCALE):
        raise NotReady(f"the sample became {made[0]} x {made[1]} pixels; do not switch the stack to Modal")
    return time.monotonic() - began


def main() -> int:
    try:
        check_before()
        deploy()
        seconds = check_after()
    except NotReady as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode
    print(f"{APP} is deployed; the sample took {seconds:.1f} s, a cold start included")
    return 0


if __name__ == "__main__":
    sys.exit(main())
