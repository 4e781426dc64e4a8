"""What one tab is told, and what a slow one misses."""

import json
from types import SimpleNamespace

from sdloop.serve.stream import MOST_BEHIND, Reader


class FakeDesk:
    """A desk with one run under way."""

    closed = False

    def __init__(self, steps):
        facts = {"columns": []}
        self.live = SimpleNamespace(facts=facts, start="", first=0, steps=steps)
        self.current = SimpleNamespace(name="a", live=self.live, doing="", made=0, total=None)

    def jobs(self):
        return []


def step(row):
    pictures = {"frame": f"f{row}", "difference": "d", "sixteenths": None, "z0_hat": "z"}
    return {**pictures, "peak": 1.0, "numbers": [row]}


def steps_of(reader):
    told = [event.split("\n") for event in reader.news()]
    data = [json.loads(lines[1].removeprefix("data: ")) for lines in told if "step" in lines[0]]
    return [(each["row"], each["step"]["frame"], each["step"]["numbers"]) for each in data]


def test_a_quick_tab_gets_every_picture():
    steps = []
    reader = Reader(FakeDesk(steps), lambda config: "")
    for row in range(30):
        steps.append(step(row))
        assert steps_of(reader) == [(row, f"f{row}", [row])]
    assert steps_of(reader) == []


def test_a_slow_tab_skips_pictures_but_no_step():
    steps = [step(row) for row in range(50)]
    told = steps_of(Reader(FakeDesk(steps), lambda config: ""))
    assert [row for row, _, _ in told] == list(range(50))
    assert [numbers for _, _, numbers in told] == [[row] for row in range(50)]
    assert [frame for _, frame, _ in told] == [None] * (50 - MOST_BEHIND) + [
        f"f{row}" for row in range(50 - MOST_BEHIND, 50)
    ]
    assert steps[0]["frame"] == "f0"  # others still get it


def test_a_tab_that_comes_later_is_told_of_the_walk_from_its_beginning():
    desk = FakeDesk([step(0), step(1)])
    first, second = (Reader(desk, lambda config: "") for _ in range(2))
    assert steps_of(first) == steps_of(second)
