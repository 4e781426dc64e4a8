"""Methods in writing: the formulas against the tables' numbers, README.md against the registry."""

import math
import re
from pathlib import Path

import pytest

from sdloop import run
from sdloop.sampler.explain import explain, method_tables
from sdloop.sampler.methods import METHODS, find_method
from sdloop.sampler.noise_levels import NoiseLevels
from sdloop.sampler.scheduler_config import override, read_settings

ROOT = Path(__file__).parents[2]
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SD |= {"skip_prk_steps": True, "steps_offset": 1}
STEPS = 8


def settings_for(kind):
    """Read a method's defaults for epsilon, with some fresh noise where it takes any."""
    settings = read_settings(SD, kind)
    return override(settings, {"eta": 0.5}) if "eta" in METHODS[kind].options else settings


def value_of(formula, row, number, settings, following):
    """Compute a formula with the letters that explain.py and the method name."""
    (s, n), (s1, n1) = row.start, row.end
    letters = {"s": s, "n": n, "s1": s1, "n1": n1, "sqrt": math.sqrt, "exp": math.exp}
    letters |= {"sigma": row.start.sigma, "sigma1": row.end.sigma, "eta": settings.eta, "c": row.c}
    if s:
        letters["h"] = row.end.log_snr_half - row.start.log_snr_half
    letters["x"] = settings.timestep_scaling * row.timestep
    below = NoiseLevels(settings).at(math.floor((1 - settings.eta) * following))
    letters["sigma_down"] = below.sigma
    first, _, again = formula.partition("; then ")
    text = (again if again and row.base != number else first).replace("'", "1").replace("^", "**")
    return eval(text, {}, letters)


@pytest.mark.parametrize("kind", [kind for kind in METHODS if kind != "pndm"])
def test_formulas_are_what_the_tables_hold(kind):
    settings, formula = settings_for(kind), METHODS[kind].formula
    rows = METHODS[kind].rows(settings, STEPS)
    for number, row in enumerate(rows):
        following = rows[number + 1].timestep if number + 1 < len(rows) else 0
        for letter in "abc":
            value = value_of(getattr(formula, letter), row, number, settings, following)
            assert value == pytest.approx(getattr(row, letter), rel=1e-9, abs=1e-9), letter


def test_weights_in_words_are_what_the_tables_hold():
    rows = METHODS["dpm++_2m"].rows(settings_for("dpm++_2m"), STEPS)
    h = [row.end.log_snr_half - row.start.log_snr_half for row in rows]
    u = h[2] / h[3]
    assert rows[3].weights == pytest.approx({3: 1 + 1 / (2 * u), 2: -1 / (2 * u)})
    pndm = METHODS["pndm"].rows(settings_for("pndm"), STEPS)
    assert [pndm[5].weights[row] for row in (5, 4, 3, 2)] == [55 / 24, -59 / 24, 37 / 24, -9 / 24]


def test_readme_holds_the_registry():
    readme = (ROOT / "sdloop/sampler/README.md").read_text()
    held = re.search(r"<!-- methods -->\n\n(.*?)\n\n<!-- end of methods -->", readme, re.DOTALL)
    assert held, "README.md of the sampler has no block of methods"
    assert held.group(1) == method_tables(), "run: python scripts/sampler_tables.py"


def test_names_in_the_front_readme_are_names():
    listed = re.search(
        r"`scheduler.type` takes, beside the model's own: (.*?);",
        (ROOT / "README.md").read_text(),
        re.DOTALL,
    )
    assert listed
    names = re.findall(r"`([^`]+)`", listed.group(1))
    assert len(names) > 10
    for name in names:
        find_method(name)


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_is_explained_in_full(kind):
    method = METHODS[kind]
    text = explain(settings_for(kind), STEPS)
    rows = text.rpartition("\n\n")[2].splitlines()
    assert len(rows) == 1 + len(method.rows(settings_for(kind), STEPS))
    for said in (kind, method.scheduler, method.source, method.order, method.formula.a):
        assert said in text
    assert ("deterministic  yes" in text) == (method.noise in ("never", "with stochastic_sampling"))


def test_command_prints_a_table(capsys):
    command = ["--explain-sampler", "heun_karras", "scheduler.num_steps=3"]
    assert run.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "heun"
    assert "levels         leading, sigmas karras" in lines
    assert lines[-4].endswith("0.5 kept[1] + 0.5 kept[0]  again")
    assert lines[-3].endswith("kept[2]                    tries")


def test_command_takes_steps_and_sampler_from_a_config(capsys, tiny_config):
    assert run.main(["--explain-sampler", "model", str(tiny_config)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("pndm\n")
    assert "here 6 for 5" in out
    assert list(tiny_config.parent.iterdir()) == [tiny_config]  # nothing was run


def test_command_lists_the_names_where_one_is_wrong(capsys):
    assert run.main(["--explain-sampler", "dpm+"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: scheduler.type = 'dpm+': allowed: model, ")
    assert all(kind in message for kind in METHODS)
