"""The server as a thread: opened, asked for its address, closed."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from sdloop.job.occupancy import occupy
from sdloop.machine.errors import UserError
from sdloop.serve.app import make_app
from sdloop.serve.desk import Desk
from sdloop.serve.form import Form
from sdloop.serve.guard import Guard
from sdloop.serve.stream import Bell

MOST_REQUESTS = 128  # at once, open streams among them
FAREWELL_S = 2


@contextmanager
def serving(form: Form, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve the page while the block runs.

    Args:
        form: Reads what was typed; names the folder of the runs.
        host: The name or address to listen to.
        port: The port; 0 takes a free one.

    Yields:
        The address, with its token.

    Raises:
        UserError: Nothing can listen there, or another server has the folder of the runs.
    """
    with occupy(form.runs, "--runs"):
        yield from _serving(form, host, port)


def _serving(form: Form, host: str, port: int) -> Iterator[str]:
    """Serve in a folder that is this process's; as `serving`."""
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    token, bell = secrets.token_urlsafe(24), Bell()
    desk = Desk(form.runs, bell.ring)
    app = Guard(make_app(form, desk, bell), token, lambda: port, host)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            limit_concurrency=MOST_REQUESTS,
            timeout_graceful_shutdown=FAREWELL_S,
        )
    )
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
        yield f"http://{shown}:{port}/?token={token}"
    finally:
        desk.close()
        server.should_exit = True
        thread.join(2 * FAREWELL_S)
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    """Open the port; from here on browsers may knock."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port}: cannot listen there: {error}") from None
