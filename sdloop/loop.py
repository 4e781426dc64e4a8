"""The denoising loop, written out: the only caller of the UNet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

    from sdloop.schedule import Schedule

OnRow = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Denoised:
    """Every step of a batch of samples, float32, on the loop's device.

    Attributes:
        latents: (rows + 1, batch, 4, h, w); frame 0 is the noise, frame i + 1 follows row i.
        z0_hat: (rows, batch, 4, h, w), the clean latent that row i's output predicts.
        guidance: (rows, batch, 4, h, w), eps_cond - eps_uncond; None without guidance.
        eps_uncond: (rows, batch, 4, h, w), or None where it was not captured.
        eps_cond: Likewise.
    """

    latents: Tensor
    z0_hat: Tensor
    guidance: Tensor | None
    eps_uncond: Tensor | None
    eps_cond: Tensor | None


def initial_noise(seeds: Sequence[int], channels: int, height: int, width: int) -> Tensor:
    """Draw frame 0, float32 on the CPU, so that a seed means the same noise on every device.

    Args:
        seeds: One seed a sample.
        channels: The latent channels, 4 for Stable Diffusion.
        height: Latent height, the picture's over the VAE's factor.
        width: Latent width.

    Returns:
        (len(seeds), channels, height, width), standard normal.
    """
    shape = (1, channels, height, width)
    draws = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.cat(draws)


@torch.no_grad()
def denoise(
    unet: UNet2DConditionModel,
    schedule: Schedule,
    z: Tensor,
    embeddings: Tensor,
    guidance_scale: float = 7.5,
    capture: Sequence[str] = (),
    on_row: OnRow | None = None,
    finished: Sequence[Tensor] = (),
) -> Denoised:
    """Walk the schedule's rows from noise to picture and keep every frame.

    The host is never made to wait for the device in here.

    Args:
        unet: Its device and dtype are used for its call; all else is float32.
        schedule: The table of the sampler.
        z: (batch, 4, h, w), frame 0.
        embeddings: (2 batch, tokens, width), [uncond, cond]; (batch, ...) for guidance_scale 1.
        guidance_scale: s in eps = uncond + s (cond - uncond), classifier-free guidance (Ho and
            Salimans 2022, arXiv:2207.12598, with s = w + 1); 1 means the conditional output alone.
        capture: Any of "eps_uncond" and "eps_cond", to keep these too.
        on_row: Called after each row was issued with its number and what the UNet returned,
            (2 batch or batch, 4, h, w).
        finished: What the UNet returned in the first rows of this very run, where that is known
            already; it is not called for these.

    Returns:
        The frames and what was predicted on the way.

    Raises:
        ValueError: The embeddings' batch fits neither z nor guidance.
    """
    guided = guidance_scale != 1
    check_embeddings(embeddings, z, guided)
    device, rows = unet.device, len(schedule)
    timesteps = torch.from_numpy(schedule.timesteps).to(device)
    latents = torch.empty((rows + 1, *z.shape), device=device)
    latents[0] = z
    z0_hat = torch.empty((rows, *z.shape), device=device)
    guidance = torch.empty_like(z0_hat) if guided else None
    kept = {name: torch.empty_like(z0_hat) for name in capture}
    outputs: dict[int, Tensor] = {}

    for row in range(rows):
        z = latents[row]
        if row < len(finished):
            returned = finished[row].to(device)
        else:
            returned = predict(unet, z, timesteps[row], embeddings, guided)
        uncond, cond = split_halves(returned.float(), guided)
        output = cond if uncond is None else uncond + guidance_scale * (cond - uncond)

        outputs[schedule.slot[row]] = output
        weights = schedule.w[row]
        mixture = sum(weights[slot] * outputs[slot] for slot in weights.nonzero()[0])
        base = latents[schedule.base_frame[row]]
        latents[row + 1] = schedule.a[row] * base + schedule.b[row] * mixture
        z0_hat[row] = schedule.z0_from_z[row] * z + schedule.z0_from_output[row] * output

        eps_from_z, eps_from_output = schedule.eps_from_z[row], schedule.eps_from_output[row]
        if guidance is not None and uncond is not None:
            guidance[row] = eps_from_output * (cond - uncond)
        for name, eps in kept.items():
            raw = cond if name == "eps_cond" or uncond is None else uncond
            eps[row] = eps_from_z * z + eps_from_output * raw
        if on_row is not None:
            on_row(row, returned)

    return Denoised(latents, z0_hat, guidance, kept.get("eps_uncond"), kept.get("eps_cond"))


def check_embeddings(embeddings: Tensor, z: Tensor, guided: bool) -> None:
    """Raise a ValueError if there is not one embedding for each part of the UNet's batch."""
    if len(embeddings) != (2 if guided else 1) * len(z):
        raise ValueError(f"{len(embeddings)} embeddings for {len(z)} samples, guided: {guided}")


def predict(
    unet: UNet2DConditionModel, z: Tensor, timestep: Tensor, embeddings: Tensor, guided: bool
) -> Tensor:
    """Call the UNet once, on [uncond, cond] where guided.

    Args:
        unet: The network.
        z: (batch, 4, h, w), float32.
        timestep: (), int64, on the unet's device.
        embeddings: (2 batch or batch, tokens, width).
        guided: Whether there is an unconditional half.

    Returns:
        (2 batch or batch, 4, h, w), in the unet's dtype.
    """
    doubled = torch.cat([z, z]) if guided else z
    return unet(doubled.to(unet.dtype), timestep, encoder_hidden_states=embeddings).sample


def split_halves(returned: Tensor, guided: bool) -> tuple[Tensor | None, Tensor]:
    """Split [uncond, cond]; without guidance all of it is cond, and uncond is None."""
    if not guided:
        return None, returned
    uncond, cond = returned.chunk(2)
    return uncond, cond


def first_bad_row(denoised: Denoised) -> int | None:
    """Return the first row that wrote a value that is not finite; None if all are finite.

    It waits for the device once.
    """
    bad = ~torch.isfinite(denoised.latents[1:].flatten(1)).all(dim=1).cpu().numpy()
    return int(np.argmax(bad)) if bad.any() else None
