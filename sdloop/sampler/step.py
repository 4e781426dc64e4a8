"""One row's arithmetic on tensors, stated once for the loop and the graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor

from sdloop.sampler.table import Table

Number = float | Tensor  # a float in the loop; a tensor () on the device in a graph

COEFFICIENTS = (
    "a",
    "b",
    "c",
    "p",
    "q",
    "z0_from_z",
    "z0_from_output",
    "guidance_from_output",
)


class Coefficients(NamedTuple):
    """The numbers that one row's arithmetic uses; see `Table`."""

    a: Number
    b: Number
    c: Number
    p: Number
    q: Number
    z0_from_z: Number
    z0_from_output: Number
    guidance_from_output: Number

    @classmethod
    def of_table(cls, table: Table) -> list[Coefficients]:
        """Return all rows' coefficients, as floats."""
        columns = (getattr(table, name).tolist() for name in COEFFICIENTS)
        return [cls(*row) for row in zip(*columns, strict=True)]


class Guided(NamedTuple):
    """What guidance made of a row's output.

    Attributes:
        output: (samples, ...).
        push: cond - uncond, shaped as `output`; None without guidance.
        factor: (samples,), what rescaling multiplied the output by; None if nothing is rescaled.
    """

    output: Tensor
    push: Tensor | None
    factor: Tensor | None


def guide(
    returned: Tensor, guidance_scale: Number, samples: int, guidance_rescale: Number | None = None
) -> Guided:
    """Combine the halves of what the network returned by classifier-free guidance.

        output = f (uncond + s (cond - uncond))

    Source: Ho and Salimans 2022, arXiv:2207.12598, with s = w + 1. f is 1 unless the output is
    rescaled, which brings its standard deviation closer to that of the conditional one:
    f = phi std(cond) / std(uncond + s (cond - uncond)) + 1 - phi (Lin et al. 2023,
    arXiv:2305.08891, eq. 15, 16). It is one number per sample, so the table stays linear in the
    product.

    Args:
        returned: float32 (2 samples, ...), all unconditional rows first; (samples, ...) without
            guidance.
        guidance_scale: s.
        samples: The number of samples.
        guidance_rescale: phi; None rescales nothing.

    Returns:
        The output, and what it was made of.
    """
    if len(returned) == samples:
        return Guided(returned, None, None)
    uncond, cond = returned.unflatten(0, (2, samples)).unbind()
    push = cond - uncond
    output = uncond + guidance_scale * push
    if guidance_rescale is None:
        return Guided(output, push, None)
    spread = cond.flatten(1).std(dim=1) / output.flatten(1).std(dim=1)
    factor = guidance_rescale * spread + 1 - guidance_rescale
    return Guided(factor.reshape(-1, *[1] * (output.ndim - 1)) * output, push, factor)


def keep(row: Coefficients, z: Tensor, output: Tensor) -> Tensor:
    """Return what a row keeps for the mixtures: p z + q output."""
    return row.p * z + row.q * output


def predict_clean(row: Coefficients, z: Tensor, output: Tensor) -> Tensor:
    """Return z0_hat, the clean latent that a row's output predicts."""
    return row.z0_from_z * z + row.z0_from_output * output


def step(
    row: Coefficients,
    base: Tensor,
    weights: Iterable[Number],
    kept: Sequence[Tensor],
    noise: Tensor | None = None,
) -> Tensor:
    """Take the step: a base + b (the weighted sum of what is kept) + c noise.

    Args:
        row: The row's coefficients.
        base: float32 (samples, channels, h, w), the frame that the row starts from.
        weights: One for each of `kept`.
        kept: What this row and earlier ones have kept; each shaped as `base`.
        noise: Standard normal, shaped as `base`; None if the table adds none.

    Returns:
        The next frame, shaped as `base`.
    """
    mixture = sum(weight * each for weight, each in zip(weights, kept, strict=True))
    z = row.a * base + row.b * mixture
    return z if noise is None else z + row.c * noise
