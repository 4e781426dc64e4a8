"""Which dtype the networks of a run compute in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LARGE_MODEL = 100_000_000  # weights; Stable Diffusion has 1,000 million, the bundled model 18


def choose_dtype(
    device: torch.device, name: str, count_weights: Callable[[], int]
) -> tuple[torch.dtype, str]:
    """Turn the config's name of a dtype into a dtype.

    "auto" takes float16 on CUDA. On a CPU it takes bfloat16 for a large model where the CPU
    multiplies it fast, and float32 otherwise, as on Apple's mps. Latents and the sampler's sums are
    float32 in any case, and `job/precision.py` says in what frames are decoded.

    Args:
        device: Of the networks.
        name: A dtype's name, or "auto".
        count_weights: Counts the model's weights; called only where it matters.

    Returns:
        The dtype, and why, in a few words: the same for "auto" and for the name of what it takes,
        which a run's saved config has.

    Raises:
        UserError: The weights cannot be counted.
    """
    import torch

    taken, why = _auto(device, count_weights)
    if name in ("auto", str(taken).removeprefix("torch.")):
        return taken, f"what auto takes: {why}"
    return getattr(torch, name), "the config's"


def _auto(device: torch.device, count_weights: Callable[[], int]) -> tuple[torch.dtype, str]:
    """Choose a dtype, and say why."""
    import torch

    if device.type == "cuda":
        return torch.float16, "on CUDA"
    if device.type != "cpu":
        return torch.float32, f"on {device.type}"
    if not multiplies_bfloat16():
        return torch.float32, "this CPU has no fast bfloat16"
    millions = f"{LARGE_MODEL // 10**6} million weights"
    if count_weights() < LARGE_MODEL:
        return torch.float32, f"a model of less than {millions} gains little by bfloat16"
    return torch.bfloat16, f"a CPU with fast bfloat16, and a model of {millions} or more"


def multiplies_bfloat16() -> bool:
    """Tell whether the CPU multiplies bfloat16, and torch makes use of it.

    oneDNN alone does not tell: it takes bfloat16 on any CPU with AVX-512, and converts it to
    float32 and back where the CPU has neither AVX512-BF16 nor AMX.
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return False
    # names as torch documents them: x86 has avx512_bf16 and amx_bf16, ARM has bf16 and sve_bf16
    has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and any(
        has.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
    )
