"""One contestant of cpu.py: loads, says so, and makes one call whenever it is asked to.

python scripts/bench/cpu_worker.py step|frame|convert|job CONTESTANT MODEL SIZE_PX [STEPS]
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from shapes import model_folder
from task import GUIDANCE_SCALE, Task

from sdloop.machine.device import choose_device
from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.model.predictor import UNetPredictor
from sdloop.model.vae import decode_batches
from sdloop.sampler.step import guide

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
TIMESTEPS = [981.0, 961.0, 941.0, 921.0]
TOKENS = (2, 77, 768)

Call = Callable[[], object]


def ours(network: str, contestant: str, model: Path, side: int) -> Call:
    """Make a step as the loop asks for it, or decode a frame."""
    source = find(str(model))
    dtype_name = "float32" if contestant == "float32" else "auto"
    device, dtype = choose_device("cpu", dtype_name, source.count_weights)
    models = load(source, device, dtype)
    z = torch.randn(1, 4, side, side)
    if network == "frame":
        vae, full = models.vae, contestant == "auto" and dtype != torch.float32
        return lambda: list(decode_batches(vae, z, full_precision=full))
    embeddings = torch.randn(TOKENS).to(dtype)
    predict = UNetPredictor(models.unet, embeddings, TIMESTEPS, True, shortcuts=True)
    rows = iter(range(10**6))
    return lambda: guided(predict(z, next(rows) % len(TIMESTEPS)))


def theirs(network: str, model: Path, side: int) -> Call:
    """Make a step as StableDiffusionPipeline asks for it in bfloat16, or decode a frame."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    half = torch.bfloat16
    z = torch.randn(1, 4, side, side)
    if network == "frame":
        vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=half)
        return torch.no_grad()(lambda: vae.decode(z.to(half)).sample.float())
    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=half)
    text, time_ = torch.randn(TOKENS).to(half), torch.tensor(981)
    doubled = torch.cat([z, z]).to(half)
    return torch.no_grad()(lambda: guided(unet(doubled, time_, encoder_hidden_states=text).sample))


def guided(output: torch.Tensor) -> torch.Tensor:
    """Combine both halves, as a step does."""
    return guide(output.float(), GUIDANCE_SCALE, 1).output


def convert(network: str, model: Path, side: int) -> None:
    """Write a network for OpenVINO, with static shapes."""
    import openvino

    path = converted(network, model, side)
    if path.is_file():
        return
    models = load(find(str(model)), CPU, torch.float32)
    module: torch.nn.Module
    if network == "step":
        examples: tuple[Any, ...] = (torch.randn(2, 4, side, side), torch.tensor(981.0))
        module, examples = Unet(models.unet), (*examples, torch.randn(TOKENS))
    else:
        module, examples = Decoder(models.vae), (torch.randn(1, 4, side, side),)
    del models
    shapes = [list(example.shape) for example in examples]
    with torch.no_grad():
        network_ = openvino.convert_model(module, example_input=examples, input=shapes)
    openvino.save_model(network_, path, compress_to_fp16=True)


class Unet(torch.nn.Module):
    """The UNet with positional arguments."""

    def __init__(self, unet: torch.nn.Module) -> None:
        """Take the UNet."""
        super().__init__()
        self.unet = unet

    def forward(self, z: torch.Tensor, t: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Return the output alone."""
        return self.unet(z, t, encoder_hidden_states=text, return_dict=False)[0]


class Decoder(torch.nn.Module):
    """The VAE's decoder."""

    def __init__(self, vae: Any) -> None:  # noqa: ANN401 - a class of diffusers
        """Take what decodes."""
        super().__init__()
        self.quant, self.decoder = vae.post_quant_conv, vae.decoder

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return the picture."""
        return self.decoder(self.quant(z))


def converted(network: str, model: Path, side: int) -> Path:
    """Return where a converted network lies, beside the model."""
    return model.parent / f"openvino-{network}-{8 * side}.xml"


def by_openvino(network: str, model: Path, side: int) -> Call:
    """Make a step or decode a frame by OpenVINO, in bfloat16."""
    import openvino

    options = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(converted(network, model, side), "CPU", options)
    z = torch.randn(1, 4, side, side)
    if network == "frame":
        return lambda: compiled([z.numpy()])[0]
    text = torch.randn(TOKENS).numpy()
    doubled, timestep = torch.cat([z, z]).numpy(), torch.tensor(981.0).numpy()
    return lambda: guided(torch.from_numpy(compiled([doubled, timestep, text])[0]))


@dataclass(frozen=True)
class HalfTask(Task):
    """A task for diffusers in the best dtype that it has on a CPU."""

    @property
    def dtype(self) -> torch.dtype:
        """Return bfloat16."""
        return torch.bfloat16


def job(contestant: str, model: Path, size_px: int, steps: int) -> dict[str, float]:
    """Run a whole job in a process of its own; return its seconds and peak memory."""
    with tempfile.TemporaryDirectory() as scratch:
        task = HalfTask(model, Path(scratch), size_px, steps, CPU)
        if contestant == "diffusers":
            program = (
                "import sys, torch, usual; from pathlib import Path; from clock import Clock;"
                "from cpu_worker import CPU, HalfTask;"
                "task = HalfTask(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]),"
                " int(sys.argv[4]), CPU); usual.job(usual.load(task), task, Clock(CPU))"
            )
            command = ["-c", program, str(model), scratch, str(size_px), str(steps)]
        else:
            from ours import write_config

            config = str(write_config(task))
            command = ["-m", "sdloop.run", config, "--quiet", f"dtype={contestant}"]
        places = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
        environment = os.environ | {"PYTHONPATH": places}
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=sys.stderr, env=environment)
        wall = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall_s": wall,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * 1024,
    }


def begin(what: str, contestant: str, model: Path, side: int) -> Call:
    """Load a contestant."""
    if contestant == "openvino":
        return by_openvino(what, model, side)
    if contestant == "diffusers":
        return theirs(what, model, side)
    return ours(what, contestant, model, side)


def main() -> None:
    """Answer on what was stdout; libraries' own words go to stderr."""
    what, contestant, folder, size = sys.argv[1:5]
    model, side = Path(folder), int(size) // 8
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if not (model / "model_index.json").is_file():
        model_folder("sd15", model.parent, CPU)
    ready: dict[str, float] = {}
    call: Call = dict
    if what == "convert":
        convert(contestant, model, side)
    elif what == "job":
        ready = job(contestant, model, int(size), int(sys.argv[5]))
    else:
        call = begin(what, contestant, model, side)
    print(json.dumps(ready), file=answers)
    with contextlib.suppress(EOFError):
        while input() == "go":
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            taken = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
            print(json.dumps(taken), file=answers)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak_bytes": peak_bytes}), file=answers)


if __name__ == "__main__":
    main()
