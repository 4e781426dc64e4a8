"""What the machine multiplies fast: the device, and the precision of convolutions on it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch

from sdloop.machine.dtype import multiplies_bfloat16


@dataclass(frozen=True)
class Machine:
    """Where training runs.

    Attributes:
        device: the CPU or a GPU.
        half: bfloat16 where it is fast, else None: everything stays float32.
    """

    device: torch.device
    half: torch.dtype | None

    def autocast(self) -> contextlib.AbstractContextManager:
        """Run the networks in the fast precision; weights and gradients stay float32."""
        if self.half is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.half)


def choose_machine(asked: str = "auto") -> Machine:
    """The GPU if there is one, else the CPU.

    Args:
        asked: auto, cpu or cuda.
    """
    kind = asked
    if asked == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Denormals, which early momentum is full of, multiply a hundred times more slowly.
        torch.set_flush_denormal(True)
        fast = multiplies_bfloat16()
    return Machine(torch.device(kind), torch.bfloat16 if fast else None)
