"""How exact difference maps are: decoded in half precision, and rounded to 8 bits, against float32.

python scripts/bench/precision.py [--steps 50]

The frames of one PNDM run of the bundled model are decoded in float32, float16 and bfloat16. For
each row: the correlation of its difference map with float32's, which is not rounded. precision.png
shows what rounding does to some of them.
"""

import argparse
import json
from pathlib import Path

import machine
import numpy as np
import torch
from numpy.typing import NDArray

from sdloop.model.find import find
from sdloop.model.networks import load, load_vae
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.model.vae import decode_batches
from sdloop.sampler.loop import collect, initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings
from sdloop.show.difference import absolute_difference, difference_maps
from sdloop.show.figure.sheet import Side, write_sheet

RESULT = Path(__file__).parent / "results/precision.json"
SHOWN_ROWS = (1, 11, 25, 49, 50)  # the corrector's, and the last
PROMPT, GUIDANCE_SCALE = "an astronaut relaxing on a tropical island", 5.0
HALVES = (torch.float16, torch.bfloat16)
LEAST = 0.99


def run_latents(steps: int) -> tuple[torch.Tensor, list[str]]:
    """Sample; return all frames' latents, and each row's mark."""
    source = find("bundled")
    models = load(source, torch.device("cpu"), torch.float32)
    table = make_table(read_settings(source.scheduler), steps)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, [PROMPT], [""])
    predict = UNetPredictor(models.unet, embeddings, table.timesteps.tolist(), True, shortcuts=True)
    z = initial_noise([0], 4, *source.sample_size)
    denoised = collect(walk(predict, table, z, GUIDANCE_SCALE), z, len(table))
    return denoised.latents[:, 0], table.marks


def decode(latents: torch.Tensor, weights: torch.dtype, full_precision: bool) -> torch.Tensor:
    """Decode with weights of a dtype; float32 (frames, H, W, 3), in 8-bit levels."""
    vae = load_vae(find("bundled"), torch.device("cpu"), torch.float32)
    torch.nn.Module.to(vae, weights)  # also where the VAE's config asks for float32
    return torch.cat(list(decode_batches(vae, latents, full_precision=full_precision)))


def correlations(pictures: torch.Tensor, exact: torch.Tensor) -> NDArray[np.float64]:
    """Correlate the differences of two decodings row by row."""
    ours, theirs = (
        absolute_difference(each, "mean").double().flatten(1).numpy() for each in (pictures, exact)
    )
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(ours, theirs, strict=True)])


def write_picture(path: Path, exact: torch.Tensor) -> None:
    """Draw some maps of rounded pictures over those of exact ones."""
    rows = [list(difference_maps(each).colored()) for each in (exact.round(), exact)]
    write_sheet(
        path,
        [[maps[row] for row in SHOWN_ROWS] for maps in rows],
        "Differences of pictures rounded to 8 bits, and of the same pictures before rounding",
        Side("", ("rounded", "exact")),
        Side("step", tuple(str(row) for row in SHOWN_ROWS)),
    )


def main() -> None:
    """Decode in every way, print what the rows come to, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    latents, marks = run_latents(parser.parse_args().steps)
    exact = decode(latents, torch.float32, full_precision=False)
    write_picture(RESULT.with_suffix(".png"), exact)
    ways = {"float32, rounded to 8 bits": exact.round()}
    for dtype in HALVES:
        name = str(dtype).removeprefix("torch.")
        ways[name] = decode(latents, dtype, full_precision=False)
        ways[f"{name} weights, float32 decoding"] = decode(latents, dtype, full_precision=True)
    result = {
        "machine": machine.facts(),
        "prompt": PROMPT,
        "marks": marks,
        "difference_mean": absolute_difference(exact, "mean").mean(dim=(1, 2)).tolist(),
        "ways": {},
    }
    for name, pictures in ways.items():
        by_row = correlations(pictures, exact)
        error = float((pictures - exact).square().mean().sqrt())
        below = int((by_row < LEAST).sum())
        print(
            f"{name:<36} off by {error:.3f} levels; correlation at least {by_row.min():.4f}, "
            f"median {np.median(by_row):.4f}; {below} of {len(by_row)} rows below {LEAST}"
        )
        result["ways"][name] = {"rms_error_levels": error, "correlations": by_row.round(5).tolist()}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
