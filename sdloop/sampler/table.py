"""The sampler as a table of numbers: one row per call of the network.

Every sampler here is linear in the latents, in what the network returned and in fresh noise:

    kept[r]  = p[r] z_r + q[r] output_r
    z_{r+1}  = a[r] frames[base[r]] + b[r] sum_k w[r, k] kept[k] + c[r] noise[r]

z is always in the network's input scale. The factor b is kept apart from the weights w, so that w
holds a method's own numbers, such as Adams and Bashforth's 55/24, -59/24, 37/24, -9/24.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Prediction = Literal["epsilon", "v_prediction", "sample", "flow_prediction"]

Keeps = Literal["output", "eps", "z0"]


class Level(NamedTuple):
    """How much picture and how much noise a latent holds: z = signal z0 + noise eps."""

    signal: float
    noise: float

    @classmethod
    def of_alpha(cls, alpha_cumprod: float) -> Level:
        """Return the level of a cumulative alpha, which is the signal's share of the power."""
        return cls(float(np.sqrt(alpha_cumprod)), float(np.sqrt(1 - alpha_cumprod)))

    @classmethod
    def of_sigma(cls, sigma: float) -> Level:
        """Return the level of sigma = noise / signal, at a power of 1."""
        signal = 1 / float(np.sqrt(1 + sigma**2))
        return cls(signal, sigma * signal)

    @classmethod
    def of_flow(cls, sigma: float) -> Level:
        """Return the level of a flow's sigma, the noise's share: signal + noise = 1."""
        return cls(1 - sigma, sigma)

    @property
    def sigma(self) -> float:
        """Return noise / signal; infinite if no signal is left."""
        return self.noise / self.signal if self.signal else np.inf

    @property
    def log_snr_half(self) -> float:
        """Return ln(signal / noise), which exponential integrators take for time."""
        return float(np.log(self.signal) - np.log(self.noise)) if self.noise else np.inf


@dataclass(frozen=True)
class Row:
    """One row as a method states it.

    Attributes:
        timestep: The trained time at which the network is called.
        at: The level of the latent that the network sees.
        start: The level of the frame that the row starts from.
        end: The level of the frame that it leads to.
        base: The number of the frame that it starts from.
        a: Factor of that frame.
        b: Factor of the mixture of what rows have kept.
        weights: The mixture: a row's number -> the weight of what it kept.
        c: Factor of fresh noise.
        keeps: What the row keeps for the mixture of this row and later ones.
        corrects: Whether the row also corrects the frame that it starts from.
    """

    timestep: float
    at: Level
    start: Level
    end: Level
    base: int
    a: float
    b: float
    weights: Mapping[int, float]
    c: float = 0.0
    keeps: Keeps = "output"
    corrects: bool = False


@dataclass(frozen=True)
class Table:
    """A sampler's rows. Arrays are float64 (rows,) unless noted.

    Attributes:
        timesteps: The trained time at which the network is called.
        signal: With `noise`, the level where the network is called: z = signal z0 + noise eps.
        noise: See `signal`.
        signal_from: With `noise_from`, the level of the frame that the row starts from.
        noise_from: See `signal_from`.
        signal_to: With `noise_to`, the level of the frame that the row leads to.
        noise_to: See `signal_to`.
        base: int64; the frame that the row starts from: its own, or an earlier one.
        a: Factor of the base frame.
        b: Factor of the mixture of what rows have kept.
        w: (rows, rows), the mixture: the weight in row r of what row k kept. 0 for k > r.
        c: Factor of fresh noise.
        p: With `q`, what the row keeps: p z + q output.
        q: See `p`.
        z0_from_z: With `z0_from_output`, z0_hat = z0_from_z z + z0_from_output output, where z is
            the row's own frame, not its base frame.
        z0_from_output: See `z0_from_z`.
        eps_from_z: With `eps_from_output`, eps = eps_from_z z + eps_from_output output.
        eps_from_output: See `eps_from_z`; 1 if the network predicts eps itself.
        guidance_from_output: The factor that turns cond - uncond into the guidance that is kept:
            `eps_from_output`, which gives it in eps. Where the frame is all noise, eps is z
            whatever the network returns: there the factor is 1, and the guidance is in the
            output's own terms.
        corrects: bool; whether the row also corrects the frame that it starts from.
        init: The factor of standard normal noise that makes frame 0.
    """

    timesteps: Floats
    signal: Floats
    noise: Floats
    signal_from: Floats
    noise_from: Floats
    signal_to: Floats
    noise_to: Floats
    base: Ints
    a: Floats
    b: Floats
    w: Floats = field(repr=False)
    c: Floats
    p: Floats
    q: Floats
    z0_from_z: Floats
    z0_from_output: Floats
    eps_from_z: Floats
    eps_from_output: Floats
    guidance_from_output: Floats
    corrects: NDArray[np.bool_]
    init: float = 1.0

    def __len__(self) -> int:
        """Return the number of rows, which is not always the number of steps."""
        return len(self.timesteps)

    def equals(self, other: Table) -> bool:
        """Tell whether two tables hold the same numbers."""
        return all(
            np.array_equal(getattr(self, each.name), getattr(other, each.name))
            for each in fields(self)
        )

    def between(self, first: int, end: int) -> Table:
        """Return rows `first` to `end - 1`; frames in `base` keep their numbers."""
        rows = slice(first, end)
        arrays = {
            each.name: getattr(self, each.name)[rows]
            for each in fields(self)
            if each.name != "init"
        }
        return replace(self, **arrays | {"w": self.w[rows, rows]})

    @property
    def noisy(self) -> bool:
        """Tell whether any row adds fresh noise."""
        return bool(self.c.any())

    @property
    def retakes(self) -> NDArray[np.bool_]:
        """Tell for each row whether it takes a step again, starting from an earlier frame."""
        return self.base != np.arange(len(self))

    @property
    def tries(self) -> NDArray[np.bool_]:
        """Tell for each row whether it only tries: no row continues from its frame."""
        return ~np.isin(np.arange(1, len(self) + 1), [*self.base, len(self)])

    @property
    def marks(self) -> list[str]:
        """Return for each row a word for what sets it apart from a plain step, or "".

        "tries": no row continues from its frame; "again": it takes an earlier step again, from the
        frame `base`; "corrects": it also corrects the frame that it starts from.
        """
        columns = zip(self.tries, self.retakes, self.corrects, strict=True)
        return [
            "tries" if tries else "again" if again else "corrects" if corrects else ""
            for tries, again, corrects in columns
        ]


Schedule = Table  # its name when there were two samplers


def tabulate(rows: Sequence[Row], prediction: Prediction, init: float = 1.0) -> Table:
    """Turn a method's rows into a table.

    Args:
        rows: In the order of the network's calls.
        prediction: What the network returns: "epsilon"; "sample", z0 itself; "v_prediction"
            (Salimans and Ho 2022, arXiv:2202.00512): v = signal eps - noise z0; or
            "flow_prediction" (Lipman et al. 2023, arXiv:2210.02747): eps - z0, where
            signal + noise = 1.
        init: The factor of standard normal noise that makes frame 0.

    Returns:
        The table.
    """
    signal, noise = (np.array(values) for values in zip(*(row.at for row in rows), strict=True))
    nothing, all_of_it = np.zeros(len(rows)), np.ones(len(rows))
    if prediction == "v_prediction":
        z0, eps = (signal, -noise), (noise, signal)
    elif prediction == "flow_prediction":
        z0, eps = (all_of_it, -noise), (all_of_it, signal)
    elif prediction == "sample":
        z0, eps = (nothing, all_of_it), (1 / noise, -signal / noise)
    else:
        z0, eps = (1 / signal, -noise / signal), (nothing, all_of_it)
    kept = {"output": (nothing, all_of_it), "eps": eps, "z0": z0}
    p, q = (
        np.array([kept[row.keeps][part][number] for number, row in enumerate(rows)])
        for part in (0, 1)
    )
    w = np.zeros((len(rows), len(rows)))
    for number, row in enumerate(rows):
        for source, weight in row.weights.items():
            w[number, source] = weight
    return Table(
        timesteps=np.array([row.timestep for row in rows], dtype=np.float64),
        signal=signal,
        noise=noise,
        signal_from=np.array([row.start.signal for row in rows]),
        noise_from=np.array([row.start.noise for row in rows]),
        signal_to=np.array([row.end.signal for row in rows]),
        noise_to=np.array([row.end.noise for row in rows]),
        base=np.array([row.base for row in rows], dtype=np.int64),
        a=np.array([row.a for row in rows]),
        b=np.array([row.b for row in rows]),
        w=w,
        c=np.array([row.c for row in rows]),
        p=p,
        q=q,
        z0_from_z=z0[0],
        z0_from_output=z0[1],
        eps_from_z=eps[0],
        eps_from_output=eps[1],
        guidance_from_output=np.where(eps[1] == 0, 1.0, eps[1]),
        corrects=np.array([row.corrects for row in rows]),
        init=init,
    )
