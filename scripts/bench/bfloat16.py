"""By how much bfloat16 is faster than float32 on this CPU, for networks of several sizes.

python scripts/bench/bfloat16.py [--rounds 4] [--threads 1]

On the line between small and large models that `sdloop/machine/dtype.py` draws. The two take turns;
their CPU time is compared, which other work on the machine changes less than the wall clock.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import torch
from diffusers import UNet2DConditionModel
from shapes import UNET

from sdloop.machine.dtype import multiplies_bfloat16
from sdloop.model.find import find
from sdloop.model.networks import load

RESULT = Path(__file__).parent / "results/bfloat16.json"
WIDTHS = ((64, 128, 256, 256), (128, 256, 512, 512), (320, 640, 1280, 1280))  # last: SD 1.5's
TOKENS, WIDTH = 77, 768
DTYPES = (torch.float32, torch.bfloat16)

Inputs = Callable[[torch.dtype], tuple[torch.Tensor, ...]]


def half_of(network: Any) -> Any:  # noqa: ANN401 - one of diffusers' classes
    """Copy a network in bfloat16."""
    with torch.device("meta"):
        copy = type(network).from_config(network.config)
    weights = {name: each.to(torch.bfloat16) for name, each in network.state_dict().items()}
    copy.load_state_dict(weights, assign=True)
    return copy.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def unet_inputs(side: int, width: int) -> Inputs:
    """Return what makes a guided call's inputs."""
    return lambda dtype: (
        torch.randn(2, 4, side, side, dtype=dtype),
        torch.tensor(5.0),
        torch.randn(2, TOKENS, width, dtype=dtype),
    )


@torch.inference_mode()
def compare(networks: dict[torch.dtype, Any], inputs: Inputs, rounds: int) -> dict[str, float]:
    """Let both networks take turns; median CPU seconds, and the median of the ratios."""
    times: dict[torch.dtype, list[float]] = {dtype: [] for dtype in networks}
    for number in range(rounds + 1):  # the first one warms up
        for dtype, network in networks.items():
            given = inputs(dtype)
            start = time.process_time()
            network(*given)
            if number:
                times[dtype].append(time.process_time() - start)
    full, half = (times[dtype] for dtype in DTYPES)
    return {
        "float32_cpu_s": statistics.median(full),
        "bfloat16_cpu_s": statistics.median(half),
        "times_faster": statistics.median(a / b for a, b in zip(full, half, strict=True)),
    }


def main() -> None:
    """Compare all networks, print the figures, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    source = find("bundled")
    both = {dtype: load(source, torch.device("cpu"), dtype) for dtype in DTYPES}
    unets = {dtype: models.unet for dtype, models in both.items()}
    decoders = {dtype: models.vae.decoder for dtype, models in both.items()}
    networks: dict[str, Any] = {}

    def note(name: str, pair: dict[torch.dtype, Any], inputs: Inputs) -> None:
        weights = sum(each.numel() for each in pair[torch.float32].parameters())
        networks[name] = {"weights": weights, **compare(pair, inputs, asked.rounds)}
        told = ", ".join(f"{key} {value:.4g}" for key, value in networks[name].items())
        print(f"{name}: {told}", flush=True)

    text_width = source.text.hidden_size
    note("bundled UNet, 128 px", unets, unet_inputs(16, text_width))
    note("bundled UNet, 512 px", unets, unet_inputs(64, text_width))
    note(
        "bundled decoder, 128 px", decoders, lambda dtype: (torch.randn(1, 4, 16, 16, dtype=dtype),)
    )
    for widths in WIDTHS:
        unet: Any = UNet2DConditionModel(**UNET | {"block_out_channels": widths})
        half = half_of(unet)
        full = unet.to(memory_format=torch.channels_last).eval().requires_grad_(False)
        pair = {torch.float32: full, torch.bfloat16: half}
        note(f"UNet of widths {widths}, 256 px", pair, unet_inputs(32, WIDTH))
    facts = machine.facts() | {"cpu_cores": asked.threads, "fast_bfloat16": multiplies_bfloat16()}
    RESULT.write_text(json.dumps({"machine": facts, "networks": networks}, indent=2) + "\n")


if __name__ == "__main__":
    main()
