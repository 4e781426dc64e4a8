"""Peak memory of a run above the loaded model's, in decode batches (Linux, CPU).

python scripts/bench/memory.py [key=value ...]
"""

import json
import sys
import tempfile
from pathlib import Path

import machine
import torch

from sdloop.config import load_config
from sdloop.decode import decode_latents
from sdloop.model_source import find
from sdloop.models import load
from sdloop.runner import Runner, prepare

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).parent / "results/memory.json"
RESET_PEAK = "5"


def memory_bytes(field: str) -> int:
    """Read VmRSS or VmHWM, the resident memory now or at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def reset_peak() -> int:
    """Let the peak start again from the memory that is in use; return that."""
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    return memory_bytes("VmRSS")


def main() -> None:
    """Measure one batch, then a run."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [f"output={folder}/run", "decode.batch_size=16", *sys.argv[1:]]
        config = load_config(ROOT / "configs/astronaut.yaml", overrides)
        runner, prepared = Runner(quiet=True, overwrite=True), prepare(config)
        assert prepared.config.height is not None
        assert prepared.config.width is not None
        size = config.decode.batch_size or 16
        latents = torch.randn(size, 4, prepared.config.height // 8, prepared.config.width // 8)
        models = load(find(config.model), torch.device("cpu"), torch.float32)
        decode_latents(models.vae, latents[:1])
        before = reset_peak()
        decode_latents(models.vae, latents, size)
        batch = memory_bytes("VmHWM") - before
        del models
        runner.run(prepared)  # loads the model and all libraries
        before = reset_peak()
        runner.run(prepared)
        peak = memory_bytes("VmHWM") - before
    print(
        f"a decode batch of {size}: {batch / 1e6:.0f} MB; a run: {peak / 1e6:.0f} MB above the "
        f"model, {peak / batch:.2f} batches"
    )
    facts = {
        "machine": machine.facts(),
        "batch_frames": size,
        "batch_bytes": batch,
        "run_bytes": peak,
    }
    RESULT.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
