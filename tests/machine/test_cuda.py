"""What is asked of CUDA, of drivers and allocators that stand in for real ones."""

import ctypes
import platform

import pytest
import torch

from sdloop.machine.cuda import driver_version, library_versions
from sdloop.machine.device import free_bytes
from sdloop.machine.memory import is_out_of_memory

GB = 10**9


class Management:
    """Stands for NVIDIA's management library."""

    def __init__(self, version=b"580.65.06", refuses=""):
        self.version, self.refuses = version, refuses
        self.began = 0

    def nvmlInit_v2(self):
        self.began += 1
        return 9 if self.refuses == "begin" else 0

    def nvmlSystemGetDriverVersion(self, buffer, length):
        assert length == len(buffer) > len(self.version)
        buffer.value = self.version
        return 9 if self.refuses == "version" else 0

    def nvmlShutdown(self):
        self.began -= 1


@pytest.mark.parametrize(
    ("system", "name"), [("Linux", "libnvidia-ml.so.1"), ("Windows", "nvml.dll")]
)
def test_driver_says_its_version(monkeypatch, system, name):
    library = Management()
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(ctypes, "CDLL", {name: library}.__getitem__)
    assert driver_version() == "580.65.06"
    assert library.began == 0  # and is let go again


@pytest.mark.parametrize("refuses", ["begin", "version"])
def test_driver_that_does_not_answer_has_no_version(monkeypatch, refuses):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Management(refuses=refuses))
    assert driver_version() is None


def test_versions_are_named_as_far_as_they_are_known(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Management())
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91501)
    assert library_versions() == {"cuda": "13.0", "cudnn": "91501", "driver": "580.65.06"}
    monkeypatch.setattr(torch.version, "cuda", None)
    assert library_versions() == {"cudnn": "91501", "driver": "580.65.06"}


def segment(number, pool, total, active):
    return {
        "device": number,
        "segment_pool_id": pool,
        "total_size": total,
        "active_size": active,
        "allocated_size": active,
    }


@pytest.fixture
def memory(monkeypatch):
    """Return a function that gives this machine CUDA devices: free bytes, and what torch holds."""

    def hold(*devices):
        segments = [one for _, held in devices for one in held]
        reserved = [sum(one["total_size"] for one in held) for _, held in devices]

        def number_of(device):
            return device if isinstance(device, int) else device.index or 0

        stand_ins = {
            "device_count": lambda: len(devices),
            "current_device": lambda: 0,
            "memory_snapshot": lambda: segments,
            "memory_reserved": lambda device: reserved[number_of(device)],
            "mem_get_info": lambda device: (devices[number_of(device)][0], 80 * GB),
        }
        for name, stand_in in stand_ins.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)

    return hold


def test_what_a_graph_keeps_is_not_free(memory):
    memory(
        (
            3 * GB,
            [
                segment(0, (0, 0), 2 * GB, GB // 2),
                segment(0, (0, 0), GB, GB),
                segment(0, (0, 1), 5 * GB, 0),  # a captured graph's, between its replays
            ],
        ),
        (7 * GB, [segment(1, (0, 0), 4 * GB, 3 * GB)]),
    )
    assert free_bytes(torch.device("cuda")) == 4.5 * GB
    assert free_bytes(torch.device("cuda:0")) == 4.5 * GB
    assert free_bytes(torch.device("cuda:1")) == 8 * GB


WORDS = (
    "GET was unable to find an engine to execute this computation",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)


@pytest.mark.parametrize("words", WORDS)
def test_words_that_may_mean_much_mean_the_end_of_memory_where_a_device_is_full(memory, words):
    held, error = [segment(0, (0, 0), GB, GB)], RuntimeError(words)
    other = [segment(1, (0, 0), GB, GB)]
    memory((GB, held))
    assert not is_out_of_memory(error)
    memory((10**7, held))
    assert is_out_of_memory(error)
    memory((GB, held), (10**7, other))
    assert is_out_of_memory(error)
    memory((GB, held), (10**7, []))  # full by others; nothing of this process is there
    assert not is_out_of_memory(error)
    memory()
    assert not is_out_of_memory(error)


def test_device_that_no_longer_answers_is_not_full(memory, monkeypatch):
    memory((10**7, [segment(0, (0, 0), GB, GB)]))

    def broken(device):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    assert not is_out_of_memory(RuntimeError(WORDS[1]))
