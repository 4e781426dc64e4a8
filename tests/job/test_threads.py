"""Runs in several threads of one process."""

import subprocess
import sys
import threading
import time
from itertools import groupby

import pytest

from sdloop.job.config_file import load_config
from sdloop.job.plan import prepare
from sdloop.job.runner import Runner

FIRST_USE = """
import sys, threading, traceback
import sdloop

start, failed = threading.Barrier(2), []

def use(seed):
    start.wait()
    try:
        overrides = [f"seed={seed}", f"output={sys.argv[2]}/{seed}"]
        sdloop.Runner().run(sdloop.prepare(sdloop.load_config(sys.argv[1], overrides)))
    except BaseException:
        failed.append(traceback.format_exc())

threads = [threading.Thread(target=use, args=(seed,)) for seed in (1, 2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit("".join(failed) or 0)
"""
DRAWN = ("frames.gif", "difference.gif", "steps.csv", "guidance.png")


def in_threads(function, items):
    """Call a function with each item in a thread of its own."""
    threads = [threading.Thread(target=function, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_all(runners, plans):
    """Run each plan in a thread of its own; return every folder's files."""
    failed = []

    def run(runner, plan):
        try:
            runner.run(plan)
        except BaseException as error:
            failed.append(error)

    in_threads(lambda pair: run(*pair), zip(runners, plans, strict=True))
    assert failed == []
    return [[(plan.folder / name).read_bytes() for name in DRAWN] for plan in plans]


@pytest.fixture
def plan_in(tiny_config, tmp_path):
    """Return a function that plans two unlike runs in folders of this name."""

    def plan(name):
        changes = (["seed=1", "guidance_scale=1.5"], ["seed=2", "scheduler.type=euler_ancestral"])
        return [
            prepare(
                load_config(
                    tiny_config,
                    [*each, "export.stages=null", f"output={tmp_path / name}-{number}"],
                )
            )
            for number, each in enumerate(changes)
        ]

    return plan


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_runs_in_threads_are_those_made_one_after_the_other(plan_in, shared):
    runner, expected = Runner(), []
    for plan in plan_in("alone"):
        expected += run_all([runner], [plan])
    runners = [runner, runner] if shared else [Runner(), Runner()]
    assert run_all(runners, plan_in("together")) == expected


def test_threads_that_share_a_runner_wait_for_each_other(plan_in):
    told = []

    def listen(event):
        told.append(threading.get_ident())
        time.sleep(0.05)
        told.append(threading.get_ident())
        raise InterruptedError  # what comes later costs time

    runner = Runner(listen)

    def run(plan):
        with pytest.raises(InterruptedError):
            runner.run(plan)

    in_threads(run, plan_in("shared"))
    assert len(told) == 4
    assert len(list(groupby(told))) == 2


@pytest.mark.slow
def test_two_threads_may_be_the_first_to_use_the_library(tiny_config, tmp_path):
    command = [sys.executable, "-c", FIRST_USE, tiny_config, tmp_path / "first"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
