"""Runs through the server of watch: one at a time, none twice, none lost."""

import json
import shlex
import shutil

import pytest

from sdloop import run as run_module
from sdloop.job.config_file import load_config
from sdloop.job.folder import RunFolder


def collect(client, name):
    """Return what the stream says of a run until it has ended."""
    heard = []
    with client.events() as events:
        for kind, data in events:
            heard.append((kind, data))
            if kind == "jobs":
                states = {job["name"]: job["state"] for job in data}
                if states.get(name) in ("finished", "stopped", "failed"):
                    return heard
    raise AssertionError("the stream ended")


def test_a_run_is_that_of_the_command_line(client, tmp_path, tiny_config):
    status, answer = client.run(prompt="a dog", seed=4, guidance_scale=3)
    assert status == 200
    name = answer["name"]
    heard = collect(client, name)
    (command,) = {job["command"] for kind, data in heard if kind == "jobs" for job in data}
    ours = tmp_path / "runs" / name
    before = {path.name: path.read_bytes() for path in ours.iterdir()}
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "sdloop.run"]
    assert run_module.main([*words[3:], "--overwrite", "--quiet"]) == 0
    after = {path.name: path.read_bytes() for path in ours.iterdir()}
    assert before.keys() == after.keys()
    for file in before.keys() - {"manifest.json"}:
        assert before[file] == after[file]
    config = load_config(ours / "config.yaml")
    assert (config.prompt, config.seed, config.guidance_scale) == ("a dog", 4, 3)


def test_the_stream_brings_each_step_once_and_in_order(client):
    _, answer = client.run(prompt="a dog")
    heard = collect(client, answer["name"])
    begins = [data for kind, data in heard if kind == "begin"]
    steps = [data for kind, data in heard if kind == "step"]
    assert len(begins) == 1
    facts = begins[0]["facts"]
    assert len(facts["table"]) == 6
    assert [step["row"] for step in steps] == list(range(len(steps)))
    for step in steps:
        assert len(step["step"]["numbers"]) == len(facts["columns"])


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        ({"seed": "x"}, "seed", "must be a valid integer"),
        ({"seed": ""}, "seed", "must be a valid integer"),
        ({"guidance_scale": "0.5"}, "guidance_scale", "1 turns guidance off"),
        ({"scheduler__type": "magic"}, "scheduler.type", "allowed: model, "),
        ({"scheduler__num_steps": "0"}, "scheduler.num_steps", "greater than or equal to 1"),
        ({"scheduler__num_steps": "[1"}, "scheduler.num_steps", "is not YAML"),
        ({"width": "33"}, "width", "multiples of"),
        ({"width": "99999"}, "width", "8192"),
        ({"prompt": "a\x00b"}, "prompt", "control character"),
        ({"model": "/etc/passwd"}, "model", "allowed: bundled"),
    ],
)
def test_a_wrong_value_is_refused_beside_its_field(client, values, key, said):
    status, answer = client.run(**{"prompt": "a dog"} | values)
    assert status == 422
    assert answer["key"] == key
    assert said in answer["message"]
    assert client.states() == {}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"values": 3}', b'{"values": {}, "start": {"run": "../a", "frame": 1}}',
     b'{"values": {}, "start": {"run": "a", "frame": "1"}}', b"[" * 50_000, b"\xff\xfe"],
)  # fmt: skip
def test_what_is_no_form_is_refused(client, body):
    status, _, answer = client.ask("POST", "/runs", body)
    assert status == 422
    assert json.loads(answer)["message"] == "this is no form of sdloop's"


@pytest.mark.slow
def test_keys_beside_the_form_are_not_taken(client, tmp_path):
    (tmp_path / "mask.png").write_bytes(b"x")
    values = {"prompt": "a dog", "output": "/tmp/elsewhere", "measure.mask": "/etc/passwd"}
    status, _, body = client.ask("POST", "/runs", {"values": values})
    assert status == 200
    client.wait_for("finished")
    config = load_config(tmp_path / "runs" / json.loads(body)["name"] / "config.yaml")
    assert config.measure.mask is None
    assert config.output.startswith(str(tmp_path / "runs"))


@pytest.mark.slow
def test_many_presses_are_one_run_each_and_one_at_a_time(client):
    names = [client.run(prompt="a dog", seed=number % 20)[1]["name"] for number in range(100)]
    assert len(set(names)) == 20
    states = client.states()
    assert set(states) == set(names)
    assert sum(state in ("running", "stopping") for state in states.values()) <= 1
    waiting = [name for name, state in states.items() if state == "waiting"]
    assert len(waiting) >= 10
    for name in waiting:
        assert client.ask("POST", f"/runs/{name}/stop", {})[0] == 200
    client.wait_for("finished")
    assert "waiting" not in client.states().values()


@pytest.mark.slow
def test_a_queue_has_its_limit(client, monkeypatch):
    monkeypatch.setattr("sdloop.serve.desk.MOST_WAITING", 2)
    answers = [client.run(prompt="a dog", seed=seed)[0] for seed in range(6)]
    assert set(answers) == {200, 429}


@pytest.mark.slow
def test_a_stopped_run_keeps_its_steps_carries_on_and_may_be_forked(client, tmp_path):
    values = {"prompt": "a dog", "scheduler__num_steps": 300}
    name = client.run(**values)[1]["name"]
    with client.events() as events:
        next(data for kind, data in events if kind == "step" and data["row"] >= 3)
    assert client.ask("POST", f"/runs/{name}/stop", {})[0] == 200
    client.wait_for("stopped")
    made = len(RunFolder(tmp_path / "runs" / name).trajectory.z0_hat)
    assert 4 <= made < 301
    assert client.ask("GET", f"/runs/{name}/index.html")[0] == 200
    status, fork = client.run(**values | {"guidance_scale": 4}, start={"run": name, "frame": 3})
    assert status == 200
    with client.events() as events:
        begin = next(data for kind, data in events if kind == "begin")
    assert (begin["name"], begin["first"]) == (fork["name"], 3)
    client.ask("POST", f"/runs/{fork['name']}/stop", {})
    client.wait_for("stopped", 2)
    assert client.run(**values)[1]["name"] == name  # the same run carries on
    with client.events() as events:
        row = next(data["row"] for kind, data in events if kind == "step" and data["row"] >= made)
    assert row == made
    assert client.ask("POST", "/runs/nothing/stop", {})[0] == 404


@pytest.mark.slow
def test_a_fork_says_beside_the_field_what_it_may_not_change(client):
    name = client.run(prompt="a dog", guidance_scale=3)[1]["name"]
    client.wait_for("finished")
    start = {"run": name, "frame": 2}
    for values, key in (
        ({"width": 32, "guidance_scale": 3}, "width"),
        ({"scheduler__num_steps": 7, "guidance_scale": 3}, "scheduler.num_steps"),
        ({"guidance_scale": 1}, "guidance_scale"),
    ):
        status, answer = client.run(**{"prompt": "a cat"} | values, start=start)
        assert (status, answer["key"]) == (422, key)
    status, answer = client.run(prompt="a cat", start={"run": name, "frame": 6}, guidance_scale=3)
    assert status == 422
    assert "0 to 5" in answer["message"]


@pytest.mark.slow
def test_a_run_that_fails_says_why_and_the_next_has_its_turn(serve, tmp_path):
    with serve() as first:
        name = first.run(prompt="a dog")[1]["name"]
        first.wait_for("finished")
        assert first.states() == {name: "finished"}
        folder = tmp_path / "runs" / first.run(prompt="a dog", seed=77)[1]["name"]
        first.wait_for("finished", 2)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with serve() as second:  # which knows nothing of that run
        assert second.run(prompt="a dog", seed=77)[1]["name"] == folder.name
        after = second.run(prompt="a dog", seed=78)[1]["name"]
        assert second.wait_for("failed")[folder.name] == "failed"
        second.wait_for("finished", 2)
        assert second.states()[after] == "finished"
        with second.events() as events:
            jobs = {job["name"]: job for job in next(data for kind, data in events)}
        assert "holds files that are no run" in jobs[folder.name]["message"]
    assert (folder / "thesis.txt").read_text() == "mine"


@pytest.mark.slow
def test_another_server_goes_on_with_what_waited(serve, tmp_path):
    runs = tmp_path / "runs"
    with serve() as first:
        finished = first.run(prompt="a dog")[1]["name"]
        first.wait_for("finished")
        queue = runs / ".watch-queue.json"
        assert json.loads(queue.read_text()) == []
        config = load_config(runs / finished / "config.yaml")
    waiting = config.model_copy(update={"seed": 99, "output": str(runs / "a-dog-99")})
    queue.write_text(json.dumps([waiting.model_dump(mode="json")]))
    with serve() as second:
        states = second.wait_for("finished", 2)
    assert set(states) == {finished, "a-dog-99"}


@pytest.mark.parametrize("text", ["", "{", "[3]", '[{"prompt": 3}]', "null"])
def test_a_damaged_queue_is_left_alone(serve, tmp_path, text):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ".watch-queue.json").write_text(text)
    with serve() as client:
        assert client.states() == {}


@pytest.mark.slow
def test_a_tab_that_closes_leaves_the_run_alone(client):
    name = client.run(prompt="a dog")[1]["name"]
    with client.events() as events:
        next(events)
    assert client.wait_for("finished") == {name: "finished"}


def test_there_is_a_limit_to_open_tabs(client, monkeypatch):
    monkeypatch.setattr("sdloop.serve.app.MOST_TABS", 1)
    with client.events() as events:
        next(events)
        status, _, answer = client.ask("GET", "/events")
    assert status == 503
    assert json.loads(answer) == {"message": "1 tabs are open"}
    monkeypatch.setattr("sdloop.serve.app.MOST_TABS", 9)
