"""Work on independent frames in one thread a core: NumPy and Pillow let go of the GIL."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 2  # items a core that are begun before the first result is taken

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function to several items at once; yield the results in the items' order.

    Only a few items and results are held at a time, however many there are.

    Args:
        function: Called from several threads.
        items: Taken in order, when there is a thread for them; also from another `in_threads`.

    Yields:
        One result an item.
    """
    cores = usable_cores()
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) == AHEAD * cores:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
