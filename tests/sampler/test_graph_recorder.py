"""How a row is captured, on a stand-in for CUDA's streams and graphs."""

from contextlib import contextmanager, nullcontext

import pytest
import torch

from sdloop.sampler.graph import GraphRecorder

DEVICE = torch.device("cuda:1")


class Stream:
    def __init__(self, device):
        self.device, self.waits = device, []

    def wait_stream(self, other):
        self.waits.append(other)


class Cuda:
    """Keeps the current stream, and what was done in which."""

    def __init__(self):
        self.current = self.main = Stream(DEVICE)
        self.streams, self.captures = [], []
        self.capturing, self.fails = False, False

    def make_stream(self, device):
        self.streams.append(Stream(device))
        return self.streams[-1]

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def graph(self, graph, **options):
        self.captures.append(options)
        return Capture(self, options["stream"])


class Capture:
    """As torch.cuda.graph, which stays in its stream if the capture cannot be ended."""

    def __init__(self, cuda, stream):
        self.cuda, self.stream = cuda, stream

    def __enter__(self):
        self.before, self.cuda.current = self.cuda.current, self.stream
        self.cuda.capturing = True

    def __exit__(self, *error):
        self.cuda.capturing = False
        if self.cuda.fails:
            raise RuntimeError("CUDA error: operation failed due to a previous error")
        self.cuda.current = self.before


class Graph:
    def replay(self):
        return "replayed"


@pytest.fixture
def cuda(monkeypatch):
    cuda = Cuda()
    monkeypatch.setattr(torch.cuda, "Stream", cuda.make_stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: cuda.current)
    monkeypatch.setattr(torch.cuda, "stream", cuda.stream)
    monkeypatch.setattr(torch.cuda, "graph", cuda.graph)
    return cuda


def test_row_runs_once_and_is_captured_in_a_stream_of_its_own(cuda):
    done = []

    def row():
        done.append((cuda.current, cuda.capturing, list(cuda.main.waits)))

    replay = GraphRecorder()(row, nullcontext(), DEVICE)
    (stream,) = cuda.streams
    assert stream.device == DEVICE
    assert stream.waits == [cuda.main]  # for what the row reads
    assert done == [(stream, False, []), (stream, True, [stream])]
    assert cuda.current is cuda.main
    assert replay() == "replayed"


def test_all_captures_of_a_recorder_share_a_stream(cuda):
    record = GraphRecorder()
    for _ in range(3):
        record(lambda: None, nullcontext(), DEVICE)
    assert len(cuda.streams) == 1
    assert {capture["stream"] for capture in cuda.captures} == set(cuda.streams)


def test_threads_that_use_the_device_do_not_break_a_capture(cuda):
    GraphRecorder()(lambda: None, nullcontext(), DEVICE)
    assert cuda.captures[0]["capture_error_mode"] == "thread_local"


def test_capture_that_fails_leaves_the_caller_in_its_own_stream(cuda):
    cuda.fails = True
    with pytest.raises(RuntimeError, match="previous error"):
        GraphRecorder()(lambda: None, nullcontext(), DEVICE)
    assert cuda.current is cuda.main


def test_network_is_put_back_after_a_capture_that_fails(cuda):
    cuda.fails, places = True, []

    @contextmanager
    def prepared():
        places.append("in")
        try:
            yield
        finally:
            places.append("out")

    with pytest.raises(RuntimeError):
        GraphRecorder()(lambda: None, prepared(), DEVICE)
    assert places == ["in", "out"]
