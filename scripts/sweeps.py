"""What the scripts share that make their runs as a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sdloop.cli.arguments import split_arguments
from sdloop.cli.console import listener
from sdloop.job.many.sweep import Sweep, load_sweep
from sdloop.job.many.sweeper import Sweeper, prepare_all
from sdloop.job.plan import Plan, settle

CONFIG = Path(__file__).parents[1] / "configs/snowman.yaml"


def run_sweep(
    arguments: Sequence[str], overrides: Sequence[str] = (), config: Path = CONFIG
) -> tuple[Sweep, list[Plan]]:
    """Make the runs of a sweep that are not there yet.

    Args:
        arguments: Of the command line: perhaps a config, and key=value.
        overrides: What makes it the script's sweep; the arguments' go over these.
        config: The one that is taken unless the arguments name one.

    Returns:
        The sweep, and its runs in order.

    Raises:
        SystemExit: Runs failed; it names them.
    """
    paths, more = split_arguments(arguments)
    sweep = load_sweep(paths[0] if paths else config, [*overrides, *more])
    prepared = prepare_all(sweep)
    failed = Sweeper(listener(quiet=False, owns_process=False)).run(sweep, prepared)
    if failed:
        raise SystemExit("\n".join(f"{one.output}: {one.error}" for one in failed))
    return sweep, [settle(one) for one in prepared]
