"""A sweep on Ray, with two workers on this machine; see scripts/faults/workers.py for the kills."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock

from sdloop import sweep as door
from sdloop.cli.cluster import ray_running
from sdloop.job.events import ignore
from sdloop.job.many.planning import batches_of, settle_all
from sdloop.job.many.sweep import load_sweep
from sdloop.job.many.sweeper import prepare_all
from sdloop.sampler.trajectory import Trajectory

ROOT = Path(__file__).parents[3]
ON_RAY = ["--engine", "ray", "--workers", "2"]
pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed: pip install 'sdloop[ray]'"
)


@pytest.fixture
def sweep_of(tmp_path, model_folder):
    """Return a function that writes the config of a sweep of six quick runs."""

    def write(**values):
        base = {
            "prompt": "a cat",
            "model": str(model_folder),
            "device": "cpu",
            "scheduler": {"num_steps": 2},
            "keep": ["trajectory", "strip"],
            "sweep": {"seed": [0, 1, 2], "guidance_scale": [2, 3]},
        }
        path = tmp_path / "many.yaml"
        path.write_text(yaml.safe_dump(base | values, sort_keys=False))
        return str(path)

    return write


def plans_of(path, *overrides):
    return settle_all(prepare_all(load_sweep(path, overrides)))


@pytest.fixture
def one_thread(monkeypatch):
    """Let this process compute with one thread, as each of two workers on two cores does."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_results_are_those_of_the_local_engine(sweep_of, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    path = sweep_of()
    assert door.main([path, "--batch", "3", "output=local"]) == 0
    assert door.main([path, "--batch", "3", "output=ray", *ON_RAY]) == 0
    files = sorted(it.relative_to("local") for it in Path("local").rglob("*") if it.is_file())
    assert files == sorted(it.relative_to("ray") for it in Path("ray").rglob("*") if it.is_file())
    for file in files:
        ours, theirs = Path("ray") / file, Path("local") / file
        if file.name == "trajectory.safetensors":  # holds its config, with the output in it
            ours, theirs = Trajectory.load(ours), Trajectory.load(theirs)
            assert torch.equal(ours.latents, theirs.latents)
            assert torch.equal(ours.z0_hat, theirs.z0_hat)
        elif file.name not in ("config.yaml", "manifest.json", "strip.png", "index.html"):
            assert ours.read_bytes() == theirs.read_bytes(), file
    for name in ("versions", "device_name", "weights_sha256", "threads", "walked_together"):
        one, other = (
            json.loads(Path(where, "seed-1_guidance_scale-3/manifest.json").read_text())[name]
            for where in ("ray", "local")
        )
        assert one == other, name


@pytest.mark.slow
def test_failed_run_is_told_at_the_end_and_the_others_stand(sweep_of, tmp_path, capfd):
    folder = tmp_path / "many"
    (folder / "seed-1").mkdir(parents=True)
    command = [sweep_of(sweep={"seed": [0, 1, 2]}), f"output={folder}", *ON_RAY, "--batch=2"]
    with FileLock(folder / "seed-1/.lock"):
        assert door.main(command) == 1
    said = capfd.readouterr().err
    assert "1 of 3 runs failed" in said
    assert "seed-1: output =" in said
    assert "another process is working there" in said
    made = {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/manifest.json")}
    assert set(made) == {"seed-0", "seed-2"}
    assert door.main(command) == 0
    assert "2 of 3 runs are finished" in capfd.readouterr().err
    assert (folder / "seed-1/manifest.json").exists()
    for name, when in made.items():
        assert (folder / name / "manifest.json").stat().st_mtime_ns == when


class Deadly:
    """Ends the process that unpickles it, as a lack of memory would."""

    def __reduce__(self):
        return os._exit, (1,)


@pytest.mark.slow
def test_batch_that_always_kills_its_worker_fails_alone(sweep_of, tmp_path):
    from sdloop.job.many.pool import RayEngine

    bad, *good = plans_of(sweep_of(sweep={"seed": [0, 1, 2]}), f"output={tmp_path / 'many'}")
    bad = replace(bad, mask=Deadly())
    rows = []
    with ray_running(None):
        made = RayEngine(2).make([[bad], good[:1], good[1:]], (), None, ignore, rows.append)
        outcomes = {one.output: one.error for batch in made for one in batch}
    assert [outcomes[plan.config.output] for plan in good] == [None, None]
    assert "its worker died 4 times" in outcomes[bad.config.output]
    assert sum(rows) == 3 * 3


class Unreadable:
    """Cannot be unpickled, as where a machine lacks a package."""

    def __reduce__(self):
        return int, ("no number",)


@pytest.mark.slow
def test_workers_that_cannot_start_say_so(sweep_of, tmp_path):
    from sdloop.job.many.pool import RayEngine

    plans = plans_of(sweep_of(sweep={"seed": [0, 1, 2]}), f"output={tmp_path / 'many'}")
    with ray_running(None):
        made = RayEngine(1).make([[plan] for plan in plans], Unreadable(), None, ignore, len_of)
        outcomes = {one.output: one.error for batch in made for one in batch}
    assert set(outcomes) == {plan.config.output for plan in plans}
    assert all("could not start" in error for error in outcomes.values())


@pytest.mark.slow
def test_actors_take_a_gpu_each_where_there_are_any(sweep_of, tmp_path, monkeypatch):
    """Ray takes our word for the GPUs; the runs themselves are made on the CPU."""
    import ray

    from sdloop.job.many.pool import RayEngine

    plans = plans_of(sweep_of(), f"output={tmp_path / 'many'}")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # as `ray_running` does
    ray.init("local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
    try:
        engine = RayEngine()
        assert engine.workers(plans) == 2
        assert engine.there(os.getenv, "CUDA_VISIBLE_DEVICES") in ("0", "1")
        batches = engine.there(batches_of, plans, None, 2)
        assert [len(batch) for batch in batches] == [3, 3]
        assert all(one.error is None for made in engine.make(batches, (), None, ignore, len_of)
                   for one in made)  # fmt: skip
    finally:
        ray.shutdown()


def len_of(count):
    """Listen to no rows."""


@pytest.mark.slow
def test_runs_survive_the_deaths_of_workers_and_driver(capsys):
    command = [sys.executable, ROOT / "scripts/faults/workers.py", "--runs=24", "--kills=3"]
    ended = subprocess.run(command, capture_output=True, text=True)
    with capsys.disabled():
        print("\n" + ended.stdout + ended.stderr)
    assert ended.returncode == 0
    assert "24 of 24 runs finished" in ended.stdout


@pytest.mark.slow
def test_interrupt_ends_driver_and_workers_and_the_same_command_carries_on(sweep_of, tmp_path):
    command = [sys.executable, "-m", "sdloop.sweep", sweep_of(sweep={"seed": "0..19"})]
    command += [f"output={tmp_path / 'many'}", "--batch=2", *ON_RAY]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("many/*/manifest.json")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 143, said
    assert "run the same command again to carry on" in said
    assert not list(tmp_path.glob("many/.lock"))
    assert subprocess.run(command, timeout=600).returncode == 0
    assert len(list(tmp_path.glob("many/*/manifest.json"))) == 20


@contextmanager
def object_store(monkeypatch):
    """Run an S3 server on this machine; yield the URL of an empty bucket."""
    pytest.importorskip("moto", reason="moto is not installed: pip install 'sdloop[test]'")
    import s3fs
    from moto.server import ThreadedMotoServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    try:
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket/mine"
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


@pytest.mark.slow
def test_workers_put_their_runs_into_an_object_store(sweep_of, monkeypatch, capfd):
    with object_store(monkeypatch) as url:
        import s3fs

        fs = s3fs.S3FileSystem(use_listings_cache=False)
        command = [sweep_of(), f"output={url}", *ON_RAY]
        assert door.main(command) == 0
        names = {path.removeprefix("bucket/mine/") for path in fs.find("bucket/mine")}
        assert {"final.png", "sweep.parquet", "seed-2_guidance_scale-3/strip.png"} <= names
        assert len([name for name in names if name.endswith("/manifest.json")]) == 6
        sheet = fs.cat("bucket/mine/final.png")
        fs.rm("bucket/mine/seed-0_guidance_scale-2/manifest.json")  # half put there
        assert door.main(command) == 0
        assert "5 of 6 runs are finished" in capfd.readouterr().err
        assert fs.exists("bucket/mine/seed-0_guidance_scale-2/manifest.json")
        assert fs.cat("bucket/mine/final.png") == sheet
