"""`demo`: one picture through the whole service on this machine, and the timeline of what happened to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from .gpu import provider_for
from .stack import Hop, Stack

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).with_name("sample") / "lighthouse.jpg"
SCALE = 4
LONG_ID = re.compile(r"[0-9a-f]{12,}")


def demo(image: Path, parameters: Mapping[str, str], *, folder: Path = ROOT / "var" / "demo") -> int:
    """0, or the client's exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"{image.stem}-{SCALE}x.png"  # as the client names it
    result.unlink(missing_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="state-", dir=folder) as state,
        provider_for(parameters, folder / "containers") as provider,
        Stack(
            state_dir=Path(state), parameters=parameters, variables=provider.environment if provider else None
        ) as stack,
    ):
        if provider:
            provider.keep_token(stack.client("secretsmanager"))
        print(f"The service runs at {stack.api_url}, storage at {stack.storage_url}.\n", flush=True)
        started = time.time() * 1000
        code = _client(stack, image, folder)
        ended = time.time() * 1000
        hops = [hop for hop in stack.hops() if started <= hop.at_ms <= ended]
        if code != 0:
            _show_logs(stack.logs)
    print("\n" + timeline(hops, started))
    if code != 0:
        print(f"\nThe client ended with {code}.", file=sys.stderr)
        return code
    width, height = _png_size(result)
    print(f"\n{image.name} -> {result} ({width} x {height} px, {result.stat().st_size:,} bytes)")
    print(f"in {(ended - started) / 1000:.1f} s, the client's start included")
    return 0


def timeline(hops: list[Hop], started: float) -> str:
    """A line for each hop, with the time at which it ended; those that repeat at once are counted, not repeated."""
    lines: list[tuple[float, str, int]] = []
    for hop in hops:
        short = LONG_ID.sub(lambda found: f"{found[0][:6]}..", hop.what).replace(" tessera-", " ")
        if lines and _kind(lines[-1][1]) == _kind(short):
            at, what, count = lines[-1]
            lines[-1] = (at, what, count + 1)
        else:
            lines.append((hop.at_ms - started, short, 1))
    return "\n".join(f"{at:8,.0f} ms  {what}{f'  (x {count})' if count > 1 else ''}" for at, what, count in lines)


def _kind(what: str) -> str:
    """The hop without its measured part."""
    return " ".join(word for word in what.split() if not word.replace(",", "").isdigit())


def _client(stack: Stack, image: Path, folder: Path) -> int:
    """The command that anyone would type, on this terminal."""
    command = [sys.executable, "-m", "tessera_client", "upscale", str(image), "--scale", str(SCALE)]
    command += ["--format", "png", "--out", str(folder), "--overwrite", "--url", stack.api_url]
    path = os.pathsep.join([str(ROOT / "client"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path, "NO_PROXY": "127.0.0.1", "TESSERA_KEY": stack.api_key}
    return subprocess.run(command, env=environment, check=False).returncode


def _png_size(path: Path) -> tuple[int, int]:
    header = path.read_bytes()[:24]
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def _show_logs(folder: Path, lines: int = 20) -> None:
    for log in sorted(folder.glob("*.log")):
        text = log.read_text(errors="replace").splitlines()[-lines:]
        print(f"\n--- {log.name}", *text, sep="\n", file=sys.stderr)
