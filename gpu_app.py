"""The GPU side, on Modal: `modal deploy gpu_app.py` (infra/modal.md), or `modal run gpu_app.py --image photo.jpg`.

It has no credential of any kind: a job carries links that are good for its own objects. The work is in tessera_engine.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import modal

SECONDS, MINUTES = 1, 60
HERE = Path(__file__).parent
MODELS = "/models"
STAND_IN: Any = os.environ.get("TESSERA_STAND_IN", "refuse")  # allow: for a machine without the networks
FACES = os.environ.get("TESSERA_FACES", "none")  # installed: what restores faces too; infra/modal.md has its licence
PACKAGES = (  # the groups `engine` and `torch` of pyproject.toml; a unit test keeps them equal
    "isal==1.9.1",
    "numpy==2.4.6",
    "onnxruntime==1.31.1",
    "pillow==13.0.0",
    "pydantic==2.13.5",
    "simplejpeg==1.9.0",
    "urllib3==2.8.0",
    "zlib-ng==1.1.0",
    "safetensors==0.8.0",
    "spandrel==0.4.2",
    "torch==2.13.0",
)
PULLING = ("__init__.py", "catalogue.py", "pull.py")  # of the engine: what fetching weights needs
# Of the service: what a worker knows.
SHARED = ("__init__.py", "job.py", "logs.py", "recipe.py", "redaction.py", "sizes.py")


def all_but(*names: str) -> Any:
    return lambda path: path.name not in names


def pull_weights() -> None:
    """Runs while the image is built, which stops where a file's size or SHA-256 is not the pinned one."""
    from tessera_engine import catalogue, pull

    faces = catalogue.FACES.values() if FACES == "installed" else ()
    for file in (*catalogue.FILES.values(), *faces):
        pull.Puller(Path(MODELS)).pull(file)


app = modal.App("tessera")
engine, core = HERE / "layers/engine/python/tessera_engine", HERE / "layers/core/python/tessera"
image = (
    modal.Image.debian_slim("3.11")
    .uv_pip_install(*PACKAGES)
    .add_local_dir(engine, "/root/tessera_engine", copy=True, ignore=all_but(*PULLING))
    .env({"TESSERA_FACES": FACES})  # it says which weights
    .run_function(pull_weights)  # before the engine's code, which changes more often than the weights
    .env({"TESSERA_MODELS": MODELS, "TESSERA_STAND_IN": "refuse"})
    .add_local_dir(core, "/root/tessera", ignore=all_but(*SHARED))
    .add_local_dir(engine, "/root/tessera_engine", ignore=["**/__pycache__/**"])
)


@app.cls(
    image=image,
    gpu=["L4", "A10"],  # the cheapest that hold every network; the second where the first is not to be had
    timeout=10 * MINUTES,  # the largest picture that is accepted takes a fraction of it
    startup_timeout=5 * MINUTES,
    scaledown_window=15 * SECONDS,  # at low load waiting is most of what is paid for
    max_containers=10,  # bounds what an hour can cost
    retries=modal.Retries(max_retries=1, initial_delay=1.0),  # a crash or lost storage; attempts are counted in AWS
    enable_memory_snapshot=True,  # imports and checked weights come back in about a second
    restrict_modal_access=True,  # pictures of strangers are decoded here
)
class Upscaler:
    @modal.enter(snap=True)
    def load(self) -> None:
        """On the CPU, into the snapshot: no look for a GPU yet, its absence would be kept. A wrong byte is the end."""
        from tessera_engine import catalogue, models

        if STAND_IN == "refuse":
            for file in catalogue.FILES.values():
                models.checked(file)
            for file in catalogue.FACES.values() if FACES == "installed" else ():
                catalogue.read(file)
            importlib.import_module("tessera_engine.backends.torch")

    @modal.enter(snap=False)
    def to_gpu(self) -> None:
        from tessera import logs
        from tessera_engine import models

        logs.to_stdout()
        models.network(models.choose("realesrgan-x4plus", 4, "allow").passes[0])

    @modal.method()
    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """A job as `tessera.job.Job.packed` gives it; its Outcome. Links are in no message and in no log."""
        from tessera.job import Job
        from tessera_engine import worker

        outcome = worker.run(Job.unpacked(job["packed"]), stand_in=STAND_IN)
        return outcome.model_dump(mode="json", exclude_none=True)

    @modal.method()
    def enlarge(self, picture: bytes, model: str, scale: int) -> bytes:
        """A PNG, without the service."""
        from tessera.job import Limits
        from tessera.recipe import Encode, Recipe, Upscale
        from tessera_engine import pipeline

        upscale = Upscale.model_validate({"model": model, "scale": scale})
        recipe = Recipe(operations=(upscale, Encode(format="png")))
        limits = Limits(max_input_pixels=64_000_000, max_output_pixels=144_000_000)
        return pipeline.carry_out(recipe, picture, limits, stand_in=STAND_IN, listener=lambda done: None).encoded


@app.local_entrypoint()
def main(image: str, out: str = "", model: str = "realesrgan-x4plus", scale: int = 4) -> None:
    source = Path(image)
    target = Path(out or f"{source.stem}-{scale}x.png")
    target.write_bytes(Upscaler().enlarge.remote(source.read_bytes(), model, scale))
    print(target)
