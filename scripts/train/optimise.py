"""The optimiser of both trainings: Muon for the inner weights, AdamW for the rest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import nn

# Newton-Schulz: five rounds bring the singular values near one. Source: K. Jordan et al., Muon,
# 2024.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
# From this ratio of columns to rows on it is cheaper to iterate on the Gram matrix alone.
_GRAM_RATIO = 2


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrices, roughly.

    Every round multiplies X by a polynomial of its Gram matrix G = X X', and the polynomials of
    all rounds commute. So a wide X is needed twice only, for the first G and for the result; the
    rounds in between work on G, which is smaller.

    Args:
        matrices: float32 (count, rows, columns).

    Returns:
        float32 of the same shape.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalise(matrices.mT).mT
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if x.shape[2] < _GRAM_RATIO * x.shape[1]:
        for _ in range(_ROUNDS):
            x = _polynomial(x @ x.mT) @ x
        return x
    gram = x @ x.mT
    product = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand_as(gram)
    for _ in range(_ROUNDS):
        factor = _polynomial(gram)
        product = factor @ product
        gram = factor @ gram @ factor
    return product @ x


def _polynomial(gram: torch.Tensor) -> torch.Tensor:
    """The factor of one round: a I + b G + c G^2."""
    a, b, c = _COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made orthogonal: for matrices and convolutions.

    Updates are scaled to AdamW's usual size, so that one learning rate serves both. Weights of
    one shape are taken together.
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
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter once."""
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[p.shape[0], p[0].numel()].append((p, p.grad))
            for shape, pairs in by_shape.items():
                scale = 0.2 * math.sqrt(max(shape))
                ahead = [self._look_ahead(p, grad, group["momentum"]) for p, grad in pairs]
                for (p, _), update in zip(pairs, orthogonalise(torch.stack(ahead)), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update.view(p.shape), alpha=-group["lr"] * scale)

    def _look_ahead(self, p: nn.Parameter, grad: torch.Tensor, momentum: float) -> torch.Tensor:
        """Nesterov's momentum of one parameter, as a matrix."""
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p, memory_format=torch.contiguous_format)
        state["momentum"].lerp_(grad, 1 - momentum)
        return grad.lerp(state["momentum"], momentum).reshape(p.shape[0], -1)


def make_optimisers(module: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the inner weights; AdamW for embeddings, biases, norms and the thin ends."""
    inner: list[nn.Parameter] = []
    outer: list[nn.Parameter] = []
    embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    for p in module.parameters():
        if not p.requires_grad:
            continue
        thin = p.ndim < 2 or min(p.shape[0], p[0].numel()) < 16
        (outer if thin or id(p) in embeddings else inner).append(p)
    adam = torch.optim.AdamW(outer, lr, betas=(0.9, 0.99), weight_decay=0.0)
    return [Muon(inner, lr), adam] if inner else [adam]
