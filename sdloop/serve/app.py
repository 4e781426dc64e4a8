"""The server's addresses: the page, the form, the stream, the files of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route

from sdloop.job.config import SHOWN_KEYS
from sdloop.job.folder import CONFIG_FILE, MANIFEST_FILE, TRAJECTORY_FILE, RunFiles
from sdloop.serve.desk import Desk, Full
from sdloop.serve.form import Form, WrongValue
from sdloop.serve.live import COLUMNS
from sdloop.serve.stream import Bell, Reader, tell
from sdloop.show.difference import viridis
from sdloop.show.page.charts import charts_of
from sdloop.show.page.page import assemble
from sdloop.show.page.text import to_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MOST_TABS = 32
# a run's page is a file like any other: it may not ask the server for anything
FILE_HEADERS = {"content-security-policy": "sandbox; default-src 'none'"}


def make_app(form: Form, desk: Desk, bell: Bell) -> Starlette:
    """Make the app; `Guard` stands in front of it.

    Args:
        form: Reads what was typed.
        desk: Makes the runs.
        bell: Rings when the desk changes.

    Returns:
        The app.
    """
    data, styles = to_json(_page_data(form)), ("page.css", "live.css")
    page = assemble("Watch · sdloop", data, "live.js", styles, "'self'")

    async def show_page(request: Request) -> Response:
        return HTMLResponse(page)

    async def add(request: Request) -> Response:
        try:
            values, start = _asked(await request.body())
            # a fork reads the run that it starts from
            config = await run_in_threadpool(form.named, form.read(values, start))
            return JSONResponse({"name": desk.add(config).name})
        except WrongValue as error:
            return JSONResponse({"key": error.key, "message": str(error)}, 422)
        except Full as error:
            return JSONResponse({"key": "", "message": str(error)}, 429)

    async def stop(request: Request) -> Response:
        was_there = desk.stop(request.path_params["name"])
        return JSONResponse({"stopped": was_there}, 200 if was_there else 404)

    async def stream(request: Request) -> Response:
        if len(bell) >= MOST_TABS:
            return JSONResponse({"message": f"{MOST_TABS} tabs are open"}, 503)
        events = tell(Reader(desk, form.command), bell, desk)
        return StreamingResponse(events, media_type="text/event-stream")

    async def file(request: Request) -> Response:
        path = _file_of(form.runs, request.path_params["name"], request.path_params["file"])
        if path is None:
            return JSONResponse({"message": "no such file"}, 404)
        return FileResponse(path, headers=FILE_HEADERS)

    return Starlette(
        routes=[
            Route("/", show_page),
            Route("/runs", add, methods=["POST"]),
            Route("/runs/{name}/stop", stop, methods=["POST"]),
            Route("/events", stream),
            Route("/runs/{name}/{file}", file),
        ]
    )


def _page_data(form: Form) -> dict[str, Any]:
    """Gather what the page knows before the first run: `WatchData` of web/live.js."""
    return {
        "fields": form.fields(),
        "charts": charts_of(list(COLUMNS)),
        "viridis": viridis().tolist(),
        "shown_keys": sorted(SHOWN_KEYS),
    }


def _asked(body: bytes) -> tuple[dict[str, str], tuple[str, int] | None]:
    """Read a request: field -> text, and the run and frame to start from, if any."""
    try:
        asked = json.loads(body)
        values, start = asked["values"], asked.get("start")
        texts = {str(key): value for key, value in values.items() if isinstance(value, str)}
        if start is None:
            return texts, None
        name, frame = start["run"], start["frame"]
        if not isinstance(name, str) or type(frame) is not int or not _is_name(name):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise WrongValue("this is no form of sdloop's", "") from None
    return texts, (name, frame)


def _is_name(name: str) -> bool:
    """Tell whether a name is one folder or file, and not a hidden one."""
    return bool(name) and not name.startswith(".") and not set(name) & {"/", "\\", "\0"}


def _file_of(runs: Path, name: str, file: str) -> Path | None:
    """Find a file that a run wrote; None if there is none, or it leads out of the runs' folder."""
    if not (_is_name(name) and _is_name(file)):
        return None
    try:
        written = {path.name for path in RunFiles.ever_in(runs / name).linked}
        if file not in written | {CONFIG_FILE, MANIFEST_FILE, TRAJECTORY_FILE}:
            return None
        path = (runs / name / file).resolve()
        inside = path.is_relative_to(runs.resolve())
        return path if inside and path.is_file() else None
    except OSError:  # a name too long for a file
        return None
