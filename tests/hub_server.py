"""A small hub on 127.0.0.1 that serves folders: what huggingface_hub asks of the real one.

The protocol: https://huggingface.co/docs/hub/api, and huggingface_hub's own requests.
"""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".ckpt")  # kept by git-lfs, served by another host than the hub's
POINTER_BYTES = 134


def blob_name(content):
    """Name a file by its content as git does."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class HubServer(ThreadingHTTPServer):
    """Serves repositories; a test sets what goes wrong.

    Attributes:
        repositories: Folder by id.
        refusals: HTTP status and error code by id, for every request but those for its listing.
        listings_refused: HTTP status and error code by id, for every request.
        cut: How many more times a path's body ends halfway.
        cut_at_start: Paths whose bodies end before their first byte, always.
        held: Paths whose bodies stop halfway until the event is set.
        asked: Method and path of every request.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.refusals, self.listings_refused = {}, {}, {}
        self.cut, self.cut_at_start, self.held = {}, set(), {}
        self.asked = []

    @property
    def url(self):
        """Return the endpoint."""
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, name):
        """Return a repository's contents by path."""
        folder = self.repositories[name]
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    def commit(self, name):
        """Name a repository's state."""
        listed = [(path, blob_name(content)) for path, content in self.files(name).items()]
        return hashlib.sha1(repr(listed).encode()).hexdigest()

    def fetched(self):
        """List the files whose content was asked for, once each."""
        asked = [path for method, path in self.asked if method == "GET" and "/resolve/" in path]
        return sorted({path.rpartition("/resolve/")[2].partition("/")[2] for path in asked})


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Stay silent."""

    def do_HEAD(self):
        """Answer without a body."""
        self.answer()

    def do_GET(self):
        """Answer with a body."""
        self.answer()

    def answer(self):
        """Find what a path means."""
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path))
        if path.startswith("/api/models/"):
            owner, name, *kind = path.removeprefix("/api/models/").split("/")
            self.describe(f"{owner}/{name}", "".join(kind[:1]))
        else:
            place, _, rest = path.strip("/").partition("/resolve/")
            self.give(place, rest.partition("/")[2])

    def describe(self, name, kind):
        """Answer what a repository is, or holds."""
        if name not in self.server.repositories:
            return self.refuse(401, "RepoNotFound")
        if name in self.server.listings_refused:
            return self.refuse(*self.server.listings_refused[name])
        if kind != "tree":
            siblings = [{"rfilename": path} for path in self.server.files(name)]
            facts = {"id": name, "sha": self.server.commit(name), "siblings": siblings}
            return self.send({}, json.dumps(facts).encode())
        files = [
            {"type": "file", "path": path, "size": len(content), "oid": blob_name(content)}
            | self.lfs(path, content)
            for path, content in self.server.files(name).items()
        ]
        return self.send({}, json.dumps(files).encode())

    def lfs(self, path, content):
        """Describe what git-lfs keeps."""
        if not path.endswith(LARGE):
            return {}
        digest = hashlib.sha256(content).hexdigest()
        return {"lfs": {"oid": digest, "size": len(content), "pointerSize": POINTER_BYTES}}

    def give(self, name, path):
        """Answer with a file's content, or where it is."""
        if name not in self.server.repositories:
            return self.refuse(404, "RepoNotFound")
        refused = self.server.listings_refused | self.server.refusals
        if name in refused:
            return self.refuse(*refused[name])
        content = self.server.files(name).get(path)
        if content is None:
            return self.refuse(404, "EntryNotFound")
        facts = {"X-Repo-Commit": self.server.commit(name)}
        lfs = self.lfs(path, content).get("lfs")
        if lfs is None:
            return self.send(facts | {"ETag": f'"{blob_name(content)}"'}, content, path)
        facts |= {"X-Linked-Size": str(lfs["size"]), "X-Linked-ETag": f'"{lfs["oid"]}"'}
        if self.headers["Host"].startswith("127.0.0.1"):
            facts["Location"] = f"http://localhost:{self.server.server_port}{self.path}"
            return self.send(facts, b"", status=302)
        return self.send(facts | {"ETag": f'"{lfs["oid"]}"'}, content, path)

    def refuse(self, status, code):
        """Answer with an error, as the hub words it."""
        self.send({"X-Error-Code": code, "X-Error-Message": code}, b"{}", status=status)

    def send(self, headers, content, path=None, status=200):
        """Send a body, all of it or half."""
        start = 0
        if "Range" in self.headers and status == 200:
            start, status = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")), 206
            headers |= {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(content) - start)}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        content, half = content[start:], len(content[start:]) // 2
        if path in self.server.cut_at_start:
            self.close_connection = True
            return
        if self.server.cut.get(path, 0) > 0:
            self.server.cut[path] -= 1
            self.close_connection = True
            self.wfile.write(content[:half])
            return
        if path in self.server.held:
            self.wfile.write(content[:half])
            self.wfile.flush()
            self.server.held[path].wait(60)
            content = content[half:]
        self.wfile.write(content)


@contextmanager
def serving():
    """Run a hub in a thread."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        for held in server.held.values():
            held.set()
        server.shutdown()
        server.server_close()
        thread.join()
