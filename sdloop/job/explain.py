"""A sampler's name, and a config's model and number of steps -> the sampler in writing."""

from __future__ import annotations

from sdloop.job.config import RunConfig
from sdloop.job.source import settings_of, source_of
from sdloop.sampler.explain import explain
from sdloop.sampler.methods import find_method


def explain_sampler(name: str, config: RunConfig) -> str:
    """Write down a sampler as a config would run it.

    Args:
        name: What `scheduler.type` takes.
        config: Says the model, whose noise levels are taken, the steps and the other options.

    Returns:
        Lines of text.

    Raises:
        UserError: No sampler is called so, or it does not go with the config.
    """
    if name != "model":
        find_method(name)  # tell of a wrong name before a model is looked for
    scheduler = config.scheduler.model_copy(update={"type": name})
    config = config.model_copy(update={"scheduler": scheduler})
    source = source_of(config)
    return explain(settings_of(config, source), scheduler.num_steps)
