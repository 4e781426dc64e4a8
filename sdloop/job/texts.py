"""A run's prompts: encoded, and what of them is not used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdloop.machine.errors import shown

if TYPE_CHECKING:
    from sdloop.job.engine import Engine
    from sdloop.job.plan import Plan
    from sdloop.model.family import Conditioning


def encode(plan: Plan, engine: Engine) -> Conditioning:
    """Encode a run's prompts.

    Args:
        plan: The run's.
        engine: The loaded networks.

    Returns:
        What conditions the network's calls.

    Raises:
        UserError: An embedding is not finite.
    """
    config = plan.config
    negative = [config.negative_prompt] if plan.guided else None
    return engine.family.encode_text(engine.models, [config.prompt], negative)


def words_of(plan: Plan, engine: Engine) -> list[tuple[str, tuple[int, ...]]]:
    """Find the words of a run's prompt, each with its tokens; none if no attention is kept."""
    if not plan.config.captures_attention:
        return []
    return engine.family.words_of(engine.models, plan.config.prompt)


def unused_texts(plan: Plan, engine: Engine) -> list[str]:
    """Say where a run does not use its prompts as they stand.

    Args:
        plan: The run's.
        engine: The loaded networks.

    Returns:
        Lines to warn with.
    """
    config, lines = plan.config, []
    if not plan.guided:
        for key in ("negative_prompt", "guidance_rescale"):
            if getattr(config, key):
                lines.append(f"{key}: has no effect with guidance_scale 1")
    for key in ("prompt", "negative_prompt") if plan.guided else ("prompt",):
        cut = engine.family.text_cut(engine.models, getattr(config, key))
        if cut:
            limit = engine.family.token_limit(engine.models)
            lines.append(f"{key}: longer than the model's {limit} tokens; left out: {shown(cut)}")
    return lines
