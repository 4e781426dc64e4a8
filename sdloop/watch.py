"""The door to watching: a local page that runs configs and shows each step as it comes.

python -m sdloop.watch [CONFIG] [key=value ...]
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from sdloop.cli.arguments import Parser, split_arguments
from sdloop.cli.process import exit_code_of, leave
from sdloop.machine.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line until it is interrupted; returns the exit code."""
    parser = Parser(
        prog="python -m sdloop.watch",
        description="Open a page in the browser on which to run configs and see each step as it "
        "comes.",
        epilog="The page begins with the config's values. Only this machine can reach the page, "
        "and only with the token in its address.",
    )
    parser.add_argument("config", nargs="*", metavar="CONFIG | key=value")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="where runs land"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="listen to this address; others may then reach the page"
    )
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    options = parser.parse_intermixed_args(arguments)
    paths, overrides = split_arguments(options.config)

    def command() -> None:
        if len(paths) > 1:
            raise UserError("watch takes one config; the page changes its values")
        for package in ("starlette", "uvicorn"):
            if find_spec(package) is None:
                raise UserError(f"watch needs {package}; pip install 'sdloop[watch]'")
        from sdloop.serve.form import Form
        from sdloop.serve.server import serving

        form = Form(paths[0] if paths else None, tuple(overrides), options.runs)
        with serving(form, options.host, options.port) as address:
            print(f"{address}\nruns land in {options.runs}; Ctrl+C ends the page", flush=True)
            if not options.no_browser:
                import webbrowser

                webbrowser.open(address)
            threading.Event().wait()

    return exit_code_of(command)


def program() -> NoReturn:
    """Run the command line as a process of its own."""
    leave(main())


if __name__ == "__main__":
    program()
