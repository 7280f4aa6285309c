"""Train the default network: `python -m training.train --scale 4 --data ../shared/data --run training/runs/x4`.

A run is resumed from its last checkpoint by giving the same command again; with another --steps it ends sooner or
later, which the card of the weights tells. The result depends on the seed, the pictures and the number of steps; not
bit for bit, because sums of several threads have no fixed order.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.psnr import psnr
from training.muon import Muon
from training.network import M6C48, RADIUS
from training.pictures import Batches, Pair, Pixels, Wear, load, sources, worn
from training.wear import photo

MUON_RATE, ADAM_RATE, WARM_UP = 6e-3, 5e-4, 100  # peaks, for kernels and for biases; the steps until them
EMA_DECAY = 0.995
REDUCTIONS = (1, 1.5, 2, 3)  # of every training picture
LUMA_SHARES = (0.299, 0.587, 0.114)  # ITU-R BT.601
VARIANTS = 6  # worn small pictures of every picture and reduction
KEEP_EVERY = 500  # steps between checkpoints
SCORE_EVERY = 2_000  # steps between validations
VALIDATION = tuple(f"kodim{number:02}.png" for number in (1, 5, 8, 13, 19, 23))  # of Kodak: fine, flat and portrait

# How the small pictures are made that a set of weights learns from; None: reduced by bicubic filtering, nothing else.
SETS: dict[str, Wear | None] = {"fidelity": None, "photo": photo}


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a run will make."""

    scale: int
    steps: int
    batch: int = 16
    patch: int = 64  # with the margin of RADIUS on each side, which is read but not made
    seed: int = 2026
    licence_class: str = "A"
    start_from: str | None = None
    set: str = "fidelity"
    loss: str = "l1"


def l1(error: Tensor) -> Tensor:
    """Gradient of the mean absolute error, times the number of values."""
    return error.sign()


def luma(error: Tensor) -> Tensor:
    """Gradient of the squared error of the luma, with a tenth of the colours' own: what Y PSNR is made of.

    (N, 3 * scale^2, h, w), colour-major.
    """
    planes = error.unflatten(1, (3, -1))
    weights = torch.tensor(LUMA_SHARES).view(1, 3, 1, 1, 1)
    return (weights * (weights * planes).sum(1, keepdim=True) + 0.1 * planes).flatten(1, 2)


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"l1": l1, "luma": luma}


def rate(step: int, steps: int) -> float:
    """The part of the peak rate: a linear warm-up, then half a cosine to 0 after the last step."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP))) / 2


def wanted(low: Pixels, high: Pixels, scale: int) -> Tensor:
    """What has to be added to the repeated middle of `low`: (N, 3 * scale^2, h, w), in memory as channels_last."""
    border = RADIUS * scale
    inner = high[:, border:-border, border:-border]
    count, height, width = inner.shape[0], inner.shape[1] // scale, inner.shape[2] // scale
    places = inner.reshape(count, height, scale, width, scale, 3).transpose(0, 1, 3, 5, 2, 4)
    planes = torch.from_numpy(np.ascontiguousarray(places)).flatten(4).float()
    middle = torch.from_numpy(np.ascontiguousarray(low[:, RADIUS:-RADIUS, RADIUS:-RADIUS])).float()
    return (planes - middle[..., None]).div_(255).flatten(3).permute(0, 3, 1, 2)


def tensor(pixels: Pixels) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in 0..1, in memory as channels_last."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(255)


def enlarge(network: M6C48, low: Pixels) -> Pixels:
    """(h, w, 3) uint8 to (h * scale, w * scale, 3) uint8, in float32."""
    padded = np.pad(low, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), "reflect")
    with torch.no_grad():
        high = network(tensor(padded[None]).contiguous(memory_format=torch.channels_last))
    pixels: Pixels = high[0].permute(1, 2, 0).clamp(0, 1).mul(255).round().byte().numpy()
    return pixels


def score(network: M6C48, pairs: list[Pair]) -> float:
    """Mean Y PSNR in dB."""
    return float(np.mean([psnr(enlarge(network, pair.low), pair.high, network.scale) for pair in pairs]))


class Run:
    """A network being trained: its weights, their moving average, Adam's state and the number of steps done."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.folder, self.step, self.seconds = plan, folder, 0, 0.0
        self.network = M6C48(plan.scale)
        if plan.start_from:
            self._start_from(Path(plan.start_from))
        self.average = M6C48(plan.scale)
        self.average.load_state_dict(self.network.state_dict())
        self.network = self.network.to(memory_format=torch.channels_last)
        kernels = [value for value in self.network.parameters() if value.ndim == 4]
        biases = [value for value in self.network.parameters() if value.ndim == 1]
        self.optimisers = {  # each with its peak rate
            "muon": (Muon(kernels, MUON_RATE), MUON_RATE),
            "adam": (torch.optim.Adam(biases, lr=ADAM_RATE, betas=(0.9, 0.99)), ADAM_RATE),
        }
        self.cosines = [(0, plan.steps)]  # from which step on the rate fell towards which last step
        if self.checkpoint.exists():
            self._load()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _start_from(self, checkpoint: Path) -> None:
        """Start from another run's weights, as far as their shapes are the same: the tail differs between scales."""
        own, state = self.network.state_dict(), torch.load(checkpoint, weights_only=True)["average"]
        self.network.load_state_dict({k: v for k, v in state.items() if v.shape == own[k].shape}, strict=False)

    def _load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for name, (optimiser, _) in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.step, self.seconds, self.cosines = state["step"], state["seconds"], state["cosines"]
        if self.cosines[-1][1] != self.plan.steps:
            self.cosines.append((self.step, self.plan.steps))

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "plan": asdict(self.plan),
            "step": self.step,
            "seconds": self.seconds,
            "cosines": self.cosines,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, (optimiser, _) in self.optimisers.items()},
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)  # a run killed while saving keeps the checkpoint before

    def learn(self, low: Pixels, high: Pixels) -> float:
        """One step; returns its mean absolute error (0..1), whatever the loss."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            added = self.network.residual(tensor(low))
        with torch.no_grad():  # the gradient by hand: autograd would pass five times over these large planes
            error = added.float() - wanted(low, high, self.plan.scale)
            slope = LOSSES[self.plan.loss](error).div_(error.numel()).to(added.dtype)
        added.backward(slope)
        for optimiser, peak in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = peak * rate(self.step, self.plan.steps)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        decay = min(EMA_DECAY, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
        self.step += 1
        return float(error.abs().mean().item())


def train(plan: Plan, data: Path, folder: Path) -> Run:
    """Train to the last step of the plan, printing loss and validation score as it goes."""
    used = sources(data / "train", plan.licence_class)
    pairs = load(data / "train", [source.file for source in used], plan.scale, REDUCTIONS)
    validation = load(data / "kodak", list(VALIDATION), plan.scale)
    if wear := SETS[plan.set]:
        pairs = worn(pairs, plan.scale, wear, VARIANTS, plan.seed)
        validation = worn(validation, plan.scale, wear, 1, plan.seed)
    batches = Batches(pairs, plan.scale, plan.patch, plan.batch, plan.seed, swap=wear is None)
    run = Run(plan, folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pictures.json").write_text(json.dumps([asdict(source) for source in used], indent=1) + "\n")
    print(f"{plan.set} x{plan.scale}: {len(used)} pictures, from step {run.step} to {plan.steps}", flush=True)
    losses: list[float] = []
    began = time.monotonic() - run.seconds
    while run.step < plan.steps:
        losses.append(run.learn(*batches[run.step]))
        run.seconds = time.monotonic() - began
        if run.step % KEEP_EVERY == 0 or run.step == plan.steps:
            pace = f"{run.seconds / run.step * 1000:.0f} ms/step"
            print(f"{run.step:6} L1 {np.mean(losses) * 255:.3f} levels, {run.seconds:.0f} s, {pace}", flush=True)
            losses.clear()
            run.save()
        if run.step % SCORE_EVERY == 0 or run.step == plan.steps:
            print(f"{run.step:6} validation {score(run.average, validation):.3f} dB", flush=True)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the default network.")
    parser.add_argument("--scale", type=int, choices=(2, 4), required=True)
    parser.add_argument("--set", choices=SETS, default="fidelity")
    parser.add_argument("--loss", choices=LOSSES, default="l1")
    parser.add_argument("--steps", type=int, default=22_000)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="has train/ and kodak/")
    parser.add_argument("--run", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--start-from", type=Path, help="checkpoint of another run whose weights to start from")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    start_from = str(options.start_from) if options.start_from else None
    plan = Plan(scale=options.scale, steps=options.steps, start_from=start_from, set=options.set, loss=options.loss)
    train(plan, options.data, options.run)


if __name__ == "__main__":
    main()
