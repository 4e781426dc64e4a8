"""What the loop itself costs: a walk against the bare calls of the UNet that it makes.

`loop_alone` is a walk around a network that answers at once: all that is not the UNet. `kept` is
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

import machine
import torch

from sdloop.job.progress import Progress
from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.sampler.answer import Predict
from sdloop.sampler.loop import collect, initial_noise, walk
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings

RESULT = Path(__file__).parent / "results/loop.json"
GUIDANCE_SCALE = 3.5


def at_once(z: torch.Tensor, row: int) -> torch.Tensor:
    """Answer for a network, without one."""
    return torch.cat([z, z])


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
    table = make_table(read_settings(source.scheduler), 50)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])
    z = initial_noise([0], 4, *source.sample_size)
    folder = tempfile.TemporaryDirectory()
    doubled = torch.cat([z, z])
    timesteps = table.timesteps.tolist()

    def run(predict: Predict, kept: bool) -> None:
        steps = walk(predict, table, z, GUIDANCE_SCALE)
        if not kept:
            collect(steps, z, len(table))
            return
        path = Path(folder.name) / "progress"
        with Progress(path, {}, range(len(table)), doubled.shape, torch.float32) as progress:
            collect(progress.keep(steps), z, len(table))
        progress.discard()

    def network(shortcuts: bool) -> Predict:
        return UNetPredictor(models.unet, embeddings, timesteps, True, models.lock, shortcuts)

    def bare_calls() -> None:
        for timestep in torch.tensor(timesteps):
            models.unet(doubled, timestep, encoder_hidden_states=embeddings)

    def loop_alone() -> None:
        run(at_once, kept=False)

    def loop_alone_kept() -> None:
        run(at_once, kept=True)

    def readable_loop() -> None:
        run(network(shortcuts=False), kept=False)

    def with_shortcuts() -> None:
        run(network(shortcuts=True), kept=False)

    def with_shortcuts_kept() -> None:
        run(network(shortcuts=True), kept=True)

    contestants = (
        bare_calls,
        loop_alone,
        loop_alone_kept,
        readable_loop,
        with_shortcuts,
        with_shortcuts_kept,
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
        "rows": len(table),
        "medians_s": medians,
        "median_ratios": ratios,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
