"""What the pipeline corrects of a model's configs on loading, against the pipeline itself."""

import json
import shutil

import pytest
import torch
import yaml
from diffusers import DDIMScheduler, PNDMScheduler, StableDiffusionPipeline

from sdloop import run as door
from sdloop import sweep as sweep_door
from sdloop.job.config_file import load_config
from sdloop.job.plan import prepare
from sdloop.job.sample import denoise
from sdloop.machine.errors import UserError
from sdloop.model.find import find
from sdloop.model.text import encode_prompts
from sdloop.sampler.loop import initial_noise
from tests.conftest import SCHEDULER as SAVED

SCHEDULER = "scheduler/scheduler_config.json"
DDIM = {"_class_name": "DDIMScheduler"}
DDPM = {"_class_name": "DDPMScheduler", "clip_sample": True}


@pytest.fixture
def model(model_folder, tmp_path):
    """Return a function that copies the model with another scheduler config, and without keys."""

    def write(changes, without=(), index=None):
        folder = shutil.copytree(model_folder, tmp_path / "model")
        config = json.loads((folder / SCHEDULER).read_text()) | changes
        kept = {key: value for key, value in config.items() if key not in without}
        (folder / SCHEDULER).write_text(json.dumps(kept))
        names = json.loads((folder / "model_index.json").read_text())
        names["scheduler"] = ["diffusers", index or config["_class_name"]]
        (folder / "model_index.json").write_text(json.dumps(names))
        return folder

    return write


@pytest.fixture
def prepared(tmp_path):
    """Return a function that prepares a run of a model."""

    def make(folder, **values):
        path = tmp_path / "run.yaml"
        config = {"prompt": "a cat", "model": str(folder), "output": str(tmp_path / "run")}
        path.write_text(yaml.safe_dump({**config, "scheduler": {"num_steps": 4}} | values))
        return prepare(load_config(path))

    return make


def pipeline_of(models, scheduler):
    """Make diffusers' pipeline with a scheduler; its constructor corrects that."""
    return StableDiffusionPipeline(
        models.vae, models.text_encoder, models.tokenizer, models.unet, scheduler,
        None, None, None, False,
    )  # fmt: skip


def assert_walks_as(pipeline, run, models):
    """Hold a run's last latent against the pipeline's, from the same noise."""
    z = initial_noise([3], *run.latent_shape)
    embeddings = encode_prompts(models.tokenizer, models.text_encoder, ["a cat"], [""])
    ours = denoise(models.unet, run.table, z, embeddings).latents[-1]
    theirs = pipeline("a cat", latents=z, num_inference_steps=4, output_type="latent").images
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5 * theirs.abs().max().item())


@pytest.mark.parametrize(
    ("changes", "without", "kind", "said"),
    [
        ({"steps_offset": 0}, (), PNDMScheduler, "steps_offset 0 -> 1"),
        ({"steps_offset": 0}, (), DDIMScheduler, "steps_offset 0 -> 1"),
        ({"steps_offset": None}, (), PNDMScheduler, "steps_offset None -> 1"),
        ({}, ("steps_offset",), PNDMScheduler, "steps_offset 0 -> 1"),
        (DDIM | {"clip_sample": True}, (), DDIMScheduler, "clip_sample True -> False"),
        (DDIM, ("clip_sample",), DDIMScheduler, "clip_sample True -> False"),
        ({"clip_sample": True}, (), DDIMScheduler, "clip_sample True -> False"),
        (DDPM, (), DDIMScheduler, "clip_sample True -> False"),
    ],
)
def test_run_is_that_of_the_pipeline_which_corrects_its_scheduler(
    model, prepared, models, changes, without, kind, said
):
    folder = model(changes, without)
    is_saved = kind.__name__ == json.loads((folder / SCHEDULER).read_text())["_class_name"]
    name = "model" if is_saved else "ddim"
    run = prepared(folder, scheduler={"num_steps": 4, "type": name})
    assert f"on loading: {said}; model_as_saved: true" in run.correction
    assert_walks_as(pipeline_of(models, kind.from_pretrained(folder / "scheduler")), run, models)


@pytest.mark.parametrize("without", [(), ("_class_name",)])
def test_model_index_decides_the_schedulers_class(model, prepared, models, without):
    folder = model({}, without, index="DDIMScheduler")
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    assert isinstance(pipeline.scheduler, DDIMScheduler)
    run = prepared(folder)
    assert run.config.scheduler.type == "ddim"
    assert_walks_as(pipeline, run, models)


def test_class_of_the_config_counts_where_the_index_names_none(model, prepared):
    folder = model({})
    (folder / "model_index.json").unlink()
    assert prepared(folder).config.scheduler.type == "pndm"


def test_configs_are_taken_to_the_letter_on_demand(model, prepared, models):
    folder = model({"steps_offset": 0})
    run = prepared(folder, model_as_saved=True)
    assert run.correction is None
    pipeline = pipeline_of(models, None)
    pipeline.register_modules(scheduler=PNDMScheduler.from_pretrained(folder / "scheduler"))
    assert_walks_as(pipeline, run, models)


def test_clipping_to_the_letter_is_refused(model, prepared):
    with pytest.raises(UserError, match=r"clip_sample = True is not .*; model_as_saved=false corr"):
        prepared(model(DDIM | {"clip_sample": True}), model_as_saved=True)


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({}, {}),
        ({"steps_offset": 0}, {"scheduler": {"num_steps": 4, "steps_offset": 0}}),
        ({"steps_offset": 0, "timestep_spacing": "trailing"}, {}),
        ({"clip_sample": True}, {}),  # PNDM does not clip
    ],
)
def test_nothing_is_said_where_nothing_changes(model, prepared, changes, values):
    run = prepared(model(changes), **values)
    assert run.correction is None
    wanted = changes if "scheduler" in values else SAVED
    assert run.config.scheduler.steps_offset == wanted["steps_offset"]


@pytest.mark.parametrize(
    ("version", "side"),
    [("0.6.0", 64), ("0.8.1.dev0", 64), ("0.9.0.dev0", 8), ("0.10.2", 8), ("1.0", 8), (None, 8)],
)
def test_sample_size_of_an_old_unet_is_64(model, prepared, models, version, side):
    folder = model({})
    path = folder / "unet/config.json"
    config = json.loads(path.read_text())
    del config["_diffusers_version"]
    path.write_text(json.dumps(config | ({"_diffusers_version": version} if version else {})))
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    assert pipeline.unet.config.sample_size == side
    run = prepared(folder)
    assert run.latent_shape == (4, side, side)
    assert (run.correction is not None) == (side == 64)
    assert side == 8 or "the UNet's sample_size 8 -> 64" in run.correction
    assert prepared(folder, width=64, height=64).correction is None
    assert prepared(folder, model_as_saved=True).latent_shape == (4, 8, 8)
    assert find(str(folder), as_saved=True).sample_size == (8, 8)


def test_correction_is_one_line_and_comes_once(model, tmp_path, capfd, tiny_config):
    folder = model({"steps_offset": 0})
    said = f"warning: model = {folder}: corrected as StableDiffusionPipeline does on loading"
    assert door.main([str(tiny_config), f"model={folder}", "--dry-run"]) == 0
    assert capfd.readouterr().err.count(said) == 1
    values = yaml.safe_load(tiny_config.read_text()) | {"model": str(folder)}
    del values["export"], values["seed"]
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**values, "keep": ["trajectory"], "sweep": {"seed": [7, 8]}}))
    assert sweep_door.main([str(path)]) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if said in line]
    assert len(lines) == 1


def test_what_the_network_returns_may_be_said(model, prepared, models):
    # a v-predicting checkpoint takes its configs from Stable Diffusion 1.5, which predicts epsilon
    folder = model({})
    run = prepared(folder, scheduler={"num_steps": 4, "prediction_type": "v_prediction"})
    assert run.config.scheduler.prediction_type == "v_prediction"
    scheduler = PNDMScheduler.from_pretrained(folder / "scheduler", prediction_type="v_prediction")
    assert_walks_as(pipeline_of(models, scheduler), run, models)
    assert prepared(folder).config.scheduler.prediction_type == "epsilon"


def test_what_a_method_cannot_use_is_refused(model, prepared):
    with pytest.raises(UserError, match="prediction_type = 'sample': pndm has no such option"):
        prepared(model({}), scheduler={"prediction_type": "sample"})
