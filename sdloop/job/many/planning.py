"""What is decided where runs are made, as it depends on device and memory: devices and batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdloop.job.plan import Plan, Prepared, settle


def settle_all(prepared: Sequence[Prepared]) -> list[Plan]:
    """Choose device and dtype of every run; see `settle`."""
    return [settle(one) for one in prepared]


def batches_of(
    plans: Sequence[Plan], together: int | None = None, workers: int = 1, beside: int = 1
) -> list[list[Plan]]:
    """Group runs that can share calls of the network into batches.

    Args:
        plans: The runs'.
        together: The largest batch; None lets the memory decide.
        workers: How many batches are made at once: with fewer than that, large ones are halved.
        beside: How many of them share this machine's memory.

    Returns:
        The batches; those of one model follow each other.
    """
    from sdloop.job.many.batch import calls_alike, largest_together, loads_alike

    kinds: dict[tuple[object, ...], dict[tuple[object, ...], list[Plan]]] = {}
    for plan in plans:
        kinds.setdefault(loads_alike(plan), {}).setdefault(calls_alike(plan), []).append(plan)
    batches = []
    for alike in (alike for model in kinds.values() for alike in model.values()):
        size = together or largest_together(alike[0], beside)
        count = -(-len(alike) // size)
        size = -(-len(alike) // count)  # as few batches as possible, evenly filled
        batches += [alike[start : start + size] for start in range(0, len(alike), size)]
    while 0 < len(batches) < min(workers, len(plans)):
        largest = max(range(len(batches)), key=lambda index: len(batches[index]))
        batch, half = batches[largest], (len(batches[largest]) + 1) // 2
        batches[largest : largest + 1] = [batch[:half], batch[half:]]
    return batches


def facts_of(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """Return what each run would be made with today; see `made_with`.

    Args:
        plans: The runs'; those that are alike share one answer.
    """
    from sdloop.job.manifest import made_with
    from sdloop.job.many.batch import loads_alike
    from sdloop.model.fetch import fetch_weights
    from sdloop.model.weight_files import hash_weights

    facts: dict[tuple[object, ...], dict[str, Any]] = {}
    for plan in plans:
        key = loads_alike(plan)
        if key not in facts:
            fetch_weights(plan.source, plan.half)
            facts[key] = made_with(plan, hash_weights(plan.source, plan.half))
    return [facts[loads_alike(plan)] for plan in plans]
