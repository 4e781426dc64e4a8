"""Configs and overrides from the web: refused by name, in one line, before anything is done."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from sdloop.job.config import LONGEST_PROMPT, dump_config
from sdloop.job.config_file import load_config
from sdloop.machine.documents import DEEPEST, LARGEST_BYTES, MOST_YAML_NODES, parse_json
from sdloop.machine.errors import UserError
from sdloop.run import main

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefghijklmnop")
)  # 9 ** 15 values


@pytest.fixture
def refused(tmp_path, capsys):
    """Return a function that runs a config and returns the one line that it is refused with."""

    def run(text, *overrides, name="bad.yaml"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        assert main([str(path), *overrides, "--dry-run"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.endswith("\n")
        assert err[:-1].isprintable(), err
        assert len(err) < 1100
        return err

    return run


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "anchors (&) and aliases (*) are not allowed (line 1, column 4)"),
        ("prompt: &p x", "anchors"),
        ("a: *b", "aliases"),
        ("prompt: !!python/object/apply:os.system [id]", "tags (!) are not allowed"),
        ("prompt: !!str 3", "tags (!)"),
        ("prompt: !local 3", "tags (!)"),
        ("prompt: p\n<<: {seed: 1}", "<<: unknown key"),
        ("prompt: p\nprompt: q", "the key 'prompt' occurs twice (line 2, column 1)"),
        ("prompt: p\nexport: {scale: 1, scale: 2}", "the key 'scale' occurs twice"),
        ("1: 2", "a key must be a printable text"),
        ("null: 3", "a key must be a printable text"),
        ("? [a, b]\n: 3", "a key must be a printable text"),
        ("prompt: p\n---\nprompt: q", "but found another document"),
        ("prompt: " + "[" * 5000, f"nested deeper than {DEEPEST} levels"),
        ("prompt: " + "{a: " * 5000, f"nested deeper than {DEEPEST} levels"),
        ("prompt: " + "- " * 5000, "is not YAML"),
        ("prompt: p\nexport: [" + "gif, " * MOST_YAML_NODES + "]", "more than 500 values"),
        ("prompt: p\nseed: " + "9" * 5000, "a number of 5000 digits"),
        ("prompt: p\nseed: 0x" + "f" * 5000, "a number of 5002 digits"),
        ("prompt: p\nseed: 0b_", "seed = '0b_': must be a valid integer"),
        ("prompt: p\nseed: " + "9" * 300, "seed = 999"),
        ("prompt: p\nguidance_scale: 1" + ":59" * 120 + ".5", "guidance_scale"),
        ("prompt: p\nguidance_scale: .inf", "must be a finite number"),
        ("prompt: p\nguidance_scale: 1e999", "guidance_scale = inf: must be a finite number"),
        ('prompt: "a\\0b"', "must not hold the control character U+0000"),
        ('prompt: "\\e[2J"', "must not hold the control character U+001B"),
        ('prompt: "\\x9b"', "must not hold the control character U+009B"),
        ('prompt: "\\ud800"', "prompt = '\\ud800': must"),
        ("prompt: p\x00", "is not YAML"),
        (b"prompt: \xff", "is not UTF-8"),
        ('prompt: p\nmodel: "a\\nb"', "must not hold the control character U+000A"),
        ('prompt: p\noutput: "a\\0b"', "must not hold the control character U+0000"),
        ('prompt: p\nmeasure: {mask: "a\\tb"}', "must not hold the control character U+0009"),
        ("prompt: " + "x" * (LONGEST_PROMPT + 1), f"at most {LONGEST_PROMPT} characters"),
        ("prompt: p\nnegative_prompt: " + "é" * 20_000, f"at most {LONGEST_PROMPT} characters"),
        ("prompt: p\noutput: " + "x" * 5000, "at most 4096 characters"),
        ("prompt: p\nheight: 1000000000", "height = 1000000000: must be less than"),
        ("prompt: p\nscheduler: {num_steps: 100000}", "num_steps = 100000: must be less than"),
        ("prompt: p\nexport: {scale: 1000000}", "scale = 1000000: must be less than"),
        ("prompt: p\nexport: {delay_ms: 10000000}", "delay_ms = 10000000: must be less than"),
        ("prompt: p\ndecode: {batch_size: 10000000}", "batch_size = 10000000: must be less than"),
        ("prompt: p\ndevice: cuda:99999999999999", "device = 'cuda:99999999999999': allowed"),
        ("prompt: p\n? " + "x" * 3000 + "\n: 1", "unknown key"),
        ('prompt: p\n"\\ud800": 1', "a key must be a printable text"),
        ("prompt: {" + ", ".join(f"k{n}: {n}" for n in range(200)) + "}", "prompt = {"),
        (" " * (LARGEST_BYTES + 1), f"is larger than {LARGEST_BYTES} bytes"),
    ],
)  # fmt: skip
def test_hostile_config_is_refused(refused, text, said):
    assert said in refused(text)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=&a 1", "anchors"),
        ("seed=!!int 1", "tags"),
        ("seed={a: 1, a: 2}", "occurs twice"),
        ("seed=" + "[" * 100_000, "nested deeper"),
        ("seed=" + "9" * 100_000, "a number of 100000 digits"),
        ("seed=2024-99-99", "seed = '2024-99-99': must be a valid integer"),
        ("prompt=a\x00b", "control character U+0000"),
        ("prompt=\udcff", "prompt = '\\udcff'"),
        ("output=a\x1b]0;title\x07", "control character U+001B"),
        ("model=a\nb", "control character U+000A"),
        ("s\udcff=1", "an override is key=value"),
        ("=1", "'=1': an override is key=value"),
        ("\n\n=\n", "an override is key=value"),
        (".=1", "unknown key"),
        ("seed." * 3000 + "x=1", "seed = {"),
        ("x" * 100_000 + "=1", "unknown key"),
        ("seed=" + "x" * 100_000, "seed = 'xxx"),
    ],
)
def test_hostile_override_is_refused(refused, override, said):
    assert said in refused("prompt: p", override)


@pytest.mark.parametrize("name", ["...yaml", "..yaml", ".hidden.yaml", ".yaml", "a\nb.yaml"])
def test_names_of_configs_do_not_lead_out_of_runs(refused, tmp_path, name):
    assert "cannot name the run's folder" in refused("prompt: p", name=name)
    path = tmp_path / name
    assert load_config(path, [f"output={tmp_path}"]).output == str(tmp_path)


@pytest.mark.parametrize("special", ["/dev/zero", "fifo", "folder", "loop"])
def test_what_is_no_file_is_not_read(tmp_path, capsys, special):
    path = tmp_path / special
    if special == "fifo":
        os.mkfifo(path)
    elif special == "folder":
        path.mkdir()
    elif special == "loop":
        path.symlink_to(path)
    assert main([str(path), "--dry-run"]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_text_that_looks_like_other_types_stays_text(tmp_path):
    path = tmp_path / "c.yaml"
    for text in ("2024-01-01", "2024-99-99", "=", "<<"):
        path.write_text(f"prompt: {text}")
        assert load_config(path).prompt == text


def test_prompts_may_hold_lines_and_every_script(tmp_path):
    prompt = "a\n\tb 👩‍🚀 \u202eevil\u2028 ﷽ \U0010fffd" + "x" * 9000
    path = tmp_path / "c.yaml"
    path.write_text(dump_config(load_config(_plain(path), [f"prompt={prompt}"])), encoding="utf-8")
    assert load_config(path).prompt == prompt


def _plain(path: Path) -> Path:
    """Write a config that is fine."""
    path.write_text("prompt: p")
    return path


def test_no_name_is_too_long_or_odd_for_one_line(tmp_path, capsys):
    for name in ("x" * 5000, "a\0b", "\udcff", "a\nb", "\x1b[2J"):
        assert main([name, "--dry-run"]) == 2
        assert capsys.readouterr().err[:-1].isprintable()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "is not JSON: maximum recursion depth"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ('{"a": ' + "9" * 5000 + "}", "a number of 5000 digits"),
        ("[]", "holds no JSON object"),
        (b"\xff\xfe", "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_hostile_json_is_refused(text, said):
    with pytest.raises(UserError) as error:
        parse_json(text, "x")
    assert said in str(error.value)
