"""Many runs of one config: lists of values -> a folder for each run, contact sheets, a table.

python -m sdloop.sweep SWEEP [key=value ...]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from sdloop.cli.arguments import Parser, split_arguments
from sdloop.cli.process import SYSTEM_ERROR, exit_code_of, leave
from sdloop.machine.errors import UserError

if TYPE_CHECKING:
    from sdloop.job.many.workshop import Outcome

LARGEST_BATCH = 1024


def main(arguments: Sequence[str] | None = None, *, owns_process: bool = False) -> int:
    """Run the command line; returns the exit code, which is 1 if a run failed.

    Args:
        arguments: The words after the command's name; None takes `sys.argv`.
        owns_process: Whether the process does nothing else, so that it may be tuned for this.
    """
    parser = Parser(
        prog="python -m sdloop.sweep",
        description="Make every run of a sweep, and show them together.",
        epilog="Run the same command again to carry on: it skips finished runs.",
    )
    parser.add_argument("configs", nargs="+", metavar="SWEEP | key=value")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan, with the disk space, time and memory that it needs; make nothing",
    )
    parser.add_argument(
        "--batch", type=int, metavar="N", help="let at most N runs share a call of the network"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="make all runs again, and replace any others"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options = parser.parse_intermixed_args(arguments)
    paths, overrides = split_arguments(options.configs)
    failed: list[Outcome] = []

    def command() -> None:
        from sdloop.cli.console import listener
        from sdloop.job.many.sweep import load_sweep
        from sdloop.job.many.sweeper import Sweeper, corrections_of, prepare_all

        if len(paths) != 1:
            raise UserError("one sweep at a time; for example: configs/sweep.yaml")
        if options.batch is not None and not 1 <= options.batch <= LARGEST_BATCH:
            raise UserError(f"--batch {options.batch}: allowed: 1 to {LARGEST_BATCH}")
        sweep = load_sweep(paths[0], overrides)
        prepared = prepare_all(sweep)
        listen = listener(options.quiet, owns_process)
        if options.dry_run:
            from sdloop.job.events import Warned
            from sdloop.job.many.estimate import describe

            for line in corrections_of(prepared):
                listen(Warned(line))
            print(describe(sweep, prepared, options.batch), end="")
            return
        sweeper = Sweeper(listen, options.overwrite, options.batch)
        failed.extend(sweeper.run(sweep, prepared))
        if failed:
            print(f"{len(failed)} of {len(sweep.runs)} runs failed:", file=sys.stderr)
        for outcome in failed:
            print(f"  {outcome.folder}: {outcome.error}", file=sys.stderr)

    code = exit_code_of(command)
    return code or (SYSTEM_ERROR if failed else 0)


def program() -> NoReturn:
    """Run the command line as a process of its own."""
    leave(main(owns_process=True))


if __name__ == "__main__":
    program()
