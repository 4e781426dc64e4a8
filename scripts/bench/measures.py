"""What all measures of a run cost, against the decoding of its frames.

python scripts/bench/measures.py [--rounds 3]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import machine
import torch
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
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


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
    decode_latents(vae, latents[:1])  # the first call builds kernels
    decoding = (
        seconds(lambda: decode_latents(vae, latents[:decoded]), device) * (rows + 1) / decoded
    )
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
    # the class's own `to` warns of modules that it would rather cast itself; there are none
    large = torch.nn.Module.to(AutoencoderKL(**STABLE_DIFFUSION).eval(), device, dtype)
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
