"""Weights small enough for the repository: averages, in eight bits or as coarse differences.

The optimiser's memory and the last bits of the weights are lost: training that goes on from them
lets the rate rise anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTokenizer

Weights = dict[str, torch.Tensor]
LEVELS = 127
# Differences keep nine levels within three standard deviations of their row: compressed, as git
# does, they take a third of what eight bits take.
DIFFERENCE_LEVELS, DIFFERENCE_REACH = 4, 3.0
SCALE = ".scale"  # ends the name of a weight's scales


def to_small(weights: Weights, base: Weights | None = None) -> Weights:
    """Round weights to int8, each row by its own scale; what has one dimension becomes float16.

    Args:
        weights: float32.
        base: weights of the same shapes, of which only the differences are kept.
    """
    small = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            small[name] = weight.half()
            continue
        if base is None:
            levels, rows = LEVELS, weight.flatten(1)
            reach = rows.abs().amax(1)
        else:
            levels, rows = DIFFERENCE_LEVELS, (weight - base[name]).flatten(1)
            reach = DIFFERENCE_REACH * rows.square().mean(1).sqrt()
        scale = reach.clamp(min=1e-12) / levels
        rounded = (rows / scale[:, None]).round().clamp(-levels, levels)
        small[name] = rounded.to(torch.int8).view(weight.shape).contiguous()
        small[name + SCALE] = scale
    return small


def from_small(small: Weights, base: Weights | None = None) -> Weights:
    """The weights of `to_small`, float32."""
    weights = {}
    for name, values in small.items():
        if name + SCALE in small:
            scale = small[name + SCALE].view(-1, *[1] * (values.ndim - 1))
            weights[name] = values.float() * scale
            if base is not None:
                weights[name] += base[name]
        elif not name.endswith(SCALE):
            weights[name] = values.float()
    return weights


def write_small(
    path: Path,
    module: nn.Module,
    samples: int,
    tokenizer: CLIPTokenizer | None = None,
    base: Weights | None = None,
) -> None:
    """Write a module, the samples it has seen and, of a denoiser, the words it knows."""
    facts = {"samples": str(samples)}
    if tokenizer is not None:
        known = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        facts["words"] = json.dumps(known)
    save_file(to_small(module.state_dict(), base), path, facts)


def load_small(path: Path) -> Weights:
    """The weights that `write_small` wrote without a base."""
    return from_small(load_file(path))


def read_small(
    path: Path,
    module: nn.Module,
    tokenizer: CLIPTokenizer | None = None,
    base: Weights | None = None,
) -> int:
    """Fill a module from what `write_small` wrote, with the same base.

    Returns:
        The samples that it has seen.

    Raises:
        ValueError: the captions have other words now.
    """
    with safe_open(path, "pt") as file:
        facts = file.metadata()
        if tokenizer is not None and dict(json.loads(facts["words"])) != tokenizer.get_vocab():
            raise ValueError(f"{path} was trained with other words than scene/captions.py has now")
        small = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    module.load_state_dict(from_small(small, base))
    return int(facts["samples"])
