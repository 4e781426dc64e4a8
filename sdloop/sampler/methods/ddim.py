"""DDIM with eta 0: Song et al. 2021, arXiv:2010.02502, eq. 12 with sigma 0."""

from __future__ import annotations

from sdloop.sampler.methods.transfer import output_transfer
from sdloop.sampler.noise_levels import NoiseLevels, space_timesteps
from sdloop.sampler.scheduler_config import SchedulerSettings
from sdloop.sampler.table import Row


def ddim_rows(settings: SchedulerSettings, num_steps: int) -> list[Row]:
    """Take each step by the newest output alone."""
    levels = NoiseLevels(settings)
    stride = settings.num_train_timesteps // num_steps
    rows = []
    for row, t in enumerate(space_timesteps(settings, num_steps)):
        start, end = levels.at(t), levels.at(t - stride)
        a, b = output_transfer(start, end, settings.prediction_type)
        rows.append(Row(t, start, start, end, row, a, b, {row: 1.0}))
    return rows
