"""A sampler's name, and a config's model and number of steps -> a description of the sampler."""

from __future__ import annotations

from sdloop.job.config import RunConfig
from sdloop.job.source import settings_of, source_of
from sdloop.sampler.explain import explain
from sdloop.sampler.methods import find_method


def explain_sampler(name: str, config: RunConfig) -> str:
    """Describe a sampler as a config would run it.

    Args:
        name: A value that `scheduler.type` takes.
        config: Gives the model, which sets the noise levels, the steps and the other options.

    Returns:
        Lines of text.

    Raises:
        UserError: No sampler has this name, or it does not go with the config.
    """
    if name != "model":
        find_method(name)  # refuse a wrong name before searching for a model
    scheduler = config.scheduler.model_copy(update={"type": name})
    config = config.model_copy(update={"scheduler": scheduler})
    source = source_of(config)
    return explain(settings_of(config, source), scheduler.num_steps)
