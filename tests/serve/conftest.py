"""The server of watch, in this process, and clients that are not browsers."""

import http.client
import json
import time
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit

import pytest

from sdloop.serve.form import Form
from sdloop.serve.server import serving

PATIENCE_S = 90


class Client:
    """Asks the server what a test wants asked, with any headers."""

    def __init__(self, address):
        self.address = urlsplit(address)
        self.token = self.address.query.removeprefix("token=")
        self.netloc = self.address.netloc
        self.cookie = f"sdloop-{self.address.port}={self.token}"

    def ask(self, method, path, body=None, timeout=PATIENCE_S, **headers):
        """Return (status, headers, body)."""
        with self.connection(timeout) as connection:
            sent = {"cookie": self.cookie, "content-type": "application/json"}
            sent |= {key.replace("_", "-"): value for key, value in headers.items()}
            sent = {key: value for key, value in sent.items() if value is not None}
            text = json.dumps(body) if isinstance(body, dict) else body
            connection.request(method, path, text, sent)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    @contextmanager
    def connection(self, timeout=PATIENCE_S):
        connection = http.client.HTTPConnection(self.netloc, timeout=timeout)
        try:
            yield connection
        finally:
            connection.close()

    def run(self, start=None, **values):
        """Ask for a run; keys with "__" for a dot. Return (status, answer)."""
        values = {key.replace("__", "."): str(value) for key, value in values.items()}
        status, _, body = self.ask("POST", "/runs", {"values": values, "start": start})
        return status, json.loads(body)

    @contextmanager
    def events(self):
        """Yield an iterator over (name, data) of the stream."""
        with self.connection() as connection:
            connection.request("GET", "/events", headers={"cookie": self.cookie})
            answer = connection.getresponse()
            assert answer.status == 200

            def read():
                name = ""
                while line := answer.readline().decode():
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ").strip()
                    elif line.startswith("data: "):
                        yield name, json.loads(line.removeprefix("data: "))

            yield read()

    def states(self):
        """Return each run's state by name."""
        with self.events() as events:
            for name, data in events:
                if name == "jobs":
                    return {job["name"]: job["state"] for job in data}
        raise AssertionError("the stream ended")

    def wait_for(self, state, count=1):
        """Wait until so many runs are in a state; return all states."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            states = self.states()
            if list(states.values()).count(state) >= count:
                return states
            time.sleep(0.1)
        raise TimeoutError(f"no {state}: {states}")

    def settle(self):
        """Stop what is under way, empty the queue, and wait until nothing runs."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            left = [
                name
                for name, state in self.states().items()
                if state in ("waiting", "running", "stopping")
            ]
            if not left:
                return
            for name in reversed(left):
                self.ask("POST", f"/runs/{name}/stop", {})
            time.sleep(0.1)


@contextmanager
def served(config, runs, *overrides, host="127.0.0.1"):
    """Serve a config with runs in a folder; yield a client."""
    overrides = ("export.stages=null", "export.formats=webp", *overrides)
    with serving(Form(config, overrides, runs), host) as address:
        client = Client(address)
        try:
            yield client
        finally:
            client.settle()


@pytest.fixture
def serve(tiny_config, tmp_path):
    """Return a function that serves the tiny config, with runs in tmp_path."""
    return partial(served, tiny_config, tmp_path / "runs")


@pytest.fixture
def client(serve):
    """Return a client of a server."""
    with serve() as client:
        yield client
