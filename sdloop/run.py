"""The front door: configs -> run folders.

python -m sdloop.run CONFIG... [key=value ...]
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sdloop.cli.arguments import Parser, split_arguments
from sdloop.cli.process import exit_code_of, leave
from sdloop.machine.errors import UserError

if TYPE_CHECKING:
    from sdloop.job.events import Listener
    from sdloop.job.plan import Prepared


def main(arguments: Sequence[str] | None = None, *, owns_process: bool = False) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: The words after the command's name; None takes `sys.argv`.
        owns_process: Whether the process does nothing else, so that it may be tuned for this.
    """
    parser = Parser(
        prog="python -m sdloop.run",
        description="Sample with Stable Diffusion, keep every step, and show how the picture "
        "came about.",
        epilog="A key=value overrides the config; dots reach into nested keys. For example: "
        "python -m sdloop.run configs/astronaut.yaml seed=3 scheduler.num_steps=20. A CONFIG is a "
        "YAML file, or a picture that a run left: python -m sdloop.run strip.png",
    )
    parser.add_argument("configs", nargs="*", metavar="CONFIG | key=value")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the config and the memory that the run needs; run nothing",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a run of another config in its folder"
    )
    parser.add_argument(
        "--explain-sampler",
        metavar="NAME",
        help="print a sampler's table, such as that of dpm++_2m; with a config, as it would run",
    )
    parser.add_argument(
        "--from",
        dest="origin",
        metavar="RUN",
        help="start from a frame of this run's folder; needs --at; sets start.run and start.frame",
    )
    parser.add_argument(
        "--at", type=int, metavar="FRAME", help="the frame, counted from 0; steps before it stay"
    )
    parser.add_argument(
        "--preview",
        action="store_true",
        help="draw the clean picture that the model predicts in the terminal, step by step",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options = parser.parse_intermixed_args(arguments)
    paths, overrides = split_arguments(options.configs)

    def command() -> None:
        from sdloop.cli.console import listener
        from sdloop.job.config_file import default_config, load_config
        from sdloop.job.plan import prepare
        from sdloop.job.runner import Runner

        if options.explain_sampler is not None:
            print(_explain(options.explain_sampler, paths, overrides))
            return
        overrides.extend(_start_at(options.origin, options.at, overrides))
        if paths:
            prepared = [prepare(load_config(path, overrides)) for path in paths]
        elif any(override.startswith("prompt=") for override in overrides):
            prepared = [prepare(default_config(overrides))]
        else:
            raise UserError('no config given; for example: configs/astronaut.yaml, or prompt="..."')
        _check_apart(paths, prepared[: len(paths)])
        listen = listener(options.quiet, owns_process, options.preview)
        if options.dry_run:
            print("---\n".join(_describe(each, listen) for each in prepared), end="")
            return
        runner = Runner(listen, options.overwrite)
        for each in prepared:
            runner.run(each)

    return exit_code_of(command)


def program() -> NoReturn:
    """Run the command line as a process of its own."""
    leave(main(owns_process=True))


def _start_at(origin: str | None, frame: int | None, overrides: Sequence[str]) -> list[str]:
    """Write --from and --at as overrides; without output=, the folder is named after both."""
    if origin is None and frame is None:
        return []
    if origin is None or frame is None:
        raise UserError("--from and --at go together: --from runs/a --at 20")
    written = [f"start={json.dumps({'run': origin, 'frame': frame})}"]
    if not any(override.partition("=")[0].strip() == "output" for override in overrides):
        written.append(f"output=runs/{Path(origin).resolve().name}-at-{frame}")
    return written


def _check_apart(paths: Sequence[Path], prepared: Sequence[Prepared]) -> None:
    """Refuse configs that would write to one folder, however it is spelled."""
    first: dict[Path, Path] = {}
    for path, each in zip(paths, prepared, strict=True):
        before = first.setdefault(each.folder.resolve(), path)
        if before is not path:
            raise UserError(
                f"output = {each.folder}: {before} and {path} would write to the same folder"
            )


def _explain(name: str, paths: Sequence[Path], overrides: Sequence[str]) -> str:
    """Describe a sampler, once for each config; without a config, over ten steps."""
    from sdloop.job.config_file import default_config, load_config
    from sdloop.job.explain import explain_sampler

    configs = [load_config(path, overrides) for path in paths]
    configs = configs or [default_config(["scheduler.num_steps=10", *overrides])]
    return "\n\n".join(explain_sampler(name, config) for config in configs)


def _describe(prepared: Prepared, listen: Listener) -> str:
    """Return a run's config as YAML; then, in comments, device and dtype, and the memory."""
    from sdloop.job.config import dump_config
    from sdloop.job.events import Warned
    from sdloop.job.forecast import estimate, rooms_of
    from sdloop.job.ledger import shortages
    from sdloop.job.plan import settle

    plan = settle(prepared)
    ledgers = estimate(plan)
    for line in (plan.correction, *shortages(ledgers, rooms_of(plan.device))):
        if line is not None:
            listen(Warned(line))
    chosen = f"device {plan.device}, dtype {plan.config.dtype} ({plan.dtype_why})"
    comments = textwrap.indent("\n".join((chosen, *map(str, ledgers))), "# ")
    return f"{dump_config(prepared.config)}{comments}\n"


if __name__ == "__main__":
    program()
