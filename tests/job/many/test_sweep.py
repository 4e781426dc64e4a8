"""A sweep's config: what is varied, what is refused, what each run is called."""

import pytest

from sdloop.job.many.axes import name_of
from sdloop.job.many.sweep import load_sweep
from sdloop.machine.errors import UserError


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a sweep's config and returns its path."""

    def write_text(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write_text


def test_sweep_is_the_product_of_its_lists_the_last_changing_first(write):
    sweep = load_sweep(
        write(
            "prompt: a\nscheduler: {num_steps: 5}\n"
            "sweep: {seed: 0..1, scheduler.type: [ddim, pndm]}"
        )
    )
    assert [run.name for run in sweep.runs] == [
        "seed-0_type-ddim", "seed-0_type-pndm", "seed-1_type-ddim", "seed-1_type-pndm",
    ]  # fmt: skip
    assert sweep.runs[1].config.scheduler.type == "pndm"
    assert sweep.runs[1].config.scheduler.num_steps == 5
    assert sweep.runs[1].config.output == "runs/mine/seed-0_type-pndm"


def test_zip_changes_its_keys_together(write):
    text = "sweep: {seed: [4, 5]}\nzip: {prompt: [a, b], guidance_scale: [1, 2.5]}"
    runs = load_sweep(write(text)).runs
    told = [(run.config.seed, run.config.prompt, run.config.guidance_scale) for run in runs]
    assert told == [(4, "a", 1), (4, "b", 2.5), (5, "a", 1), (5, "b", 2.5)]


def test_override_reaches_into_an_axis(write):
    path = write("prompt: a\nsweep: {seed: [1], guidance_scale: [2, 3]}")
    runs = load_sweep(path, ["sweep.seed=[7, 8]", "output=there"]).runs
    assert [run.config.seed for run in runs] == [7, 7, 8, 8]
    assert runs[0].config.output == "there/seed-7_guidance_scale-2"


def test_name_depends_on_its_own_values_alone(write):
    few = load_sweep(write("prompt: a\nsweep: {seed: [1], guidance_scale: [2]}"))
    more = load_sweep(write("prompt: a\nsweep: {seed: [0, 1], guidance_scale: [1, 2]}"))
    assert few.runs[0].name in [run.name for run in more.runs]


def test_name_holds_no_letter_that_a_file_system_or_a_command_minds():
    prompts = ["A cat", "a cat", "a/../cat", "猫", "a=b", "x" * 9000, "", "."]
    names = [name_of({"prompt": prompt, "measure.mask": prompt}) for prompt in prompts]
    assert len(set(names)) == len(prompts)
    for name in names:
        assert len(name.encode()) < 200
        assert not set(name) & set('=/\\:*?"<>| ')
        assert name.isascii()
        assert name == name.lower()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompt: a", "names no key to vary"),
        ("prompt: a\nsweep: {seed: 3}", "seed = 3: must be a list"),
        ("prompt: a\nsweep: {seed: []}", "must be a list"),
        ("prompt: a\nsweep: {seed: [1, 1]}", "seed: 1 appears twice"),
        ("prompt: a\nsweep: {guidance_scale: [1, 1.0]}", "appears twice"),
        ("prompt: a\nseed: 1\nsweep: {seed: [1, 2]}", "is both varied and set to 1; remove one"),
        ("prompt: a\nsweep: {output: [a, b]}", "cannot be varied"),
        ("prompt: a\nsweep: {sed: [1]}", "did you mean seed"),
        ("prompt: a\nsweep: {seed: [1, x]}", "seed = 'x'"),
        ("prompt: a\nsweep: {seed: 0..9999999}", "more than 100000"),
        ("prompt: a\nsweep: {seed: 0..999, guidance_scale: 1..1000}", "1000000 runs"),
        ("zip: {prompt: [a, b], seed: [1]}", "equally long"),
        ("sweep: {seed: [1]}\nzip: {seed: [1], prompt: [a]}", "appears under both sweep and zip"),
        ("prompt: a\nsweep: {seed: [1]}\nkeep: [movie]", "allowed: all, or a list of trajectory"),
        ("prompt: a\nsweep: {seed: [1]}\ncolumns: prompt", "allowed: seed"),
        ("prompt: a\nsweep: {seed: [1]}\noutput: 3", "output"),
    ],
)
def test_mistake_is_named(write, text, said):
    with pytest.raises(UserError, match=said.replace("[", r"\[").replace("(", r"\(")):
        load_sweep(write(text))
