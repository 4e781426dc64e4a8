"""Memory: what a run takes, what is said when there is too little, values that are not finite."""

import importlib.util
import math
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from sdloop import run as run_module
from sdloop.job.config_file import load_config
from sdloop.job.decoders import Decoders
from sdloop.job.events import Stages, ignore
from sdloop.job.forecast import estimate, find_shortages, no_room_for_loop
from sdloop.job.ledger import shortages
from sdloop.job.plan import prepare, settle
from sdloop.job.present import show
from sdloop.job.runner import Runner
from sdloop.job.sample import denoise
from sdloop.machine.errors import OutOfMemory, UserError
from sdloop.machine.files import MARK
from sdloop.machine.memory import host_free_bytes, is_out_of_memory, size_that_fits
from sdloop.machine.threads import AHEAD, in_threads, usable_cores
from sdloop.model import sd_memory
from sdloop.model.find import find
from sdloop.model.networks import load_vae
from sdloop.model.weight_count import weight_bytes
from sdloop.sampler.loop import first_bad_row
from sdloop.sampler.methods import make_table
from sdloop.sampler.scheduler_config import read_settings

BENCH = Path(__file__).parents[2] / "scripts/bench"
ON_CPU = (torch.device("cpu"), torch.float32)
# the limit is set from what is taken where it begins, so that it means the same on any machine
LIMITED = """
import resource, sys, threading
from contextlib import contextmanager
from pathlib import Path
import numpy as np
from sdloop.job.events import Stages
from sdloop.run import main

limited_stage, extra_bytes, *arguments = sys.argv[1:]
whole_stage = Stages.stage

def limit():
    lines = Path("/proc/self/status").read_text().splitlines()
    taken = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (taken + int(extra_bytes),) * 2)

def claim_blas(threads=8):
    # OpenBLAS ends the process, in its own words, where it finds no room for its buffers; it keeps
    # those that it has, one for each thread that multiplied at the same time
    begin = threading.Barrier(threads)
    square = np.ones((1000, 1000), np.float32)
    def multiply():
        begin.wait()
        square @ square

    workers = [threading.Thread(target=multiply) for _ in range(threads)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()

@contextmanager
def stage(self, name, *options):
    with whole_stage(self, name, *options) as advance:
        if name == limited_stage:
            claim_blas()
            limit()
        yield advance

Stages.stage = stage
if limited_stage == "all":
    import torch  # whose builds for CUDA alone take gigabytes of addresses

    limit()
sys.exit(main(arguments))
"""


def test_weights_are_counted_without_loading_them(models, model_folder):
    networks = (models.text_encoder, models.unet, models.vae)
    expected = sum(weight.numel() for network in networks for weight in network.parameters())
    source = find(str(model_folder))
    loaded, file_bytes = weight_bytes(source, torch.float32)
    assert loaded == 4 * expected
    assert loaded < file_bytes < 1.03 * loaded
    bare = replace(source, folder=model_folder.parent / "bare", from_hub=True)
    for part in ("text_encoder", "unet", "vae"):
        (bare.folder / part).mkdir(parents=True, exist_ok=True)
        config = (model_folder / part / "config.json").read_text()
        (bare.folder / part / "config.json").write_text(config)
    assert weight_bytes(bare, torch.float32)[0] == 4 * expected
    vae = source.vae.model_copy(update={"force_upcast": True})  # which stays in float32
    assert "force_upcast" in vae.model_fields_set
    half = weight_bytes(replace(source, vae=vae), torch.float16)[0]
    assert half == 2 * expected + 2 * sum(weight.numel() for weight in models.vae.parameters())


def plan_of(tiny_config, *overrides):
    return settle(prepare(load_config(tiny_config, overrides)))


def ledger_of(tiny_config, *overrides, samples=1):
    (ledger,) = estimate(plan_of(tiny_config, *overrides), samples, quick=True)
    return ledger


def test_estimate_grows_with_what_a_run_holds(tiny_config):
    plain = ledger_of(tiny_config)
    for overrides, stage in (
        (["scheduler.num_steps=500"], "denoise"),
        (["scheduler.num_steps=500"], "export"),
        (["height=512", "width=512"], "denoise"),
        (["height=512", "width=512"], "decode"),
        (["height=512", "width=512"], "export"),
    ):
        assert ledger_of(tiny_config, *overrides).stages[stage] > plain.stages[stage]
    assert ledger_of(tiny_config, "guidance_scale=1").stages["denoise"] < plain.stages["denoise"]
    assert ledger_of(tiny_config, samples=8).stages["denoise"] == pytest.approx(
        8 * plain.stages["denoise"], rel=0.2
    )
    half = ledger_of(tiny_config, "dtype=float16").always["weights"]
    assert half == plain.always["weights"] / 2


def test_fresh_noise_is_counted(tiny_config):
    steps, samples = 200, 3
    chosen = [(f"scheduler.type={kind}", f"scheduler.num_steps={steps}") for kind in
              ("euler", "euler_a")]  # fmt: skip
    plans = [plan_of(tiny_config, *overrides) for overrides in chosen]
    fresh = 4 * steps * samples * math.prod(plans[0].latent_shape)

    def grown(plans):
        without, with_noise = (estimate(plan, samples, quick=True) for plan in plans)
        return [
            {stage: more.stages[stage] - less.stages[stage] for stage in less.stages}
            for less, more in zip(without, with_noise, strict=True)
        ]

    (host,) = grown(plans)
    assert (host["denoise"], host["measure"], host["export"]) == (fresh, fresh // samples, 0)
    host, device = grown([replace(plan, device=torch.device("cuda")) for plan in plans])
    assert (host["denoise"], host["measure"]) == (fresh, fresh // samples)
    assert (device["denoise"], device["decode"]) == (2 * fresh, fresh)  # given, and the graph's own


def test_the_run_that_a_run_starts_from_is_counted(tiny_config):
    start = f"start={{run: runs/a, frame: 2, trajectory_sha256: '{'0' * 64}'}}"
    plain, fork = (
        estimate(settle(prepare(load_config(tiny_config, each))))[0].stages["denoise"]
        for each in ([], [start])
    )
    assert fork - plain == 4 * 4 * 8 * 8 * (3 * 6 + 1)  # frames, z0_hat, guidance of six rows


def test_device_has_a_ledger_of_its_own_on_cuda(tiny_config, monkeypatch):
    monkeypatch.setattr(sd_memory, "room_bytes", lambda device: 2**36)
    plan = plan_of(tiny_config, "dtype=float16")
    plan = replace(plan, device=torch.device("cuda"))
    host, device = estimate(plan)
    assert "weights" in device.always
    assert "weights" not in host.always
    assert device.where == "device cuda"


def test_decoding_takes_a_batch_that_the_device_has_room_for(tiny_config, monkeypatch):
    plan = replace(plan_of(tiny_config, "dtype=float16"), device=torch.device("cuda"))
    family, place = plan.source.family, (plan.device, plan.dtype)
    stack = (7, *plan.latent_shape)

    def decode_bytes(room, batch_size=None):
        monkeypatch.setattr(sd_memory, "room_bytes", lambda device: room)
        return family.decode_bytes(plan.source, stack, batch_size, *place)

    one = decode_bytes(None, 1)
    assert decode_bytes(100 * one) == decode_bytes(None) == 7 * one
    assert decode_bytes(9 * one) == 4 * one  # half of the room, in two batches
    assert decode_bytes(one) == one
    assert decode_bytes(one, 5) == 5 * one  # as asked for
    assert family.decode_bytes(plan.source, stack, None, *place, quick=True) >= 7 * one


def test_dry_run_prints_the_estimate_as_comments_of_valid_yaml(tiny_config, tmp_path, capsys):
    second = tmp_path / "second.yaml"
    second.write_text(tiny_config.read_text().replace("/run", "/other"))
    assert run_module.main([str(tiny_config), str(second), "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert [config["seed"] for config in yaml.safe_load_all(printed.out)] == [3, 3]
    comments = [line for line in printed.out.splitlines() if line.startswith("#")]
    assert len(comments) == 8
    assert comments[0].startswith("# device cpu, dtype float32 (what auto takes: ")
    assert comments[1].startswith("# memory of the host: at most 0.")
    for stage in ("load", "denoise", "decode", "measure", "export"):
        assert f"{stage} 0." in comments[3]
    assert printed.err == ""


def limited(stage, extra_bytes, config, *overrides):
    """Run in a process that, from the beginning of a stage on, may take so much more memory."""
    arguments = [sys.executable, "-c", LIMITED, stage, str(extra_bytes), str(config), *overrides]
    return subprocess.run(arguments, capture_output=True, text=True)


def test_too_little_memory_is_a_warning_before_any_work(tiny_config):
    size = ["height=4096", "width=4096"]
    done = limited("all", 2 * 10**9, tiny_config, *size, "--dry-run")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: memory of the host: ")
    ledger = ledger_of(tiny_config, *size)
    assert shortages([ledger], [ledger.peak_bytes]) == []
    assert len(shortages([ledger], [ledger.peak_bytes - 1])) == 1
    assert shortages([ledger], [None]) == []


def test_networks_are_counted_only_where_room_is_short(tiny_config, monkeypatch):
    plan, counted = plan_of(tiny_config, "height=512", "width=512"), []
    peak_bytes = estimate(plan)[0].peak_bytes
    for name in ("count_loop", "count_decoder"):
        real = getattr(sd_memory, name)
        spy = partial(lambda real, *of: counted.append(of) or real(*of), real)
        monkeypatch.setattr(sd_memory, name, spy)
    assert find_shortages(plan, [2 * peak_bytes]) == []
    assert find_shortages(plan, [None]) == []
    assert counted == []
    assert find_shortages(plan, [peak_bytes]) == []
    assert len(counted) == 2
    (line,) = find_shortages(plan, [peak_bytes - 1])
    assert line.startswith("memory of the host: ")


def test_size_said_to_fit_the_loop_is_the_largest_that_does(tiny_config):
    plan = plan_of(tiny_config, "height=512", "width=512")
    free = 2 * loop_bytes(plan, 200) + 1
    error = no_room_for_loop(plan, free)
    assert str(error).endswith("512 x 512 px in float32; 200 x 200 px would fit")
    assert loop_bytes(plan, 208) > free / 2


def loop_bytes(plan, side_px):
    """Return what the loop of a square run holds: the UNet's, and all that is kept."""
    shape = (1, 4, side_px // 8, side_px // 8)
    kept = 4 * 4 * (side_px // 8) ** 2 * (3 * len(plan.table) + 1)
    held = plan.source.family.loop_bytes(plan.source, shape, True, plan.device, plan.dtype)
    return held + kept


def test_limit_on_addresses_counts_as_the_end_of_memory():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28));"
        "from sdloop.machine.memory import host_free_bytes, is_out_of_memory;"
        "print(host_free_bytes(), is_out_of_memory(RuntimeError('could not create a primitive')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    free, is_the_end = done.stdout.split()
    assert 0 < int(free) < 2**28
    assert is_the_end == b"True"
    free = host_free_bytes()
    assert free is not None
    assert free > 10**8


def broken():
    raise RuntimeError("shapes")


def test_end_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**50)
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(2**50)
    assert is_out_of_memory(of_torch.value)
    assert is_out_of_memory(of_numpy.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(RuntimeError("could not create a primitive"))  # not for that
    assert not is_out_of_memory(UserError("out of memory"))
    said = r"^animate: out of memory: Unable to allocate 8\.00 PiB"
    with pytest.raises(OutOfMemory, match=said), Stages(ignore).stage("animate"):
        np.empty(2**50)
    with pytest.raises(RuntimeError, match=r"^shapes$"), Stages(ignore).stage("animate"):
        broken()


@pytest.mark.parametrize(
    ("height", "width", "free", "said"),
    [
        (64, 64, 2 * 64 * 64 - 1, "56 x 56 px would fit"),
        (1024, 512, 2 * 512 * 256, "256 x 512 px would fit"),
        (96, 64, 2 * 40 * 64, "40 x 56 px would fit"),
        (64, 64, 127, "no size would fit"),
        (64, 64, None, "take a smaller size"),
    ],
)
def test_size_that_fits_is_the_largest_of_its_shape(height, width, free, said):
    assert size_that_fits(height, width, 8, lambda high, wide: high * wide, free) == said


@pytest.mark.parametrize("fixed", [0, 10**5, 10**7])
def test_size_that_fits_asks_for_few_sizes(fixed):
    asked = []

    def needed_bytes(high, wide):
        asked.append((high, wide))
        return 100 * high * wide + fixed

    said = size_that_fits(4096, 4096, 8, needed_bytes, 100 * 2**21 + 2 * fixed)
    assert said == "1024 x 1024 px would fit"
    assert len(asked) <= 5


def test_threads_hold_a_few_items_however_many_there_are():
    begun, most = [], 0
    for taken, _ in enumerate(in_threads(begun.append, range(500))):
        most = max(most, len(begun) - taken)
    assert sorted(begun) == list(range(500))
    assert most <= AHEAD * usable_cores()


def only_whole_files(folder: Path) -> set[str]:
    """Return the names in a folder; none of them is that of a temporary file."""
    names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    assert not [name for name in names if MARK in name]
    return names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "extra_bytes", "overrides"),
    [
        ("denoise", 120 * 10**6, ["height=512", "width=512", "scheduler.num_steps=999"]),
        ("decode", 100 * 10**6, ["height=1024", "width=1024"]),
        ("animate", 150 * 10**6, ["height=768", "width=768", "export.scale=8"]),
    ],
)
def test_end_of_memory_names_its_stage_and_keeps_what_was_finished(
    tiny_config, tmp_path, stage, extra_bytes, overrides
):
    done = limited(stage, extra_bytes, tiny_config, *overrides)
    *warnings, error = done.stderr.splitlines()
    assert done.returncode == 1, done.stderr
    assert error.startswith(f"error: {stage}: "), error
    assert all(line.startswith("warning: memory of the host: ") for line in warnings)
    assert error.endswith(" would fit") == (stage != "animate")
    names = only_whole_files(tmp_path / "run")
    assert ("trajectory.safetensors" in names) == (stage != "denoise")
    assert "strip.png" not in names


def with_huge_weight(folder: Path, copy: Path, component: str, name: str) -> Path:
    """Copy a model; all numbers of one weight become finite ones that overflow when used."""
    for path in folder.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (file,) = (copy / component).glob("*.safetensors")
    weights = load_file(file)
    assert name in weights
    weights[name] = torch.full_like(weights[name], 3e38)
    save_file(weights, file, {"format": "pt"})
    return copy


@pytest.mark.parametrize(
    ("component", "weight", "said"),
    [
        ("text_encoder", "final_layer_norm.weight", "text: the embedding of '' has"),
        ("unet", "conv_out.weight", "denoise: row 0 (timestep 801) gave"),
        ("vae", "decoder.conv_out.weight", "decode: frame 0 has"),
    ],
)
def test_overflow_of_each_network_is_named(
    tiny_config, tmp_path, model_folder, capsys, component, weight, said
):
    model = with_huge_weight(model_folder, tmp_path / "huge", component, weight)
    assert run_module.main([str(tiny_config), f"model={model}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said} values that are not finite")
    names = only_whole_files(tmp_path / "run")
    assert ("trajectory.safetensors" in names) == (component == "vae")
    assert not {"frames.gif", "index.html", "manifest.json"} & names


def test_prediction_that_overflows_is_told_from_the_frames(tiny_config, model_folder):
    done = Runner().run(prepare(load_config(tiny_config)))
    z0_hat = done.trajectory.z0_hat.clone()
    z0_hat[2] = 3e38  # beyond float32 once it is divided by the VAE's factor
    plan = settle(prepare(load_config(tiny_config)))
    vae = load_vae(find(str(model_folder)), *ON_CPU)
    trajectory = replace(done.trajectory, z0_hat=z0_hat)
    with pytest.raises(UserError, match=r"^decode: z0_hat of row 2 has values"):
        show(plan, trajectory, Decoders.of_plan(plan, vae), Stages(ignore))


class BadAt:
    """Stands for a UNet whose output is not finite in one of its calls."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, call, value):
        self.calls, self.call, self.value = 0, call, value

    def __call__(self, z, timestep, encoder_hidden_states):
        output = 0.1 * z
        if self.calls == self.call:
            output[-1, 0, 0, 0] = self.value
        self.calls += 1
        return SimpleNamespace(sample=output)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", ["ddim", "pndm", "pndm with warm-up"])
def test_bad_row_is_the_one_whose_output_went_bad(kind, value):
    facts = {"_class_name": "PNDMScheduler", "skip_prk_steps": kind == "pndm"}
    settings = read_settings(facts, "ddim" if kind == "ddim" else "pndm")
    schedule = make_table(settings, 5)
    for row in range(len(schedule)):
        z, prompt = torch.ones(1, 4, 2, 2), torch.zeros(2, 1, 1)
        assert first_bad_row(denoise(BadAt(row, value), schedule, z, prompt)) == row


def bench():
    """Import the benchmark, whose cases and processes the promise is held with."""
    spec = importlib.util.spec_from_file_location("bench_memory", BENCH / "memory.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["128 px, 200 steps", "128 px, 20 steps, 8 samples", "1024 px, 1 step"]
)
def test_run_stays_within_what_was_predicted(name, tmp_path):
    module = bench()
    facts = module.measure(module.CASES[name], tmp_path)
    assert facts["measured_bytes"] <= facts["predicted_bytes"] <= 1.5 * facts["measured_bytes"]
