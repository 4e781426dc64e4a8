"""Work on independent frames in one thread a core: NumPy and Pillow let go of the GIL."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function to all items at once; yield the results in the items' order.

    Args:
        function: Called from several threads.
        items: Taken in order as fast as they come, also from another `in_threads`.

    Yields:
        One result an item.
    """
    with ThreadPoolExecutor(_cores()) as pool:
        yield from pool.map(function, items)


def _cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
