"""One run, from its config to its folder: check, load, sample, show."""

from __future__ import annotations

import threading
from importlib import import_module

from sdloop.job.config import write_config
from sdloop.job.events import Listener, Noted, Stages, Warned, warn
from sdloop.job.folder import (
    CONFIG_FILE,
    MANIFEST_FILE,
    PROGRESS_FILE,
    TRAJECTORY_FILE,
    RunFolder,
)
from sdloop.job.loader import Loader
from sdloop.job.occupancy import (
    check_made_with,
    check_overwritable,
    check_replaceable,
    clear,
    is_under_way,
    is_whole,
    occupy,
)
from sdloop.job.plan import Plan, Prepared, settle
from sdloop.machine.errors import UserError, check_type
from sdloop.machine.files import is_url


def import_libraries() -> None:
    """Import what every run needs, so that the first one begins at once."""
    for name in ("sdloop.job.sample", "sdloop.job.present", "sdloop.model.libraries"):
        import_module(name)


class Runner:
    """Runs one config after another; those that share a model share its loaded networks.

    Threads may share a Runner: their runs wait for each other. To run at the same time, give each
    thread a Runner of its own; each then loads its own networks.
    """

    def __init__(self, listen: Listener = warn, overwrite: bool = False) -> None:
        """Load nothing yet.

        Args:
            listen: Gets every event; by default warnings become Python's own.
            overwrite: Replace runs of other configs in the same folders.
        """
        self._listen = listen
        self._overwrite = overwrite
        self._loader = Loader()
        self._lock = threading.RLock()

    def run(self, prepared: Prepared) -> RunFolder:
        """Sample a run, keep every step, and write its exports; skip a run that is finished.

        Args:
            prepared: What `prepare` made of a config.

        Returns:
            The run's folder; in a notebook it shows itself as its page. Where a listener raised
            StopRun it holds the steps so far and their page, and the same run carries on.

        Raises:
            UserError: Something in the config does not fit the machine or the folder.
        """
        check_type(prepared, Prepared, "prepared", "; prepare(config) makes one")
        if is_url(prepared.config.output):
            raise UserError(f"output = {prepared.config.output}: only a sweep's runs go to a URL")
        stages = Stages(self._listen)
        with self._lock, occupy(prepared.folder):
            with stages.stage("import"):
                plan = settle(prepared)
            if self._overwrite:
                check_overwritable(plan)
            else:
                check_replaceable(plan)
                if _is_finished(plan):
                    self._listen(Noted(f"{plan.folder}: is finished; --overwrite makes it again"))
                    return RunFolder(plan.folder)
            rows = self._make(plan, stages)
        if rows == len(plan.table):
            stages.finish(plan.folder)
        else:
            stages.stop(plan.folder, rows)
        return RunFolder(plan.folder)

    def _make(self, plan: Plan, stages: Stages) -> int:
        """Sample a run, or carry it on, and write its exports; return how many rows it has."""
        with stages.stage("import"):
            from sdloop.job.decoders import Decoders
            from sdloop.job.forecast import find_shortages, rooms_of
            from sdloop.job.manifest import made_with, write_manifest
            from sdloop.job.present import export_part, export_run
            from sdloop.job.sample import open_progress, sample

        for line in (plan.correction, *find_shortages(plan, rooms_of(plan.device))):
            if line is not None:
                self._listen(Warned(line))
        engine = self._loader.engine_of(plan, stages)
        decoders = Decoders.of_plan(plan, engine.models.vae)
        folder = plan.folder
        with open_progress(plan, engine) as progress:
            if progress.known:
                row = plan.config.first_row + len(progress.known)
                self._listen(Noted(f"{folder}: carries on at row {row}"))
            trajectory = sample(plan, engine, progress, stages)
        weights_sha256 = engine.weights_sha256.result()  # damaged ones are noticed here
        if not is_under_way(plan):
            clear(folder)
        write_config(folder / CONFIG_FILE, plan.config)
        trajectory.save(folder / TRAJECTORY_FILE)
        rows = len(trajectory.z0_hat)
        if rows < len(plan.table):
            export_part(plan, folder, trajectory, decoders, stages)
            return rows
        shown = export_run(plan, folder, trajectory, decoders, stages)
        facts = made_with(plan, weights_sha256)
        write_manifest(folder / MANIFEST_FILE, plan, facts, stages.timings_ms, shown)
        progress.discard()
        return rows


def _is_finished(plan: Plan) -> bool:
    """Tell whether every file of a run exists already; raise if it would differ today."""
    from sdloop.job.manifest import made_with
    from sdloop.model.fetch import fetch_weights
    from sdloop.model.weight_files import hash_weights

    if not is_whole(plan):
        return False
    fetch_weights(plan.source, plan.half)
    check_made_with(plan.folder, made_with(plan, hash_weights(plan.source, plan.half)))
    (plan.folder / PROGRESS_FILE).unlink(missing_ok=True)  # of a run killed at its very end
    return True
