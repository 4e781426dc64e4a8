"""What the loop itself costs: denoise against the bare calls of the UNet that it makes.

`loop_alone` is denoise around a network that answers at once: all that is not the UNet. `kept` is
the same with every row kept on disk, so that a killed run could carry on.

python scripts/bench/loop.py [--rounds 9]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import machine
import torch

from sdloop.loop import denoise, initial_noise
from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.precompute import constants_of_run
from sdloop.progress import Progress
from sdloop.schedule import make_schedule
from sdloop.scheduler_config import read_settings
from sdloop.text import encode_prompts

RESULT = Path(__file__).parent / "results/loop.json"
GUIDANCE_SCALE = 3.5


class AtOnce:
    """A network that returns what it is given."""

    device, dtype = torch.device("cpu"), torch.float32

    def __call__(self, z: torch.Tensor, timestep: object, encoder_hidden_states: object) -> Any:  # noqa: ANN401 - diffusers' output
        """Answer."""
        return SimpleNamespace(sample=z)


def seconds(function: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@torch.no_grad()
def main() -> None:
    """Time them in turn, print medians and ratios, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    source = find("bundled")
    models = load(source, torch.device("cpu"), torch.float32)
    schedule = make_schedule(read_settings(source.scheduler), 50)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])
    z = initial_noise([0], 4, *source.sample_size)
    folder = tempfile.TemporaryDirectory()
    doubled, timesteps = torch.cat([z, z]), torch.from_numpy(schedule.timesteps)

    def keep() -> Progress:
        path = Path(folder.name) / "progress"
        return Progress(path, {}, len(schedule), doubled.shape, torch.float32)

    def bare_calls() -> None:
        for timestep in timesteps:
            models.unet(doubled, timestep, encoder_hidden_states=embeddings)

    def loop_alone() -> None:
        denoise(AtOnce(), schedule, z, embeddings, GUIDANCE_SCALE)

    def loop_alone_kept() -> None:
        with keep() as progress:
            denoise(AtOnce(), schedule, z, embeddings, GUIDANCE_SCALE, on_row=progress.add)
        progress.discard()

    def readable_loop() -> None:
        denoise(models.unet, schedule, z, embeddings, GUIDANCE_SCALE)

    def with_constants() -> None:
        with constants_of_run(models.unet, embeddings, guided=True):
            denoise(models.unet, schedule, z, embeddings, GUIDANCE_SCALE)

    def with_constants_kept() -> None:
        with constants_of_run(models.unet, embeddings, guided=True), keep() as progress:
            denoise(models.unet, schedule, z, embeddings, GUIDANCE_SCALE, on_row=progress.add)
        progress.discard()

    contestants = (
        bare_calls,
        loop_alone,
        loop_alone_kept,
        readable_loop,
        with_constants,
        with_constants_kept,
    )
    times: dict[str, list[float]] = {function.__name__: [] for function in contestants}
    for number in range(rounds + 1):
        for function in contestants:
            taken = seconds(function)
            if number:  # the first round warms up
                times[function.__name__].append(taken)
    pairs = list(zip(*times.values(), strict=True))
    ratios = {
        name: statistics.median(pair[index] / pair[0] for pair in pairs)
        for index, name in enumerate(times)
    }
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:<19} {value:7.3f} s   {ratios[name]:6.3f} of the bare calls")
    result = {
        "machine": machine.facts(),
        "rows": len(schedule),
        "medians_s": medians,
        "median_ratios": ratios,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
