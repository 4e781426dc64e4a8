"""Attacks on the server of watch: who may ask it anything."""

import json
import socket
import time

import pytest

from sdloop.serve.guard import LARGEST_BODY_BYTES
from tests.serve.conftest import served


@pytest.fixture(scope="module")
def server(model_folder, tmp_path_factory):
    """Return a client of a server that all attacks share, and its folder."""
    folder = tmp_path_factory.mktemp("guard")
    config = folder / "tiny.yaml"
    config.write_text(f"prompt: a cat\nmodel: {model_folder}\nscheduler: {{num_steps: 3}}\n")
    with served(config, folder / "runs") as client:
        yield client, folder


@pytest.fixture
def client(server):
    """Return the client; an attack must leave no run behind."""
    client, _ = server
    client.settle()
    return client


RUN = {"values": {"prompt": "a dog"}, "start": None}


def test_the_address_with_its_token_opens_the_page(client):
    status, headers, _ = client.ask("GET", f"/?token={client.token}", cookie=None)
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    status, headers, body = client.ask("GET", "/", cookie=cookie.partition(";")[0])
    assert status == 200
    assert b"<title>Watch" in body
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert client.token.encode() not in body


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/events"), ("POST", "/runs"), ("GET", "/runs/a/index.html"),
     ("POST", "/runs/a/stop"), ("GET", "/nothing")],
)  # fmt: skip
def test_without_the_token_nothing_is_said(client, method, path):
    before = client.states()
    for cookie in (None, "sdloop-1=x", f"sdloop-{client.address.port}=wrong"):
        status, _, body = client.ask(method, path, RUN, cookie=cookie)
        assert status == 403
        assert b"open the address" in body
    assert client.ask("GET", "/?token=wrong", cookie=None)[0] == 403
    assert client.ask(method, f"{path}?token={client.token}x", RUN, cookie=None)[0] == 403
    assert client.states() == before


def test_the_token_counts_in_the_address_of_the_page_alone(client):
    status, _, _ = client.ask("POST", f"/runs?token={client.token}", RUN, cookie=None)
    assert status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "",
             "evil.example:{port}", "[::1", "127.0.0.1:{port}:x", "0x7f000001:{port}"]
)  # fmt: skip
def test_another_host_is_refused(client, host):
    host = host.format(port=client.address.port)
    status, _, body = client.ask("GET", "/", host=host)
    assert (status, body) == (400, b"this is not the server's address\n")
    assert client.ask("GET", f"/?token={client.token}", host=host)[0] == 400


def test_the_names_of_this_machine_are_its_address(client):
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert client.ask("GET", "/", host=f"{name}:{client.address.port}")[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1",
               "http://127.0.0.1:{port}.evil.example", "http://user@evil.example:{port}"]
)  # fmt: skip
def test_another_origin_is_refused(client, origin):
    before = client.states()
    origin = origin.format(port=client.address.port)
    for method, path in (("POST", "/runs"), ("GET", "/events"), ("GET", "/")):
        assert client.ask(method, path, RUN, origin=origin)[0] == 403
    assert client.states() == before


def test_its_own_origin_is_let_through(client):
    own = f"http://{client.netloc}"
    assert client.ask("POST", "/runs", RUN, origin=own)[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_names_another_site_is_refused(client, site):
    assert client.ask("POST", "/runs", RUN, sec_fetch_site=site)[0] == 403
    assert client.ask("GET", "/events", sec_fetch_site=site)[0] == 403
    assert client.ask("GET", "/runs/a/index.html", sec_fetch_site=site)[0] == 403
    # a link to the page may stand anywhere: a browser sends it no cookie from there
    assert client.ask("GET", f"/?token={client.token}", sec_fetch_site=site)[0] == 303


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_what_a_form_of_another_page_could_send_is_refused(client, kind):
    assert client.ask("POST", "/runs", json.dumps(RUN), content_type=kind)[0] == 415


def test_a_huge_body_is_refused_before_it_is_read(client):
    huge = json.dumps({"values": {"prompt": "a" * LARGEST_BODY_BYTES}})
    assert client.ask("POST", "/runs", huge)[0] == 413
    lie = f"{10**9}"
    assert client.ask("POST", "/runs", "{}", content_length=lie)[0] == 413


def test_a_huge_body_that_hides_its_size_is_refused(client):
    with client.connection() as connection:
        connection.putrequest("POST", "/runs")
        for header in (
            ("cookie", client.cookie),
            ("content-type", "application/json"),
            ("transfer-encoding", "chunked"),
        ):
            connection.putheader(*header)
        connection.endheaders()
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        connection.send(chunk + chunk)
        assert connection.getresponse().status == 413


def test_a_huge_prompt_is_refused_by_name(client):
    status, answer = client.run(prompt="a" * 10_001)
    assert status == 422
    assert answer["key"] == "prompt"
    assert "10000" in answer["message"]
    assert len(answer["message"]) < 300


def test_a_connection_that_says_nothing_holds_nobody_up(client):
    with socket.create_connection((client.address.hostname, client.address.port)) as silent:
        silent.sendall(b"POST /runs HTTP/1.1\r\n")
        begun = time.monotonic()
        assert client.ask("GET", "/")[0] == 200
        assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "path",
    [
        "/runs/../tiny.yaml",
        "/runs/%2e%2e/tiny.yaml",
        "/runs/..%2ftiny.yaml",
        "/runs/a/..%2f..%2ftiny.yaml",
        "/runs/a/%2fetc%2fpasswd",
        "/runs/.hidden/index.html",
        "/runs/a/.progress",
        "/runs/a/secret.txt",
        "/runs/link/index.html",
        "/runs/a/strip.png",
        "/runs/%00/index.html",
        "/runs/a%5c..%5c/index.html",
        "//etc/passwd",
        "/runs/" + "a" * 5000 + "/index.html",
    ],
)
def test_no_file_outside_the_runs_is_served(client, server, path):
    runs, outside = server[1] / "runs", server[1] / "outside"
    for folder in (runs / "a", runs / ".hidden", outside):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("index.html", ".progress", "secret.txt"):
            (folder / name).write_text("secret")
    if not (runs / "link").exists():
        (runs / "link").symlink_to(outside)
        (runs / "a" / "strip.png").symlink_to(outside / "secret.txt")
    status, _, body = client.ask("GET", path)
    assert status == 404
    assert b"secret" not in body
    assert client.ask("GET", "/runs/a/index.html")[2] == b"secret"  # so much can be seen


def test_a_page_of_a_run_may_do_nothing_where_it_is_served(client, server):
    folder = server[1] / "runs" / "b"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("<script>fetch('/events')</script>")
    _, headers, _ = client.ask("GET", "/runs/b/index.html")
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"


def test_a_server_for_other_machines_still_refuses_names(serve):
    with serve(host="0.0.0.0") as client:
        port = client.address.port
        assert client.ask("GET", "/", host=f"192.168.7.7:{port}")[0] == 200
        assert client.ask("GET", "/", host=f"evil.example:{port}")[0] == 400
        assert client.ask("GET", "/", cookie=None)[0] == 403


def test_listening_stays_on_this_machine_by_default(client):
    assert client.address.hostname == "127.0.0.1"
