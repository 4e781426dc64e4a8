"""One row's arithmetic on tensors: the one statement of it, for the loop and for the graph."""

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
    """The numbers of one row that its arithmetic uses; see `Table`."""

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


def guide(returned: Tensor, guidance_scale: Number, samples: int) -> tuple[Tensor, Tensor | None]:
    """Combine the halves of what the network returned by classifier-free guidance.

        output = uncond + s (cond - uncond)

    Source: Ho and Salimans 2022, arXiv:2207.12598, with s = w + 1.

    Args:
        returned: float32 (2 samples, ...), all unconditional rows first; (samples, ...) where
            nothing is guided.
        guidance_scale: s.
        samples: How many there are.

    Returns:
        The output (samples, ...), and cond - uncond; None where nothing is guided.
    """
    if len(returned) == samples:
        return returned, None
    uncond, cond = returned.unflatten(0, (2, samples)).unbind()
    push = cond - uncond
    return uncond + guidance_scale * push, push


def keep(row: Coefficients, z: Tensor, output: Tensor) -> Tensor:
    """Return what a row keeps for the mixtures: p z + q output."""
    return row.p * z + row.q * output


def predict_clean(row: Coefficients, z: Tensor, output: Tensor) -> Tensor:
    """Return z0_hat, the clean latent that a row's output means."""
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
        kept: What rows have kept, this row's own among it; shaped as `base`.
        noise: Standard normal, shaped as `base`; None where the table adds none.

    Returns:
        The next frame, shaped as `base`.
    """
    mixture = sum(weight * each for weight, each in zip(weights, kept, strict=True))
    z = row.a * base + row.b * mixture
    return z if noise is None else z + row.c * noise
