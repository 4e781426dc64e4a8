"""diffusers' schedulers, to hold the tables against."""

import itertools

from diffusers import DDIMScheduler, PNDMScheduler

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def make_oracle(sampler, prediction_type, spacing, offset, to_one):
    """Build diffusers' scheduler."""
    options = {
        **BETAS,
        "prediction_type": prediction_type,
        "timestep_spacing": spacing,
        "steps_offset": offset,
        "set_alpha_to_one": to_one,
    }
    if sampler == "ddim":
        return DDIMScheduler(**options, clip_sample=False)
    return PNDMScheduler(**options, skip_prk_steps=sampler == "plms")


def config_of(oracle):
    """Return the content that the scheduler would save."""
    return {**oracle.config, "_class_name": type(oracle).__name__}


def combinations_in(cases, strength):
    """Return every combination of so many values, with their places, that meets in a case."""
    return {
        tuple((place, case[place]) for place in places)
        for case in cases
        for places in itertools.combinations(range(len(case)), strength)
    }


def covering(cases, strength):
    """Choose few of the cases in which every combination of so many values still meets."""
    held = {case: combinations_in([case], strength) for case in cases}
    missing, chosen = set().union(*held.values()), []
    while missing:
        best = max(cases, key=lambda case: len(held[case] & missing))
        chosen.append(best)
        missing -= held[best]
    return chosen
