"""Ray, for as long as a command runs: started here, or joined where it runs already."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sdloop.machine.errors import UserError, reason_of

STORE_BYTES = 100 * 2**20  # plans and outcomes are small; Ray would take a third of the memory


@contextmanager
def ray_running(address: str | None) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine and stop it afterwards.

    Args:
        address: Of a cluster that is running: "host:port", "ray://host:port" or "auto"; None
            starts one.

    Raises:
        UserError: Ray is not installed, or the address does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # of 15 by Ray, which other work starves
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray: needs Ray; pip install 'sdloop[ray]'") from None
    own = {"include_dashboard": False, "object_store_memory": STORE_BYTES} if not address else {}
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        what = f"--address {address}" if address else "--engine ray"
        raise UserError(f"{what}: no Ray to work with: {reason_of(error)}") from None
    if in_main:
        signal.signal(signal.SIGTERM, handler)  # Ray puts its own in its place
    try:
        yield
    finally:
        ray.shutdown()
