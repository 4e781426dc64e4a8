"""One run from its config to its folder: check, load, sample, show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdloop.claim import (
    check_made_with,
    check_replaceable,
    claim,
    clear,
    is_under_way,
    is_whole,
)
from sdloop.cli import Console, collector_paused, warn
from sdloop.config import RunConfig, write_config
from sdloop.memory.estimate import estimate, shortages
from sdloop.memory.shortage import host_room_bytes
from sdloop.model.find import find
from sdloop.model.source import ModelSource
from sdloop.model.weight_files import hash_weights
from sdloop.run_folder import (
    CONFIG_FILE,
    MANIFEST_FILE,
    PROGRESS_FILE,
    TRAJECTORY_FILE,
    RunFolder,
)
from sdloop.showing import Sampled, export_run

if TYPE_CHECKING:
    import torch

    from sdloop.engine import Engine
    from sdloop.schedule import Schedule


@dataclass(frozen=True)
class Prepared:
    """A run that was checked as far as that goes without a network library.

    Attributes:
        config: With all but the device written out.
        source: The model's facts.
        schedule: The sampler's table.
    """

    config: RunConfig
    source: ModelSource
    schedule: Schedule


class Runner:
    """Runs one config after another; those that share a model share its loaded networks."""

    def __init__(self, quiet: bool = False, overwrite: bool = False) -> None:
        """Load nothing yet.

        Args:
            quiet: Show no progress.
            overwrite: Replace runs of other configs in the same folders.
        """
        self._quiet = quiet
        self._overwrite = overwrite
        self._engine: Engine | None = None

    def run(self, prepared: Prepared) -> RunFolder:
        """Sample, keep every step, and show them.

        Args:
            prepared: What `prepare` made of a config.

        Returns:
            The run's folder; in a notebook it shows itself.

        Raises:
            UserError: Something in the config does not fit the machine or the folder.
        """
        console = Console(self._quiet)
        with claim(Path(prepared.config.output)):
            return self._run(prepared, console)

    def _run(self, prepared: Prepared, console: Console) -> RunFolder:
        """Run, or carry on, or find that nothing is left to do."""
        source, schedule = prepared.source, prepared.schedule
        folder = Path(prepared.config.output)
        with console.stage("import"), collector_paused():
            from sdloop.device import choose_device
            from sdloop.manifest import made_with, write_manifest

            device, dtype = choose_device(prepared.config.device, prepared.config.dtype)
        named = {"device": str(device), "dtype": str(dtype).removeprefix("torch.")}
        config = prepared.config.model_copy(update=named)
        if not self._overwrite:
            check_replaceable(folder, config)
            if _is_finished(folder, config, source, dtype.itemsize == 2):
                console.note(f"{folder}: is finished; --overwrite makes it again")
                return RunFolder(folder)
        _warn_of_shortage(config, source, schedule, device)
        engine = self._load(source, device, dtype, config.compile, console)

        from sdloop.sampling import open_progress, sample

        with open_progress(folder, config, engine, schedule) as progress:
            if progress.outputs:
                console.note(f"{folder}: carries on at row {len(progress.outputs)}")
            trajectory = sample(config, engine, schedule, progress, console)
        weights_sha256 = engine.weights_sha256.result()  # damaged ones are noticed here
        if not is_under_way(folder, config):
            clear(folder)
        write_config(folder / CONFIG_FILE, config)
        trajectory.save(folder / TRAJECTORY_FILE)
        sampled = Sampled(folder, config, trajectory, schedule, engine.models.vae)
        shown = export_run(sampled, console)
        facts = made_with(config, weights_sha256)
        path, rows = folder / MANIFEST_FILE, len(schedule)
        write_manifest(path, config, facts, rows, console.timings_ms, shown)
        progress.discard()
        console.close(folder)
        return RunFolder(folder)

    def _load(
        self,
        source: ModelSource,
        device: torch.device,
        dtype: torch.dtype,
        compiled: bool,
        console: Console,
    ) -> Engine:
        """Load a model, or take the one that is loaded."""
        with console.stage("import"), collector_paused():
            from sdloop.engine import Engine
            from sdloop.model.fetch import fetch_weights
        fetch_weights(
            source,
            dtype.itemsize == 2,
            watch=lambda total: console.stage("fetch", total, unit="B"),
        )
        with console.stage("load"), collector_paused():
            wanted = (source, device, dtype, compiled)
            if self._engine is None or not self._engine.serves(*wanted):
                self._engine = None  # its memory goes before the next one's is taken
                self._engine = Engine.start(*wanted)
        return self._engine


def prepare(config: RunConfig) -> Prepared:
    """Do every check that needs no network library.

    Args:
        config: As the user wrote it.

    Returns:
        The run, ready to be sampled.

    Raises:
        UserError: Says what does not fit.
    """
    from sdloop.device import check_device
    from sdloop.wiring import resolve

    check_device(config.device)
    source = find(config.model, config.model_config_from)
    resolved, schedule = resolve(config, source)
    return Prepared(resolved, source, schedule)


def _is_finished(folder: Path, config: RunConfig, source: ModelSource, half: bool) -> bool:
    """Tell whether a run is there already, to the last file; raise if it would differ today."""
    from sdloop.manifest import made_with
    from sdloop.model.fetch import fetch_weights

    if not is_whole(folder, config):
        return False
    fetch_weights(source, half)
    check_made_with(folder, made_with(config, hash_weights(source, half)))
    (folder / PROGRESS_FILE).unlink(missing_ok=True)  # of a run killed before it could go
    return True


def _warn_of_shortage(
    config: RunConfig, source: ModelSource, schedule: Schedule, device: torch.device
) -> None:
    """Say where a run may need more memory than there is."""
    from sdloop.device import room_bytes

    rooms = [host_room_bytes(), room_bytes(device)]
    for line in shortages(estimate(config, source, schedule), rooms):
        warn(line)
