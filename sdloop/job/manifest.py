"""What a run was made with: versions, device, weights, times."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdloop.machine.cuda import library_versions
from sdloop.machine.device import name_of
from sdloop.machine.documents import parse_json, read_file
from sdloop.machine.files import replacing

if TYPE_CHECKING:
    from sdloop.job.plan import Plan
    from sdloop.job.present import Shown

FORMAT_VERSION = 1
PACKAGES = ("sdloop", "torch", "transformers", "diffusers", "numpy", "imageio", "pillow")


def made_with(plan: Plan, weights_sha256: Mapping[str, str]) -> dict[str, Any]:
    """Return what the bytes of a run depend on apart from its config.

    Args:
        plan: The run's.
        weights_sha256: Hashes of the weight files, by name.

    Returns:
        Plain values: versions, the device's name, the weights.
    """
    import torch

    on_cuda = plan.device.type == "cuda"
    name = torch.cuda.get_device_name(plan.device) if on_cuda else ""
    versions = {package: metadata.version(package) for package in PACKAGES}
    if on_cuda:  # its libraries choose the kernels
        versions |= library_versions()
    return {
        "versions": {"python": platform.python_version(), **versions},
        "device_name": name or platform.processor() or platform.machine(),
        "weights_sha256": dict(weights_sha256),
    }


def write_manifest(
    path: Path,
    plan: Plan,
    made_with: Mapping[str, Any],
    timings_ms: Mapping[str, float],
    shown: Shown,
) -> None:
    """Write the manifest.

    Args:
        path: The JSON file.
        plan: The run's.
        made_with: What the function `made_with` returned.
        timings_ms: Time of each stage.
        shown: The run's pictures and measures.
    """
    import torch

    facts = {
        "format_version": FORMAT_VERSION,
        **made_with,
        "platform": platform.platform(),
        "device": str(plan.device),
        "dtype": name_of(plan.dtype),
        "dtype_why": plan.dtype_why,
        "threads": torch.get_num_threads(),
        "seeds": [plan.config.seed],
        "rows": len(plan.table),
        "start": plan.config.start.model_dump(),
        "model": plan.config.model,
        **_facts_of(shown),
        "timings_ms": dict(timings_ms),
    }
    _write(path, facts)


def update_manifest(path: Path, shown: Shown) -> None:
    """Update the measures in a manifest that `write_manifest` wrote.

    Args:
        path: The JSON file; if it does not exist, nothing happens.
        shown: The run's pictures and measures, made again.

    Raises:
        UserError: The file is not a JSON object.
    """
    if path.exists():
        facts = parse_json(read_file(path, str(path)), f"{path}:")
        _write(path, facts | _facts_of(shown))


def _facts_of(shown: Shown) -> dict[str, Any]:
    """Return the entries that follow from the pictures."""
    return {
        "measures": shown.measures.facts(),
        "difference_maps": asdict(shown.precision),
        "same_again": asdict(shown.same_again),
        "z0_hat": shown.z0_hat_facts,
    }


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    """Write the file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
