"""Many runs of one config: lists of values -> a folder for each run, contact sheets, a table.

python -m sdloop.sweep SWEEP [key=value ...] [--engine ray]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from sdloop.cli.arguments import Parser, split_arguments
from sdloop.cli.process import SYSTEM_ERROR, exit_code_of, leave
from sdloop.machine.errors import UserError

if TYPE_CHECKING:
    from sdloop.job.many.engines import SweepEngine
    from sdloop.job.many.workshop import Outcome

LARGEST_BATCH, MOST_WORKERS = 1024, 10_000


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
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="make the runs in this process, or on the workers of a Ray cluster",
    )
    parser.add_argument(
        "--address", help="of a running Ray cluster, such as auto; without one, Ray starts here"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="of Ray; by default one per GPU, or per CPU"
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
        if options.engine != "ray" and (options.address or options.workers is not None):
            raise UserError("--address, --workers: only with --engine ray")
        if options.workers is not None and not 1 <= options.workers <= MOST_WORKERS:
            raise UserError(f"--workers {options.workers}: allowed: 1 to {MOST_WORKERS}")
        sweep = load_sweep(paths[0], overrides)
        prepared = prepare_all(sweep)
        listen = listener(options.quiet, owns_process)
        if options.dry_run:
            from sdloop.job.events import Warned
            from sdloop.job.many.estimate import describe
            from sdloop.job.many.shelf import at_hand

            for line in corrections_of(prepared):
                listen(Warned(line))
            with at_hand(sweep, prepared) as (local, placed, _):
                print(describe(local, placed, options.batch), end="")
            return
        with _engine(options) as engine:
            sweeper = Sweeper(listen, options.overwrite, options.batch, engine)
            failed.extend(sweeper.run(sweep, prepared))
        if failed:
            print(f"{len(failed)} of {len(sweep.runs)} runs failed:", file=sys.stderr)
        for outcome in failed:
            print(f"  {outcome.output}: {outcome.error}", file=sys.stderr)

    code = exit_code_of(command)
    return code or (SYSTEM_ERROR if failed else 0)


@contextmanager
def _engine(options: argparse.Namespace) -> Iterator[SweepEngine | None]:
    """Provide what `--engine` names for as long as the block runs."""
    if options.engine == "local":
        yield None
        return
    from sdloop.cli.cluster import ray_running

    with ray_running(options.address):
        from sdloop.job.many.pool import RayEngine

        yield RayEngine(options.workers)


def program() -> NoReturn:
    """Run the command line as a process of its own."""
    leave(main(owns_process=True))


if __name__ == "__main__":
    program()
