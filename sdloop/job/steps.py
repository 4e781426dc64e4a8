"""A config -> its run, step by step, with pictures: for a loop in Python; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sdloop.job.config import RunConfig
from sdloop.job.config_file import load_config
from sdloop.job.events import Listener, Stages, warn
from sdloop.job.loader import Loader
from sdloop.job.plan import prepare, settle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from sdloop.job.engine import Engine
    from sdloop.job.plan import Plan
    from sdloop.job.preview import Previewer
    from sdloop.machine.files import AnyPath
    from sdloop.sampler.loop import Step


@dataclass(frozen=True)
class RunStep:
    """One step of a run; its pictures are decoded when they are first asked for.

    Attributes:
        row: The step's number, from 0.
        rows: How many steps the run has.
        timestep: The trained time at which the network was called.
        latents: The step's tensors, float32 on the run's device.
    """

    row: int
    rows: int
    timestep: float
    latents: Step
    _plan: Plan
    _engine: Engine
    _previewer: Previewer

    @cached_property
    def frame(self) -> NDArray[np.uint8]:
        """Return frame row + 1, the picture after this step, uint8 (H, W, 3)."""
        return self._decoded(self.latents.z)

    @cached_property
    def z0_hat(self) -> NDArray[np.uint8]:
        """Return the clean picture that this step predicts, uint8 (H, W, 3)."""
        return self._decoded(self.latents.z0_hat)

    @cached_property
    def preview(self) -> NDArray[np.uint8]:
        """Return about the same as `z0_hat`, without the VAE: in a fraction of the time."""
        return self._previewer.pictures(self.latents.z0_hat)[0]

    def _decoded(self, latents: Tensor) -> NDArray[np.uint8]:
        """Decode one latent, (1, channels, h, w)."""
        from sdloop.model.vae import round_pictures
        from sdloop.show.difference import to_numpy

        pictures = self._plan.source.family.decode(self._engine.models.vae, latents, 1)
        return to_numpy(round_pictures(pictures, 1))[0]


def steps(
    config: RunConfig | AnyPath, overrides: Sequence[str] = (), listen: Listener = warn
) -> Iterator[RunStep]:
    """Run a config step by step.

        for step in sdloop.steps("configs/astronaut.yaml", ["seed=3"]):
            show(step.preview)
            if step.row == 20:
                break

    The next step is computed when it is asked for; leaving the loop frees the networks.

    Args:
        config: A config, or the path of its file.
        overrides: `key=value` texts, for a path.
        listen: Gets the events of loading; by default warnings become Python's own.

    Yields:
        One step per row, from the first one that is walked on.

    Raises:
        UserError: Something in the config does not fit; raised when the first step is asked for.
    """
    if not isinstance(config, RunConfig):
        config = load_config(config, overrides)
    elif overrides:
        raise TypeError("overrides: go with a path; a config is complete")
    plan, stages = settle(prepare(config)), Stages(listen)
    from sdloop.job.preview import Previewer
    from sdloop.job.sample import begin, condition, open_fork

    engine = Loader().engine_of(plan, stages)
    previewer = Previewer(plan, engine)
    conditioning = condition(plan, engine, stages)
    _, walked = begin(plan, engine, conditioning, open_fork(plan))
    timesteps = plan.table.timesteps.tolist()
    for step in walked:
        yield RunStep(step.row, len(timesteps), timesteps[step.row], step, plan, engine, previewer)
