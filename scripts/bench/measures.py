"""What all measures of a run cost, against the decoding of its frames.

python scripts/bench/measures.py [--rounds 3]
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import torch
from clock import now
from diffusers import AutoencoderKL

from sdloop.machine.device import choose_device
from sdloop.model.find import find
from sdloop.model.networks import load_vae
from sdloop.model.vae import decode_latents
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from sdloop.sampler.trajectory import Trajectory
from sdloop.show.changes import Changes
from sdloop.show.measure.whole_run import measure_run

ROOT = Path(__file__).parents[2]
STEPS = 50
STABLE_DIFFUSION = {  # the shape of its VAE; the weights are random
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Time one call, the device's work included."""
    start = now(device)
    work()
    return now(device) - start


def random_vae(config: dict[str, Any], device: torch.device, dtype: torch.dtype) -> AutoencoderKL:
    """Make a VAE with random weights, laid out as sdloop lays out those that it loads."""
    # the class's own `to` warns of modules that it would rather cast itself; there are none
    vae = AutoencoderKL(**config).eval()
    return torch.nn.Module.to(vae, device, dtype, memory_format=torch.channels_last)


def time_case(vae: AutoencoderKL, latent_px: int, rounds: int, decoded: int) -> dict[str, float]:
    """Time decoding and measuring a random run of 51 frames.

    Args:
        vae: Decodes.
        latent_px: The latents' side.
        rounds: Of measuring; the median counts.
        decoded: How many frames are decoded for real; the time of all is in proportion.

    Returns:
        Seconds for decoding all frames and for measuring them, and their ratio.
    """
    device = vae.device
    schedule = make_table(read_settings(find("bundled").scheduler), STEPS)
    rows = len(schedule)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(rows + 1, 4, latent_px, latent_px, generator=generator)
    trajectory = Trajectory(
        latents, latents[1:], torch.from_numpy(schedule.timesteps), latents[1:], {}
    )

    def decode() -> None:
        decode_latents(vae, latents[:decoded])

    decode()  # the first call of a batch chooses its kernels
    decoding = seconds(decode, device) * (rows + 1) / decoded
    size_px = latent_px * 8
    noise = torch.rand(rows + 1, size_px, size_px, 3, generator=generator)
    images = (noise * 255).to(torch.uint8).to(device)
    changes = Changes.of(images)

    def measure() -> None:
        measured = measure_run(trajectory, schedule, 7.5, changes)
        measured.columns()
        measured.drive.guidance_maps()

    measure()
    measuring = statistics.median(seconds(measure, device) for _ in range(rounds))
    return {"decode_s": decoding, "measures_s": measuring, "share": measuring / decoding}


def main() -> None:
    """Time both sizes, print them, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    device, dtype = choose_device("auto", "auto")
    frames = STEPS + 2  # PNDM takes one row more than steps
    large = random_vae(STABLE_DIFFUSION, device, dtype)
    cases = {
        "bundled model, 128 px": (load_vae(find("bundled"), device, dtype), 16, frames),
        "Stable Diffusion's VAE, 512 px": (large, 64, frames if device.type == "cuda" else 1),
    }
    results = {}
    for name, (vae, latent_px, decoded) in cases.items():
        results[name] = result = time_case(vae, latent_px, rounds, decoded)
        print(
            f"{name:<32} decode {result['decode_s']:8.2f} s   measures "
            f"{result['measures_s']:6.3f} s   {result['share']:.2%} of it"
        )
    facts = {
        "machine": machine.facts(),
        "frames": frames,
        "cases": results,
    }
    path = ROOT / "scripts/bench/results/measures.json"
    path.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
