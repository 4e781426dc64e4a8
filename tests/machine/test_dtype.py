"""In which dtype the networks compute, on CPUs unlike this one too."""

import pytest
import torch

from sdloop.machine.dtype import LARGE_MODEL, choose_dtype, multiplies_bfloat16

CPU = torch.device("cpu")


@pytest.fixture
def cpu(monkeypatch):
    """Return a function that makes this CPU look like another one."""

    def look_like(capabilities, onednn=True, onednn_takes_it=True):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
        operators = torch.ops.mkldnn
        monkeypatch.setattr(operators, "_is_mkldnn_bf16_supported", lambda: onednn_takes_it)

    return look_like


@pytest.mark.parametrize(
    "capabilities",
    [
        {"avx512_f": True, "avx512_bf16": True, "amx_bf16": False},
        {"avx512_f": True, "avx512_bf16": False, "amx_bf16": True},
        {"neon": True, "bf16": True},
    ],
)
def test_bfloat16_is_fast_where_the_cpu_has_instructions_and_onednn_uses_them(cpu, capabilities):
    cpu(capabilities)
    assert multiplies_bfloat16()
    cpu(capabilities, onednn_takes_it=False)
    assert not multiplies_bfloat16()
    cpu(capabilities, onednn=False)
    assert not multiplies_bfloat16()


@pytest.mark.parametrize(
    "capabilities", [{}, {"avx2": True}, {"avx512_f": True, "avx512_bf16": False}]
)
def test_bfloat16_that_onednn_only_emulates_is_not_fast(cpu, capabilities):
    cpu(capabilities)
    assert not multiplies_bfloat16()


def test_bfloat16_is_not_known_to_be_fast_where_torch_does_not_say(cpu, monkeypatch):
    cpu({"avx512_bf16": True})
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not multiplies_bfloat16()


@pytest.mark.parametrize(
    ("fast", "weights", "expected"),
    [
        (True, LARGE_MODEL, torch.bfloat16),
        (True, LARGE_MODEL - 1, torch.float32),
        (False, LARGE_MODEL, torch.float32),
    ],
)
def test_auto_takes_bfloat16_for_large_models_on_cpus_that_are_fast_with_it(
    cpu, fast, weights, expected
):
    cpu({"amx_bf16": fast})
    dtype, why = choose_dtype(CPU, "auto", lambda: weights)
    assert dtype == expected
    assert why.startswith("what auto takes: ")
    name = str(dtype).removeprefix("torch.")  # as a saved config has it
    assert choose_dtype(CPU, name, lambda: weights) == (dtype, why)


def test_auto_counts_weights_only_where_it_matters(cpu):
    def count():
        raise AssertionError

    cpu({})
    assert choose_dtype(CPU, "auto", count)[0] == torch.float32
    cpu({"amx_bf16": True})
    assert choose_dtype(torch.device("cuda"), "auto", count)[0] == torch.float16
    assert choose_dtype(torch.device("mps"), "auto", count)[0] == torch.float32
    cpu({})
    for name in ("float16", "bfloat16"):
        assert choose_dtype(CPU, name, count) == (getattr(torch, name), "the config's")
