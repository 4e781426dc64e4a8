"""Work on independent frames in one thread per core: NumPy and Pillow release the GIL."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

AHEAD = 2  # items per thread that are started before the first result is taken

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers(Generic[Item, Result]):
    """Threads that apply a function to items as they come, and return results in the same order.

    Only a few items and results are held at a time, however many there are.
    """

    def __init__(self, function: Callable[[Item], Result], threads_per_core: int = 1) -> None:
        """Take the function, which is called from several threads.

        More threads than cores help if the function holds the GIL part of the time.
        """
        threads = threads_per_core * usable_cores()
        self._function, self._most = function, AHEAD * threads
        self._pool = ThreadPoolExecutor(threads)
        self._begun: deque[Future[Result]] = deque()

    def put(self, item: Item) -> list[Result]:
        """Start an item; once enough are started, wait for the oldest result and return it."""
        self._begun.append(self._pool.submit(self._function, item))
        if len(self._begun) < self._most:
            return []
        return [self._begun.popleft().result()]

    def rest(self) -> Iterator[Result]:
        """Yield the results that `put` has not returned, waiting for each."""
        while self._begun:
            yield self._begun.popleft().result()

    def stop(self) -> None:
        """Cancel the items that have not started, and wait for the others."""
        self._pool.shutdown(cancel_futures=True)
        self._begun.clear()


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function to several items at once; yield the results in the items' order.

    Args:
        function: Called from several threads.
        items: Taken in order, each when a thread is free for it; may be another `in_threads`.

    Yields:
        One result per item.
    """
    workers = Workers(function)
    try:
        for item in items:
            yield from workers.put(item)
        yield from workers.rest()
    finally:
        workers.stop()


def keep_to_one_core() -> None:
    """Let torch compute on one core in the calling thread, from now on; other threads keep theirs.

    Every thread has a team of its own, of as many threads as there are cores; teams that take turns
    on the same cores wait for each other.
    """
    import torch

    team = torch.get_num_threads()
    torch.set_num_threads(1)
    # a thread that has not computed yet takes the number that was set last, by whichever thread
    last = threading.Thread(target=torch.set_num_threads, args=(team,))
    last.start()
    last.join()


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux and some others
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
