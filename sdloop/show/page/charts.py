"""The charts that the page can show: the numbers of a step, in words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Chart:
    """One choice of the page's chart.

    Attributes:
        label: Text of its button.
        note: What it shows, in one sentence.
        lines: Column -> name in the legend; "" if the chart has one line.
        unit: Text after a value.
    """

    label: str
    note: str
    lines: Mapping[str, str]
    unit: str = ""


BAND_PREFIX = "energy_"
OF_A_WORD = re.compile(r"(begin|end|word_\d+\w*)_(attention|change)")  # shown beside the words
CHARTS = (
    Chart(
        "Picture change",
        "How much this step changed the decoded picture, averaged over its pixels.",
        {"difference_mean": ""},
        "of 255",
    ),
    Chart(
        "Settled",
        "The share of pixels that have reached their final colour and keep it from then on.",
        {"settled_share": ""},
    ),
    Chart(
        "What drove the step",
        "How far each part led along the step; the sum is 1. Below 0, a part worked against it.",
        {
            "rescaling_part_share": "rescaling",
            "uncond_part_share": "without the prompt",
            "guidance_part_share": "guidance",
            "noise_part_share": "fresh noise",
        },
    ),
    Chart(
        "Parts of the step",
        "How far each part alone would have moved the latent (root mean square).",
        {
            "rescaling_part_rms": "rescaling",
            "uncond_part_rms": "without the prompt",
            "guidance_part_rms": "guidance",
            "noise_part_rms": "fresh noise",
        },
    ),
    Chart(
        "Change on the object",
        "How much of the change falls on the object: 1 is what chance would give, 2 twice that.",
        {"object_enrichment": ""},
    ),
    Chart(
        "Object's share",
        "The share of the change that falls on the object.",
        {"object_share": ""},
    ),
    Chart(
        "Change on detail",
        "How closely the change follows local detail of the final picture, sharp and blurred.",
        {"detail_correlation": "pixel by pixel", "layout_correlation": "blurred: the layout"},
    ),
    Chart(
        "Largest change",
        "The largest change of any pixel in this step; it is yellow on the scale of this step.",
        {"difference_max": ""},
        "of 255",
    ),
    Chart("Step", "How far this step moved the latent (root mean square).", {"step_rms": ""}),
    Chart(
        "Direction",
        "Cosine of the angle to the step before: 1 is straight on, 0 a right angle, -1 back.",
        {"step_cosine": ""},
    ),
    Chart(
        "Guidance",
        "How hard the prompt pulls: root mean square of eps_cond - eps_uncond.",
        {"guidance_rms": ""},
    ),
    Chart(
        "Noise estimate",
        "The noise that the model saw in the latent: root mean square of the guided eps.",
        {"eps_rms": ""},
    ),
    Chart(
        "Path",
        "How much of the first frame, the noise, and of the last one, the picture, a frame holds.",
        {"path_noise": "noise", "path_picture": "picture", "path_off_rms": "off their plane (RMS)"},
    ),
    Chart("Latent", "The size of the latent after this step (root mean square).", {"z_rms": ""}),
    Chart(
        "log SNR",
        "Natural logarithm of signal power over noise power at the step's timestep.",
        {"log_snr": ""},
    ),
    Chart(
        "Cumulative alpha",
        "The signal's share of the power: 0 is pure noise, 1 a clean picture.",
        {"alpha_cumprod_from": "where the step starts", "alpha_cumprod_to": "where it ends"},
    ),
)


def charts_of(names: Sequence[str]) -> list[dict[str, Any]]:
    """Choose the charts that the numbers allow.

    Args:
        names: Columns: the numbers that a step has.

    Returns:
        `ChartData` of web/data.js: those of `CHARTS` that have all their numbers, then one for each
        number that none of them shows.
    """
    bands = {
        name: name.removeprefix(BAND_PREFIX).replace("_", " ")
        for name in names
        if name.startswith(BAND_PREFIX)
    }
    known = [chart for chart in CHARTS if all(name in names for name in chart.lines)]
    if bands:
        note = "Energy of the change in bands of spatial frequency, in cycles per picture."
        known.append(Chart("Coarse and fine", note, bands, "levels²"))
    shown = {name for chart in known for name in chart.lines}
    others = [
        Chart(name.replace("_", " ").capitalize(), "", {name: ""})
        for name in names
        if name not in shown and not OF_A_WORD.fullmatch(name)
    ]
    return [asdict(chart) for chart in (*known, *others)]
