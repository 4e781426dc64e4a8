"""What a network holds at once, counted by running it on tensors that have no memory.

torch's fake tensors have a shape, strides and a device, but no numbers. A network that runs on them
calls the same operations in the same order as on real ones, and its storages are born and freed at
the same moments. So the count holds for any network; for Stable Diffusion's UNet it takes about a
second. What a kernel takes for itself no operation shows; where it is as large as the tensors, and
known, it is added.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

MARGIN = 1.15  # over what is counted: smaller workspaces, alignment
CONVOLUTION = torch.ops.aten.convolution.default
GROUP_NORM = torch.ops.aten.native_group_norm.default


@dataclass(frozen=True)
class Held:
    """What a call of a network holds beside its weights and its inputs.

    Attributes:
        peak_bytes: At its fullest, in the dtypes that it computes in.
        widest: Elements of its largest tensor.
    """

    peak_bytes: int
    widest: int

    @property
    def needed_bytes(self) -> int:
        """Return what should be there for the call: its peak, with a margin."""
        return int(MARGIN * self.peak_bytes)


def count(
    network: nn.Module,
    call: Callable[..., object],
    *inputs: object,
    dtype: torch.dtype,
    device_type: str = "cpu",
    **named: object,
) -> Held:
    """Count what a call of a network holds. Nothing is computed, and no weights are needed.

    Attention counts as what it is on every device, without a matrix of all pixel pairs (Dao et al.
    2022, arXiv:2205.14135).

    Args:
        network: Any network, made on the meta device; in eval mode afterwards.
        call: The network, one of its methods, or a function that calls it.
        *inputs: What it is called with, on the meta device, in the dtypes of the real call.
        dtype: Of the network's weights.
        device_type: Where the real call runs. Every other device than "cpu" counts as CUDA.
        **named: More inputs, by name.

    Returns:
        What the call holds at its fullest.
    """
    mode, caller = FakeTensorMode(), _Caller(network, call).eval()
    # inference mode hides the operations that others are made of
    with torch.inference_mode(False), torch.no_grad():
        outlines = {**dict(caller.named_parameters()), **dict(caller.named_buffers())}
        weights: dict[str, Tensor] = {
            name: _faked(mode, _laid_out(each, dtype)) for name, each in outlines.items()
        }
        given, also = tree_map_only(Tensor, partial(_faked, mode), (inputs, named))
        known = [*weights.values(), *tree_leaves((given, also))]
        with mode, _LiveStorages(known, device_type != "cpu") as live:
            torch.func.functional_call(caller, weights, given, also)
    return Held(live.peak_bytes, live.widest)


class _Caller(nn.Module):
    """Holds a network and calls it, so that any method of it may run on other weights."""

    def __init__(self, network: nn.Module, call: Callable[..., object]) -> None:
        """Keep both."""
        super().__init__()
        self.network = network
        self._call = partial(call)  # a module here would be a second owner of its weights

    def forward(self, *inputs: Tensor, **named: Tensor) -> object:
        """Pass the inputs on."""
        return self._call(*inputs, **named)


class _LiveStorages(TorchDispatchMode):
    """Sees every tensor as it is made, and hears when the last one on its storage goes."""

    def __init__(self, known: Iterable[object], on_cuda: bool) -> None:
        """Count from nothing; storages that are known already weigh nothing."""
        super().__init__()
        self.peak_bytes = self.widest = self._now = 0
        self._sizes = {
            each.untyped_storage()._cdata: 0 for each in known if isinstance(each, Tensor)
        }
        self._on_cuda = on_cuda

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        """Run an operation and add what it made."""
        output, taken_bytes = func(*args, **(kwargs or {})), 0
        if func in (CONVOLUTION, GROUP_NORM):
            output, taken_bytes = _run_kernel(func, args, output, self._on_cuda)
        for each in output if isinstance(output, tuple | list) else (output,):
            if isinstance(each, Tensor):
                self._add(each)
        self.peak_bytes = max(self.peak_bytes, self._now + taken_bytes)
        return output

    def _add(self, tensor: Tensor) -> None:
        """Add a tensor's storage, unless it was there before."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._sizes:
            self._sizes[key] = size
            self._now += size
            self.widest = max(self.widest, tensor.numel())
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        """Take a storage that was freed off."""
        self._now -= self._sizes.pop(key)


def _run_kernel(func: object, args: Sequence[Any], output: Any, on_cuda: bool) -> tuple[Any, int]:  # noqa: ANN401 - a tensor or several
    """Return what a kernel gives, in the layout that it gives, and the bytes it takes meanwhile.

    Convolutions want the channels innermost, as their weights have them. On CUDA, up to torch 2.13,
    group norm wants them outermost and gives them so (its issue 111824). On a CPU oneDNN copies a
    convolution's weights into a layout of its own, in each call; where it has no kernel for half
    precision, torch's own unfolds the input, each pixel with all those around it.
    """
    inputs, weight = args[:2]
    if func is GROUP_NORM:
        if not on_cuda:
            return output, 0
        return (output[0].contiguous(), *output[1:]), _copied(inputs, torch.contiguous_format)
    copied = _copied(inputs, torch.channels_last)
    if on_cuda:
        return output, copied
    if _has_kernel(output.dtype):
        return output, copied + weight.nbytes
    return output, copied + output.nbytes // len(weight) * prod(weight.shape[1:])


def _copied(inputs: Tensor, wanted: torch.memory_format) -> int:
    """Return the bytes of the copy that a kernel makes of an input in another layout."""
    return 0 if inputs.is_contiguous(memory_format=wanted) else inputs.nbytes


def _has_kernel(dtype: torch.dtype) -> bool:
    """Tell whether oneDNN has kernels of this dtype for this processor."""
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype != torch.float16 or torch.ops.mkldnn._is_mkldnn_fp16_supported()


def _laid_out(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Give a weight the dtype and the layout that the loader gives it."""
    weight = weight.detach()
    if weight.is_floating_point():
        weight = weight.to(dtype)
    return weight.to(memory_format=torch.channels_last) if weight.dim() == 4 else weight


def _faked(mode: FakeTensorMode, outline: Tensor) -> FakeTensor:
    """Let a tensor of the meta device pass for one of the CPU."""
    return FakeTensor(mode, outline, torch.device("cpu"))
