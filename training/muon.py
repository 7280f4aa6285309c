"""Muon (Jordan et al., 2024): momentum whose singular values are all made about 1, for kernels as matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
STEPS, A, B, C = 5, 3.4445, -4.7750, 2.0315  # Newton-Schulz, tuned for speed, not for convergence


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix with orthonormal rows."""
    result = matrix / (matrix.norm() + 1e-7)
    for _ in range(STEPS):
        gram = result @ result.T
        result = A * result + (B * gram + C * gram @ gram) @ result
    return result


class Muon(torch.optim.Optimizer):
    def __init__(self, kernels: Iterable[Tensor], lr: float) -> None:
        super().__init__(kernels, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for kernel in group["params"]:
                momentum = self.state[kernel].setdefault("momentum", torch.zeros_like(kernel))
                momentum.lerp_(kernel.grad, 1 - MOMENTUM)
                ahead = kernel.grad.lerp(momentum, MOMENTUM).reshape(len(kernel), -1)
                gain = max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
                kernel.add_(orthogonal(ahead).reshape(kernel.shape), alpha=-group["lr"] * gain)
