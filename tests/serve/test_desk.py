"""The queue, whatever happens around it; runs are made up."""

import json
import threading
import time

import pytest

from sdloop.job.config_file import load_config
from sdloop.serve import desk as desk_module
from sdloop.serve.desk import QUEUE_FILE, Desk


@pytest.fixture
def may_end(monkeypatch):
    """Let runs take until the event is set, and make nothing."""
    event = threading.Event()

    class FakeRunner:
        def __init__(self, listen):
            pass

        def run(self, config):
            event.wait(30)

    monkeypatch.setattr(desk_module, "Runner", FakeRunner)
    monkeypatch.setattr(desk_module, "prepare", lambda config: config)
    monkeypatch.setattr(desk_module, "import_libraries", lambda: None)
    yield event
    event.set()


@pytest.fixture
def config_of(tiny_config, tmp_path):
    """Return a function that makes a config by its seed."""
    return lambda seed: load_config(
        tiny_config, [f"seed={seed}", f"output={tmp_path / 'runs' / str(seed)}"]
    )


def wait_until(is_so):
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def states(desk):
    return [job.state for job in desk.jobs()]


def test_a_full_disk_stops_no_run(may_end, config_of, tmp_path, monkeypatch, caplog):
    desk = Desk(tmp_path / "runs", lambda: None)

    def full(path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(desk_module, "replacing", full)
    for seed in range(3):
        desk.add(config_of(seed))
    may_end.set()
    wait_until(lambda: states(desk) == ["finished"] * 3)
    assert "the queue is not saved" in caplog.text
    desk.close()


def test_a_full_queue_is_opened_again_whole(may_end, config_of, tmp_path, monkeypatch):
    """The run under way is in the file, too: one more than may wait."""
    monkeypatch.setattr(desk_module, "MOST_WAITING", 3)
    runs = tmp_path / "runs"
    desk = Desk(runs, lambda: None)
    desk.add(config_of(0))
    wait_until(lambda: desk.current is not None)
    for seed in (1, 2, 3):
        desk.add(config_of(seed))
    assert len(json.loads((runs / QUEUE_FILE).read_text())) == 4
    again = Desk(runs, lambda: None)
    assert len(again.jobs()) == 4
    for each in (desk, again):
        each.close()


def test_a_queue_goes_on_in_the_folder_as_it_is_named_now(may_end, config_of, tmp_path):
    desk = Desk(tmp_path / "runs", lambda: None)
    desk.add(config_of(0))
    forks = [config_of(seed) for seed in (1, 2)]
    for config, origin in zip(
        forks, (tmp_path / "runs/origin", tmp_path / "elsewhere"), strict=True
    ):
        start = config.start.model_copy(update={"run": str(origin), "frame": 1})
        desk.add(config.model_copy(update={"start": start}))
    (tmp_path / "runs/origin").mkdir()
    desk.close()
    (tmp_path / "runs").rename(tmp_path / "moved")
    again = Desk(tmp_path / "moved", lambda: None)
    configs = [job.config for job in again.jobs()]
    assert [config.output for config in configs] == [str(tmp_path / f"moved/{n}") for n in range(3)]
    assert [config.start.run for config in configs] == [
        None, str(tmp_path / "moved/origin"), str(tmp_path / "elsewhere"),
    ]  # fmt: skip
    again.close()


def test_a_finished_run_whose_folder_is_gone_is_made_again(may_end, config_of, tmp_path):
    may_end.set()
    desk = Desk(tmp_path / "runs", lambda: None)
    first = desk.add(config_of(0))
    wait_until(lambda: first.state == "finished")  # and left no folder
    second = desk.add(config_of(0))
    assert second is not first
    desk.close()
