"""The optimiser of both trainings: Muon for the inner weights, AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn


def orthogonalise(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest semi-orthogonal matrix, roughly, by a quintic Newton-Schulz iteration.

    Args:
        matrix: (rows, columns), any float dtype.
        steps: iterations; five bring the singular values near one.

    Returns:
        bfloat16 (rows, columns). Source: K. Jordan et al., Muon, 2024.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made orthogonal: for matrices and convolutions.

    The update is scaled to AdamW's usual size, so that one learning rate serves both.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move every parameter once."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                update = orthogonalise(ahead).float() * (0.2 * math.sqrt(max(ahead.shape)))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.view_as(p), alpha=-group["lr"])


def make_optimisers(modules: Iterable[nn.Module], lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the inner weights; AdamW for embeddings, biases, norms and the thin ends."""
    inner, outer = [], []
    for module in modules:
        embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
        for p in module.parameters():
            thin = p.ndim < 2 or min(p.shape[0], p[0].numel()) < 16
            (outer if thin or id(p) in embeddings else inner).append(p)
    return [Muon(inner, lr), torch.optim.AdamW(outer, lr, betas=(0.9, 0.99), weight_decay=0.0)]
