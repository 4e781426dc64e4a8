"""What "the same again" means for a run: how far one made again may differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdloop.model.decode_batch import ignores_batch

if TYPE_CHECKING:
    import torch

AMONG_OTHER_SEEDS = {("cpu", "float32"): 1e-3}


@dataclass(frozen=True)
class SameAgain:
    """How far a run may differ when it is made again; None means never measured.

    The same config gives the same bytes on the same machine, with the same versions and the same
    number of threads. Beyond that:

    Attributes:
        decode_batches: How many frames were decoded at once: each size once, in order of use,
            including smaller ones after a batch was halved.
        levels_in_other_batches: By how many levels of 255 a picture may differ when decoded in
            batches of other sizes. 0 on a CPU, which decodes frames one by one. (Decoded all at
            once, up to 55 of a million values of the bundled model's frames differed, by one
            level.)
        latents_among_other_seeds: How far the latents may be from those that `denoise` returns for
            the same seed in a batch of several, as a share of the largest latent. On a CPU in
            float32 the bundled model was at most 1.1e-5 away (eight seeds, PNDM of 50 steps,
            guidance 7.5), and 9.3e-5 at guidance 15; the limit is ten times that. In a sweep,
            beside runs of other prompts and guidance scales, it was at most 1.5e-5 away (guidance
            9.1).
    """

    decode_batches: tuple[int, ...]
    levels_in_other_batches: int | None
    latents_among_other_seeds: float | None

    @classmethod
    def of_run(
        cls, device: torch.device, decode_batches: Iterable[int], config: Mapping[str, Any]
    ) -> SameAgain:
        """Look up what was measured for a run's device and dtype.

        Args:
            device: The device that decoded the run.
            decode_batches: How many frames each batch had.
            config: The config that the run was sampled with, as plain values.

        Returns:
            What to expect.
        """
        return cls(
            tuple(dict.fromkeys(decode_batches)),
            0 if ignores_batch(device.type) else None,
            AMONG_OTHER_SEEDS.get((config.get("device", ""), config.get("dtype", ""))),
        )
