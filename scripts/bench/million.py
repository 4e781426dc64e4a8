"""What a million runs of a sweep cost: times and sizes of a few, and of planning many, in numbers.

python scripts/bench/million.py [--runs 8] [--planned 2000] [--num-steps 20]

Times are of the processor, so that what else the machine does counts little. Nothing runs on a GPU:
of Stable Diffusion 1.5 the operations are counted, and a GPU's hours follow from an assumed pace.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import machine
import torch
import yaml
from diffusers import AutoencoderKL, UNet2DConditionModel
from shapes import UNET, VAE
from torch.utils.flop_counter import FlopCounterMode

from sdloop.job.events import ignore
from sdloop.job.many.planning import batches_of, settle_all
from sdloop.job.many.report import write_report
from sdloop.job.many.sweep import KEEPS, Sweep, load_sweep
from sdloop.job.many.sweeper import prepare_all
from sdloop.job.many.workshop import Workshop
from sdloop.job.plan import Plan

RESULT = Path(__file__).parent / "results" / "million.json"
KEPT = {"": [], "trajectory": ["trajectory"], "trajectory, strip": ["trajectory", "strip"],
        "all": list(KEEPS)}  # fmt: skip
MILLION = 1_000_000
PACE = 300e12  # operations a second, assumed of an H100 in float16: 30 % of its peak


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--planned", type=int, default=2000)
    parser.add_argument("--num-steps", type=int, default=20)
    options = parser.parse_args()
    result: dict[str, object] = {"machine": machine.facts(), **vars(options)}
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        _, first = planned(where / "first", 1, options.num_steps)
        for keep, names in KEPT.items():
            workshop = Workshop(names, ignore)
            workshop.make(first, lambda rows: None)  # loads the networks
            result[f"keep {keep}"] = made(where / (keep or "none"), workshop, options)
            print(f"keep {keep or 'nothing'}: {result[f'keep {keep}']}")
        result["plan"] = plan_cost(where, options)
        print(f"plan: {result['plan']}")
    result["sd15"] = sd15_cost(50)
    print(f"Stable Diffusion 1.5, 512 px, 50 steps, computed: {result['sd15']}")
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


def planned(where: Path, count: int, num_steps: int) -> tuple[Sweep, list[Plan]]:
    """Plan a sweep of so many seeds."""
    where.mkdir(exist_ok=True)
    config = {
        "prompt": "a snowman in the snow",
        "device": "cpu",
        "scheduler": {"type": "ddim", "num_steps": num_steps},
        "output": str(where / "runs"),
        "sweep": {"seed": f"0..{count - 1}"},
    }
    (where / "many.yaml").write_text(yaml.safe_dump(config))
    sweep = load_sweep(where / "many.yaml")
    return sweep, settle_all(prepare_all(sweep))


def made(where: Path, workshop: Workshop, options: argparse.Namespace) -> dict[str, float]:
    """Make a batch of runs; return what one takes on average."""
    sweep, plans = planned(where, options.runs, options.num_steps)
    started = time.process_time()
    outcomes = workshop.make(plans, lambda rows: None)
    made_s = (time.process_time() - started) / len(plans)
    assert all(one.error is None for one in outcomes), outcomes
    files = [it for it in sweep.folder.rglob("*") if it.is_file()]
    started = time.process_time()
    write_report(sweep, plans)
    return {
        "cpu_s": round(made_s, 3),
        "files": len(files) / len(plans),
        "bytes": round(sum(it.stat().st_size for it in files) / len(plans)),
        "report_cpu_ms": round(1000 * (time.process_time() - started) / len(plans), 1),
    }


def plan_cost(where: Path, options: argparse.Namespace) -> dict[str, float]:
    """Plan many runs in batches; return what one takes on average."""
    before, started = resident_bytes(), time.process_time()
    _, plans = planned(where, options.planned, options.num_steps)
    batches_of(plans)
    took_s = time.process_time() - started
    return {
        "cpu_ms": round(1000 * took_s / len(plans), 2),
        "memory_bytes": round((resident_bytes() - before) / len(plans)),
    }


def resident_bytes() -> int:
    """Return the most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def sd15_cost(num_steps: int) -> dict[str, float]:
    """Count the operations of a guided run at 512 px, each frame decoded; assume a GPU's pace."""
    with torch.device("meta"), torch.no_grad():
        unet, vae = UNet2DConditionModel(**UNET), AutoencoderKL(**VAE)
        z, text = torch.randn(1, 4, 64, 64), torch.randn(1, 77, 768)
        with FlopCounterMode(display=False) as called:
            unet(z, torch.zeros(1), text)
        with FlopCounterMode(display=False) as decoded:
            vae.decode(z)
    call, decode = called.get_total_flops(), decoded.get_total_flops()
    whole = 2 * num_steps * call + (num_steps + 1) * decode
    return {
        "call_flop": call,
        "decode_flop": decode,
        "run_flop": whole,
        "assumed_pace_flop_s": PACE,
        "million_gpu_hours": round(MILLION * whole / PACE / 3600),
        "million_gpu_hours_of_decoding": round(MILLION * (num_steps + 1) * decode / PACE / 3600),
    }


if __name__ == "__main__":
    main()
