"""A checkpoint small enough for the repository: the averaged weights in eight bits.

The optimiser's memory and the last bits of the weights are lost: training that goes on from it lets
the rate rise anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from .networks import Denoiser

LEVELS = 127
SCALE = ".scale"  # ends the name of a weight's scales


def to_small(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Round weights to int8, each row by its own scale; what has one dimension becomes float16."""
    small = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            small[name] = weight.half()
            continue
        scale = weight.flatten(1).abs().amax(1).clamp(min=1e-12) / LEVELS
        small[name] = (weight / _by_row(scale, weight)).round().to(torch.int8).contiguous()
        small[name + SCALE] = scale
    return small


def from_small(small: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of `to_small`, float32."""
    weights = {}
    for name, values in small.items():
        if name + SCALE in small:
            weights[name] = values.float() * _by_row(small[name + SCALE], values)
        elif not name.endswith(SCALE):
            weights[name] = values.float()
    return weights


def _by_row(scale: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Shape one scale a row to go with all of the row."""
    return scale.view(-1, *[1] * (values.ndim - 1))


def write_small(path: Path, denoiser: Denoiser, tokenizer: CLIPTokenizer, samples: int) -> None:
    """Write a denoiser, the words it knows and the samples it has seen."""
    words = json.dumps(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    save_file(to_small(denoiser.state_dict()), path, {"words": words, "samples": str(samples)})


def read_small(path: Path, denoiser: Denoiser, tokenizer: CLIPTokenizer) -> int:
    """Fill a denoiser from what `write_small` wrote.

    Returns:
        The samples that it has seen.

    Raises:
        ValueError: the captions have other words now.
    """
    with safe_open(path, "pt") as file:
        facts = file.metadata()
        if dict(json.loads(facts["words"])) != tokenizer.get_vocab():
            raise ValueError(f"{path} was trained with other words than scene/captions.py has now")
        weights = from_small({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    denoiser.load_state_dict(weights)
    return int(facts["samples"])
