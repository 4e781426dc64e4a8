"""A listener stops a run: what is there is kept, shown, carried on and forked from."""

import json
import re

import pytest

from scripts.faults.kills import contents
from sdloop import run as run_module
from sdloop.job.config_file import load_config
from sdloop.job.events import Finished, StepMade, Stopped, StopRun, WalkBegan
from sdloop.job.folder import RunFolder
from sdloop.job.plan import prepare
from sdloop.job.runner import Runner
from sdloop.machine.errors import UserError

OVERRIDES = ["export.stages=null", "guidance_scale=4", "export.formats=webp"]


@pytest.fixture
def stopped(tiny_config, tmp_path):
    """Return a function that stops a run after a number of rows, and returns its events."""

    def stop_after(rows, *overrides):
        events = []

        def listen(event):
            events.append(event)
            if isinstance(event, StepMade) and event.step.row + 1 == rows:
                raise StopRun

        Runner(listen).run(prepare(load_config(tiny_config, [*OVERRIDES, *overrides])))
        return events

    return stop_after


def page_of(folder):
    text = (folder / "index.html").read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["runs"][0]


def test_a_stopped_run_keeps_its_steps_and_their_page(stopped, tmp_path):
    events = stopped(3)
    folder = tmp_path / "run"
    (told,) = [event for event in events if isinstance(event, Stopped)]
    assert (told.path, told.rows) == (folder, 3)
    assert not [event for event in events if isinstance(event, Finished)]
    (began,) = [event for event in events if isinstance(event, WalkBegan)]
    assert len(began.plan.table) == 6
    page = page_of(folder)
    assert len(page["steps"]) == 3
    assert len(page["facts"]["table"]) == 6
    assert len(RunFolder(folder).trajectory.z0_hat) == 3
    assert not (folder / "manifest.json").exists()


@pytest.mark.parametrize("rows", [1, 5])
def test_a_stopped_run_carries_on_to_the_same_files(stopped, tiny_config, tmp_path, rows):
    stopped(rows)
    words = [str(tiny_config), *OVERRIDES, "--quiet"]
    assert run_module.main(words) == 0
    carried_on = contents(tmp_path / "run")
    assert run_module.main([*words, "--overwrite"]) == 0
    assert contents(tmp_path / "run") == carried_on


def test_a_run_that_is_stopped_again_before_its_new_steps_keeps_the_old_ones(stopped, tmp_path):
    stopped(4)
    stopped(1)
    assert len(RunFolder(tmp_path / "run").trajectory.z0_hat) == 4
    assert len(page_of(tmp_path / "run")["steps"]) == 4


def test_a_run_that_is_stopped_at_its_last_step_is_finished(stopped, tmp_path):
    assert [event for event in stopped(6) if isinstance(event, Finished)]
    assert (tmp_path / "run/manifest.json").exists()


def test_a_stopped_run_may_be_forked_from_as_far_as_it_goes(stopped, tiny_config, tmp_path, capsys):
    stopped(3)
    words = [str(tiny_config), *OVERRIDES, "guidance_scale=5", "--from", str(tmp_path / "run")]
    assert run_module.main([*words, "--at", "4", f"output={tmp_path / 'b'}"]) == 2
    assert "start.frame = 4: allowed: 0 to 3, where" in capsys.readouterr().err
    assert run_module.main([*words, "--at", "3", f"output={tmp_path / 'b'}", "--quiet"]) == 0
    origin, fork = RunFolder(tmp_path / "run").trajectory, RunFolder(tmp_path / "b").trajectory
    assert fork.latents[:4].equal(origin.latents)
    assert fork.guidance_scales.tolist() == [4, 4, 4, 5, 5, 5]


@pytest.mark.slow
def test_a_stopped_fork_carries_on_and_may_be_forked_from(stopped, tiny_config, tmp_path):
    assert run_module.main([str(tiny_config), *OVERRIDES, "--quiet"]) == 0
    start = f"start={{run: {tmp_path / 'run'}, frame: 2}}"
    changes = [start, "guidance_scale=6", f"output={tmp_path / 'fork'}"]
    assert [event for event in stopped(4, *changes) if isinstance(event, Stopped)]
    assert len(page_of(tmp_path / "fork")["steps"]) == 4
    again = [f"start={{run: {tmp_path / 'fork'}, frame: 3}}", f"output={tmp_path / 'again'}"]
    assert run_module.main([str(tiny_config), *OVERRIDES, *again, "guidance_scale=5"]) == 0
    scales = RunFolder(tmp_path / "again").trajectory.guidance_scales
    assert scales.tolist() == [4, 4, 6, 5, 5, 5]
    assert run_module.main([str(tiny_config), *OVERRIDES, *changes]) == 0
    assert RunFolder(tmp_path / "fork").trajectory.guidance_scales.tolist() == [4, 4, 6, 6, 6, 6]


def test_a_stopped_run_is_not_replaced_by_another(stopped, tiny_config):
    stopped(3)
    with pytest.raises(UserError, match="holds a run of another config"):
        Runner().run(prepare(load_config(tiny_config, [*OVERRIDES, "seed=9"])))
