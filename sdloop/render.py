"""Make every export again from a saved trajectory, without the UNet; put several runs on one page.

python -m sdloop.render RUN_FOLDER... [key=value ...]
python -m sdloop.render --page PAGE.html RUN_FOLDER... [key=value ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sdloop.cli.arguments import Parser, split_arguments
from sdloop.cli.process import exit_code_of, leave
from sdloop.machine.errors import UserError


def main(arguments: Sequence[str] | None = None, *, owns_process: bool = False) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: The words after the command's name; None takes `sys.argv`.
        owns_process: Whether the process does nothing else, so that it may be tuned for this.
    """
    parser = Parser(
        prog="python -m sdloop.render", description="Make every export of saved runs again."
    )
    parser.add_argument("folders", nargs="+", metavar="RUN_FOLDER | key=value")
    parser.add_argument(
        "--page", type=Path, metavar="PAGE.html", help="show all these runs in step on one page"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options = parser.parse_intermixed_args(arguments)
    folders, overrides = split_arguments(options.folders)

    def command() -> None:
        from sdloop.cli.console import listener
        from sdloop.job.render import render_page, render_run

        if not folders:
            raise UserError("no run folder given; for example: runs/astronaut")
        listen = listener(options.quiet, owns_process)
        if options.page:
            render_page(options.page, folders, overrides, listen)
            return
        for folder in folders:
            render_run(folder, overrides, listen)

    return exit_code_of(command)


def program() -> NoReturn:
    """Run the command line as a process of its own."""
    leave(main(owns_process=True))


if __name__ == "__main__":
    program()
