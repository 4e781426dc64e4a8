"""The file of finished rows: what is in it comes back to the bit, or not at all."""

from contextlib import contextmanager

import pytest
import torch

from sdloop.job.progress import Progress, read_facts
from sdloop.sampler.loop import Step

FACTS, SHAPE, ROWS = {"config": {"seed": 3}}, (2, 4, 3, 5), 4


def outputs_of(dtype=torch.float32, rows=ROWS):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(SHAPE, generator=generator).to(dtype) for _ in range(rows)]


def steps_of(outputs):
    return [Step(row, None, None, None, output) for row, output in enumerate(outputs)]


def open_file(path, dtype=torch.float32, facts=FACTS):
    return Progress(path, facts, range(ROWS), SHAPE, dtype)


def write(path, outputs, dtype=torch.float32):
    with open_file(path, dtype) as progress:
        for _ in progress.keep(steps_of(outputs)):
            pass


def read(path, dtype=torch.float32, facts=FACTS):
    with open_file(path, dtype, facts) as progress:
        return [answer.returned for answer in progress.known]


def assert_equal(ours, theirs):
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        assert torch.equal(mine, other)


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".progress"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_come_back_to_the_bit(path, dtype):
    write(path, outputs_of(dtype), dtype)
    assert_equal(read(path, dtype), outputs_of(dtype))


def test_rows_in_another_order_of_memory_come_back(path):
    last = [output.to(memory_format=torch.channels_last) for output in outputs_of()]
    write(path, last)
    assert_equal(read(path), outputs_of())


def test_values_that_are_not_finite_come_back(path):
    odd = torch.full(SHAPE, torch.nan)
    odd[0], odd[1, 0] = torch.inf, -torch.inf
    write(path, [odd])
    torch.testing.assert_close(read(path)[0], odd, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("cut_bytes", [1, 4, 5, 480, 483])
def test_row_that_was_cut_off_is_left_out(path, cut_bytes):
    write(path, outputs_of())
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut_bytes])
    assert_equal(read(path), outputs_of()[:-1])


@pytest.mark.parametrize("cut", [0, 1, 30])
def test_file_that_ends_in_its_facts_begins_anew(path, cut):
    write(path, outputs_of())
    path.write_bytes(path.read_bytes()[:cut])
    assert read_facts(path) == {}
    assert read(path) == []


@pytest.mark.parametrize("row", range(ROWS))
def test_flipped_bit_ends_the_file(path, row):
    write(path, outputs_of())
    content = bytearray(path.read_bytes())
    row_bytes = 4 + 4 * torch.Size(SHAPE).numel()
    content[len(content) - (ROWS - row) * row_bytes + 17] ^= 8
    path.write_bytes(content)
    assert_equal(read(path), outputs_of()[:row])


def test_row_in_another_rows_place_ends_the_file(path):
    write(path, [outputs_of()[0]] * 2)
    content = path.read_bytes()
    row_bytes = 4 + 4 * torch.Size(SHAPE).numel()
    path.write_bytes(content[: -2 * row_bytes] + content[-row_bytes:])
    assert read(path) == []


def test_carried_on_file_equals_one_written_at_once(path, tmp_path):
    write(tmp_path / "whole", outputs_of())
    write(path, outputs_of()[:2])
    path.write_bytes(path.read_bytes()[:-9])
    write(path, outputs_of())  # one row is there already
    assert path.read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("facts", [{"config": {"seed": 4}}, {**FACTS, "more": 1}])
def test_rows_of_another_run_are_not_taken(path, facts):
    write(path, outputs_of())
    assert read(path, facts=facts) == []
    assert not path.exists()  # and the file was begun anew, without rows


def test_rows_of_another_dtype_are_not_taken(path):
    write(path, outputs_of())
    assert read(path, torch.float16) == []


def test_file_without_rows_goes(path):
    write(path, [])
    assert not path.exists()


def test_facts_can_be_asked_for(path):
    write(path, outputs_of()[:1])
    assert read_facts(path)["config"] == FACTS["config"]
    assert read_facts(path.with_name("none")) == {}


@pytest.mark.parametrize(
    "content", [b"", b"{}\nx", b"[1]\nx", b"\xff\xfe\nx", b"[" * 100_000, b"no\nx", bytes(10_000)]
)
def test_other_files_hold_no_facts_and_no_rows(path, content):
    path.write_bytes(content)
    assert read_facts(path) == {}
    assert read(path) == []


def test_refused_writes_name_the_file(tmp_path):
    path = tmp_path / "full"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        open_file(path)
    assert error.value.filename == str(path)


def test_discarded_file_is_gone(path):
    with open_file(path) as progress:
        next(progress.keep(steps_of(outputs_of())))
        progress.discard()
    assert not path.exists()


class OnCuda(torch.Tensor):
    """A tensor that says it is on the second CUDA device."""

    is_cuda = True
    device = property(lambda self: torch.device("cuda:1"))


class Event:
    def record(self, stream):
        self.stream = stream


class Stream:
    def __init__(self, name):
        self.name = name

    def wait_event(self, event):
        self.waited_for = event.stream


def test_rows_are_copied_once_their_own_device_has_computed_them(path, monkeypatch):
    copied_in = []

    @contextmanager
    def stream(entered):
        copied_in.append(entered)
        yield

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(f"new, {device}"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=0: f"current, {device}")
    monkeypatch.setattr(torch.cuda, "stream", stream)
    with open_file(path) as progress:  # while the first device is the current one
        for _ in progress.keep(steps_of([out.as_subclass(OnCuda) for out in outputs_of()])):
            pass
    assert [entered.name for entered in copied_in] == ["new, cuda:1"] * ROWS
    assert {entered.waited_for for entered in copied_in} == {"current, cuda:1"}
    assert_equal(read(path), outputs_of())
