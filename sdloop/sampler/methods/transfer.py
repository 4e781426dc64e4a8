"""The deterministic transfer between two noise levels, which several methods share."""

from __future__ import annotations

from sdloop.sampler.table import Level, Prediction


def output_transfer(start: Level, end: Level, prediction: Prediction) -> tuple[float, float]:
    """Lead a latent along the network's output from one level to another.

        z_to = a z_from + b output = end.signal z0 + end.noise eps

    This is DDIM with eta 0 (Song et al. 2021, arXiv:2010.02502, eq. 12 with sigma 0); for
    v-prediction, eps = signal v + noise z is put in (arXiv:2202.00512, appendix D). Nothing is
    divided by a signal of 0, unless the network predicts eps, which then says nothing.

    Args:
        start: Where the latent is.
        end: Where it goes; where fresh noise is added, its noise is what is left of the old.
        prediction: What the output is.

    Returns:
        a and b.
    """
    if prediction == "sample":
        a = end.noise / start.noise
        return a, end.signal - start.signal * a
    if prediction == "v_prediction" and start.signal == 0:
        return end.noise, -end.signal
    a = end.signal / start.signal
    b = end.noise - start.noise * a
    if prediction == "v_prediction":
        return a + b * start.noise, b * start.signal
    return a, b
