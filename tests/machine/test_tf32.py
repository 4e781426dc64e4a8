"""TF32 is off within a block, and what the caller had set is back afterwards."""

import threading

import pytest
import torch

from sdloop.machine.tf32 import full_float32

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
CUDNN, PRODUCTS = torch.backends.cudnn, torch.backends.cuda.matmul
OF_CPU = torch.backends.mkldnn.matmul


def said(read):
    """Return a setting; "mixed" where torch refuses, as it was set in the old and the new way."""
    try:
        return read()
    except RuntimeError:
        return "mixed"


def settings():
    return {
        "convolutions": CUDNN.conv.fp32_precision,
        "recurrent": CUDNN.rnn.fp32_precision,
        "products": PRODUCTS.fp32_precision,
        "products of the CPU": OF_CPU.fp32_precision,
        "all": torch.backends.fp32_precision,
        "convolutions, the old way": said(lambda: CUDNN.allow_tf32),
        "products, the old way": said(lambda: PRODUCTS.allow_tf32),
        "products, by name": said(torch.get_float32_matmul_precision),
    }


@pytest.fixture(autouse=True)
def as_torch_begins():
    """Give torch's own settings back after each test."""
    yield
    torch.backends.fp32_precision = CUDNN.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    PRODUCTS.fp32_precision = OF_CPU.fp32_precision = "none"
    CUDNN.allow_tf32 = True
    assert settings()["convolutions"] == "tf32"


CALLERS = {
    "torch's own": lambda: None,
    "off": lambda: setattr(CUDNN, "allow_tf32", False),
    "products too": lambda: setattr(PRODUCTS, "allow_tf32", True),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "the new way": lambda: setattr(PRODUCTS, "fp32_precision", "tf32"),
    "all, the new way": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "off, mixed": lambda: setattr(CUDNN.conv, "fp32_precision", "ieee"),
    "on, mixed": lambda: setattr(CUDNN.rnn, "fp32_precision", "ieee"),
}


@pytest.mark.parametrize("caller", CALLERS)
def test_tf32_is_off_within_the_block_and_as_the_caller_had_it_after(caller):
    CALLERS[caller]()
    before = settings()
    with full_float32(CUDA):
        within = settings()
    assert settings() == before
    assert "tf32" not in (within["convolutions"], within["products"])
    if "mixed" not in before.values() and before["all"] == "none":  # torch.compile asks these
        assert within["convolutions, the old way"] is False
        assert within["products, the old way"] is False
        assert within["products, by name"] == "highest"


def test_error_in_the_block_gives_the_setting_back_too():
    before = settings()
    with pytest.raises(KeyError), full_float32(CUDA):
        raise KeyError
    assert settings() == before


def test_other_devices_change_nothing():
    before = settings()
    with full_float32(CPU):
        assert settings() == before


def test_blocks_that_overlap_in_threads_give_back_what_the_first_one_found():
    before, inside, leave = settings(), threading.Event(), threading.Event()

    def hold():
        with full_float32(CUDA):
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=hold)
    with full_float32(CUDA):
        other.start()
        assert inside.wait(10)
        with full_float32(CUDA):
            pass
        assert settings()["convolutions"] == "ieee"
    assert settings()["convolutions"] == "ieee"  # the other thread still needs it
    leave.set()
    other.join()
    assert settings() == before
