"""Configs and overrides."""

import re
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import yaml
from pydantic import BaseModel, Field

from sdloop.job.config import RunConfig, comment_of, dump_config
from sdloop.job.config_file import load_config
from sdloop.machine.errors import UserError
from sdloop.show.figure.png import write_png


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a config file."""

    def write_text(text, name="robot.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_text


def test_defaults_are_filled_in(write):
    config = load_config(write("prompt: a robot"))
    assert config.output == "runs/robot"
    assert config.scheduler.num_steps == 50
    assert config.model == "bundled"


def test_dumped_config_loads_to_the_same(write):
    config = load_config(write("prompt: 'a: \"#\" ü'\nexport: {stages: [0, 3]}\nseed: 4"))
    assert load_config(write(dump_config(config), "again.yaml")) == config


@pytest.mark.parametrize(
    ("override", "reach", "expected"),
    [
        ("seed=7", lambda c: c.seed, 7),
        ("scheduler.num_steps=9", lambda c: c.scheduler.num_steps, 9),
        ("export.stages=[1, 2]", lambda c: c.export.stages, (1, 2)),
        ("export.stages=null", lambda c: c.export.stages, None),
        ("prompt=yes", lambda c: c.prompt, "yes"),
        ("prompt=a = b: c", lambda c: c.prompt, "a = b: c"),
        ("guidance_scale=3", lambda c: c.guidance_scale, 3.0),
        ("difference.scale=global", lambda c: c.difference.scale, "global"),
        ("model=some/thing", lambda c: c.model, "some/thing"),
    ],
)
def test_overrides_reach_every_level(write, override, reach, expected):
    path = write("prompt: p\nexport: {stages: [0]}")
    assert reach(load_config(path, [override])) == expected


def test_json_is_a_config_whose_pairs_of_surrogates_are_one_character(write):
    config = load_config(write('{"prompt": "a \\ud83d\\udc3c", "negative_prompt": "\\r\\n"}'))
    assert (config.prompt, config.negative_prompt) == ("a \U0001f43c", "\r\n")
    assert load_config(write(dump_config(config), "again.yaml")).prompt == config.prompt


def test_half_a_character_is_refused(write):
    with pytest.raises(UserError, match=r"prompt = .*ud83d .*must be a valid string"):
        load_config(write('{"prompt": "\\ud83d \\udc3c"}'))


def test_later_overrides_win(write):
    assert load_config(write("prompt: p"), ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("prompt: p\nsede: 1", [], r"sede: unknown key; did you mean seed\?"),
        ("prompt: p", ["export.sale=2"], r"export.sale: unknown key; did you mean scale\?"),
        ("seed: 1", [], "prompt: is missing"),
        ("prompt: p\nseed: '1'", [], "seed = '1': must be a valid integer"),
        ("prompt: p\nseed: true", [], "seed = True: must be a valid integer"),
        ("prompt: p", ["seed=-1"], "seed = -1: must be greater than or equal to 0"),
        ("prompt: p", ["scheduler.num_steps=0"], "num_steps = 0: must be greater"),
        ("prompt: p", ["scheduler.type=eular"], "'eular': allowed: model, "),
        ("prompt: p", ["guidance_scale=.nan"], "guidance_scale = nan: must be a finite number"),
        ("prompt: p", ["guidance_scale=0.9"], "guidance_scale = 0.9: must be greater"),
        ("prompt: p", ["height=100000"], "height = 100000: must be less"),
        ("prompt: p", ["device=tpu"], "device = 'tpu': allowed: auto, cpu"),
        ("prompt: p", ["export.delay_ms=25"], "delay_ms = 25: must be a multiple of 10"),
        ("prompt: p", ["seed"], "'seed': an override is key=value"),
        ("prompt: p", ["seed=[1"], r"seed = \[1: is not YAML"),
        ("prompt: p", ["prompt.x=1"], "prompt holds no keys"),
        ("prompt: p\nscheduler: 3", [], "scheduler = 3"),
        ("- a\n- b", [], "must be a YAML mapping"),
        ("", [], "must be a YAML mapping .* not empty"),
        ("a: [", [], "is not YAML"),
        ("prompt: !!python/object:os.system p", [], "is not YAML"),
    ],
)
def test_bad_values_are_named_in_one_line(write, text, overrides, said):
    with pytest.raises(UserError, match=said) as error:
        load_config(write(text), overrides)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("prompt: no", [], 'prompt = no: YAML reads a boolean; {}: prompt: "no"'),
        ("prompt: On", [], 'prompt = On: YAML reads a boolean; {}: prompt: "On"'),
        ("prompt: 123", [], 'prompt = 123: YAML reads a number; {}: prompt: "123"'),
        ("prompt: 010", [], 'prompt = 010: YAML reads a number; {}: prompt: "010"'),
        ("{seed: 1, prompt: 1.50}", [], 'prompt = 1.50: YAML reads a number; {}: prompt: "1.50"'),
        ("prompt: 1e3", [], 'prompt = 1e3: YAML reads a number; {}: prompt: "1e3"'),
        ("prompt:", [], 'prompt = : YAML reads null; {}: prompt: ""'),
        ("prompt: ~", [], 'prompt = ~: YAML reads null; {}: prompt: "~"'),
        (
            "prompt: p\nnegative_prompt: off",
            [],
            'YAML reads a boolean; {}: negative_prompt: "o',
        ),
        (
            "prompt: p\nmeasure: {mask: 7}",
            [],
            'measure.mask = 7: YAML reads a number; {}: mask: "7"',
        ),
        ("prompt: p", ["measure.mask=yes"], """reads a boolean; {}: measure.mask='"yes"'"""),
        ("prompt: p", ["measure={mask: 7}"], """reads a number; {}: measure.mask='"7"'"""),
        ("prompt: [a, b]", [], "prompt = ['a', 'b']: must be text, not a list"),
        ("prompt: {a: b}", [], "prompt = {'a': 'b'}: must be text, not a mapping"),
    ],
)
def test_texts_that_yaml_takes_for_something_else_are_quoted(write, text, overrides, said):
    with pytest.raises(UserError) as error:
        load_config(write(text), overrides)
    assert said.replace("{}", "put the text in quotes") in str(error.value)
    if '"' in said and not overrides:  # what the message says to write is a config that loads
        fixed = str(error.value).partition("put the text in quotes: ")[2]
        inner = f"measure: {{{fixed}}}" if "mask" in fixed else fixed
        before = "" if fixed.startswith("prompt") else "prompt: p\n"
        load_config(write(before + inner))


def keys_with_patterns(model, way=()):
    """Yield the dotted key, and what it allows, of every field that is held against a pattern."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_with_patterns(field.annotation, (*way, name))
        elif any(getattr(limit, "pattern", None) for limit in field.metadata):
            yield ".".join((*way, name)), field.description


def keys_of(model, way=()):
    """Yield the dotted name of every key that holds a value."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, (*way, name))
        else:
            yield ".".join((*way, name))


def test_readme_lists_every_key():
    text = (Path(__file__).parents[2] / "configs/README.md").read_text()
    rows = re.findall(r"^\| (`.*?`) \|", text.partition("## Sweeps")[0], re.MULTILINE)
    listed = [key for row in rows for key in re.findall(r"`([\w.]+)`", row)]
    assert sorted(listed) == sorted(keys_of(RunConfig))


def test_every_pattern_is_explained_in_its_keys_own_words(write):
    known = dict(keys_with_patterns(RunConfig))
    assert known["device"] == "auto, cpu, mps, cuda, cuda:<number>"
    for key, allowed in known.items():
        with pytest.raises(UserError) as error:
            load_config(write("prompt: p"), [f"{key}=??"])
        assert f"{key} = '??': allowed: {allowed}" in str(error.value)


def test_pattern_of_another_key_does_not_speak_of_devices(write, monkeypatch):
    class Patterned(RunConfig):
        device: Annotated[str, Field(pattern="^[a-z]$", description="one letter")] = "x"
        output: Annotated[str, Field(pattern="^[a-z]$")] = "x"

    for module in ("config_file", "config_errors"):
        monkeypatch.setattr(f"sdloop.job.{module}.RunConfig", Patterned)
    with pytest.raises(UserError, match=r"device = 'cpu': allowed: one letter"):
        load_config(write("prompt: p"), ["device=cpu", "output=x"])
    with pytest.raises(UserError, match=r"output = 'cpu': String should match pattern '\^\[a-z\]"):
        load_config(write("prompt: p"), ["output=cpu"])


def test_missing_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing.yaml: cannot be read: No such file"):
        load_config(tmp_path / "nothing.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01\x80")
    with pytest.raises(UserError, match=r"binary.yaml: is not UTF-8: .*; save the file as UTF-8"):
        load_config(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("guidance_scale: 1e1", "guidance_scale", 10.0),
        ("seed: 010", "seed", 10),
        ("seed: 1_000", "seed", 1000),
        ("prompt: 12:30:00", "prompt", "12:30:00"),
        ("prompt: 2026-11-25", "prompt", "2026-11-25"),
        ("prompt: '1e1'", "prompt", "1e1"),
        ("prompt: '0o17'", "prompt", "0o17"),
    ],
)
def test_numbers_are_those_that_people_read(write, text, key, expected):
    config = load_config(write(text if key == "prompt" else f"prompt: p\n{text}"))
    assert getattr(config, key) == expected
    assert load_config(write(dump_config(config))) == config


@pytest.mark.parametrize(
    ("written", "read"),
    [("true", "full"), ("false", "off"), ("off", "off"), ("full", "full"), ("tiny", "tiny")],
)
def test_z0_hat_reads_what_older_configs_said(write, written, read):
    config = load_config(write(f"prompt: p\ndecode: {{z0_hat: {written}}}"))
    assert config.decode.z0_hat == read
    assert load_config(write(dump_config(config))) == config


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["decode.z0_hat=3"], "decode.z0_hat = 3: .*'full', 'tiny' or 'off'"),
        (["scheduler=ddim"], "scheduler = 'ddim': has keys of its own .*; set scheduler.type=ddim"),
        (
            ["decode=3"],
            r"decode = 3: has keys of its own \(batch_size, z0_hat, tiny\); set one of them",
        ),
        (["num_inference_steps=3"], "did you mean scheduler.num_steps?"),
        (["cfg=3"], "did you mean guidance_scale?"),
        (["negative=x"], "did you mean negative_prompt?"),
        (["guidance_scale=0"], "guidance_scale = 0: .* 1; 1 turns guidance off"),
    ],
)
def test_what_other_programs_say_leads_to_our_key(write, overrides, said):
    with pytest.raises(UserError, match=said):
        load_config(write("prompt: p"), overrides)


def test_text_with_a_colon_is_told_to_stand_in_quotes(write):
    with pytest.raises(UserError, match=r'a text with ": " in it must be in quotes \(line 1'):
        load_config(write("prompt: a cat: x"))


def test_one_format_is_a_list_of_one(write):
    assert load_config(write("prompt: p"), ["export.formats=webp"]).export.formats == ("webp",)


def test_config_cannot_be_changed(write):
    config = load_config(write("prompt: p"))
    with pytest.raises(Exception, match="frozen"):
        config.seed = 3


def test_every_key_is_in_the_dump():
    dumped = yaml.safe_load(dump_config(RunConfig(prompt="p")))
    assert set(dumped) == set(RunConfig.model_fields)


def test_a_picture_of_a_run_is_its_config(tmp_path):
    config = RunConfig(prompt="an Äffchen: 'x'\n🐒", seed=7, output="runs/first")
    path = tmp_path / "strip.png"
    write_png(path, np.zeros((8, 8, 3), dtype=np.uint8), comment_of(config))
    again = load_config(path)
    assert again == config.model_copy(update={"output": "runs/strip"})
    assert load_config(path, ["seed=8", "output=x"]).seed == 8
    with pytest.raises(UserError, match=r"strip\.png: seed = -1: .*0"):
        load_config(path, ["seed=-1"])


@pytest.mark.parametrize("comment", ["", "made with a camera", "prompt: a fox"])
def test_a_picture_of_something_else_is_refused(tmp_path, comment):
    path = tmp_path / "photo.png"
    write_png(path, np.zeros((8, 8, 3), dtype=np.uint8), comment)
    with pytest.raises(UserError, match=r"photo\.png: holds no settings of a run"):
        load_config(path)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ({}, 3.5),
        ({"model": "bundled"}, 3.5),
        ({"model": "a/b"}, 7.5),
        ({"guidance_scale": 7.5}, 7.5),
    ],
)
def test_the_bundled_model_is_guided_less_by_default(values, scale):
    assert RunConfig(prompt="a fox", **values).guidance_scale == scale
