"""What keeping cross-attention costs: the calls of a walk with and without it, in turn.

python scripts/bench/attention.py [--rounds 200]
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import machine
import torch

from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.sampler.loop import initial_noise

RESULT = Path(__file__).parent / "results/attention.json"


def seconds(predict: UNetPredictor, z: torch.Tensor) -> float:
    """Time one call, with what it leaves behind."""
    start = time.perf_counter()
    predict(z, 0)
    predict.captured()
    return time.perf_counter() - start


def main() -> None:
    """Time single samples and batches of eight, print medians and ratios, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    source = find("bundled")
    models = load(source, torch.device("cpu"), torch.float32)
    result: dict[str, object] = {"machine": machine.facts(), "rounds": rounds}
    for samples in (1, 8):
        prompts = ["a panda in the snow"] * samples
        embeddings = encode_prompts(models.tokenizer, models.text_encoder, prompts, [""] * samples)
        z = initial_noise(range(samples), 4, *source.sample_size)
        without, keeping = (
            UNetPredictor(models.unet, embeddings, [501.0], True, models.lock, True, keeps)
            for keeps in (False, True)
        )
        pairs = [(seconds(without, z), seconds(keeping, z)) for _ in range(rounds // samples)]
        pairs = pairs[len(pairs) // 10 :]  # the first ones warm up
        medians = [statistics.median(each) * 1e3 for each in zip(*pairs, strict=True)]
        ratio = statistics.median(kept / plain for plain, kept in pairs)
        least = min(kept for _, kept in pairs) / min(plain for plain, _ in pairs)
        result[f"{samples} at once"] = {
            "plain_ms": round(medians[0], 2),
            "kept_ms": round(medians[1], 2),
            "median_ratio": round(ratio, 3),
            "ratio_of_fastest": round(least, 3),
        }
        print(f"{samples} at once: {medians[0]:.1f} ms, {medians[1]:.1f} ms, {ratio:.3f}")
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
