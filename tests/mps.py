"""A stand-in for Apple's GPUs (mps): tensors that refuse what these refuse, held on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

MPS = torch.device("mps")


class OnMps(Tensor):
    """A tensor that says it is on mps; float64, other devices' tensors and NumPy are refused."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: MPS)

    @staticmethod
    def __new__(cls, held):
        if held.dtype in (torch.float64, torch.complex128):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype,
            storage_offset=held.storage_offset(),
        )  # fmt: skip

    def __init__(self, held):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        leaves = tree_leaves((args, kwargs))
        for tensor in leaves:
            if isinstance(tensor, Tensor) and not isinstance(tensor, OnMps) and tensor.ndim > 0:
                raise RuntimeError(f"{func}: Expected all tensors to be on the same device")
        if func is torch.ops.aten._adaptive_avg_pool2d.default:
            sides, cells = leaves[0].shape[-2:], args[1]
            if any(side % count for side, count in zip(sides, cells, strict=True)):
                raise RuntimeError("Adaptive pool MPS: input sizes must be divisible by output")
        return tree_map(_wrap, func(*tree_map(_held, args), **tree_map(_held, kwargs or {})))


class Mps(TorchFunctionMode):
    """Within it, tensors are made on "mps" and moved there and back as on a Mac."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is Tensor.numpy and isinstance(args[0], OnMps):
            raise TypeError("can't convert mps:0 device type tensor to numpy")
        if func is Tensor.cpu:
            return _held(args[0])
        if func is Tensor.to:
            return _move(*args, **kwargs)
        if _names_mps(kwargs.get("device")):
            return _wrap(func(*args, **{**kwargs, "device": "cpu"}))
        return func(*args, **kwargs)


def _move(tensor, *args, **kwargs):
    """Do what Tensor.to does, between the CPU and the stand-in."""
    goals = [*args, *kwargs.values()]
    dtype = next((goal for goal in goals if isinstance(goal, torch.dtype)), None)
    device = next((goal for goal in goals if isinstance(goal, torch.device | str)), None)
    for like in (goal for goal in goals if isinstance(goal, Tensor)):
        dtype, device = like.dtype, like.device
    if dtype is not None:  # cast before the move: torch does not promise the other order
        tensor = tensor.type(dtype)
    if device is None:
        return tensor
    return _wrap(_held(tensor)) if _names_mps(device) else _held(tensor)


def _names_mps(device):
    return device is not None and torch.device(device).type == "mps"


def _held(value):
    return value.held if isinstance(value, OnMps) else value


def _wrap(value):
    return OnMps(value) if isinstance(value, Tensor) and not isinstance(value, OnMps) else value
