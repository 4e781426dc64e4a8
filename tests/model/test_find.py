"""Finding and loading models."""

import json
import re
import shutil

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from sdloop import render as render_module
from sdloop import run as run_module
from sdloop.machine.errors import UserError
from sdloop.model.find import BUNDLED, find
from sdloop.model.networks import load, load_vae
from sdloop.model.text import text_cut

CPU = torch.device("cpu")


@pytest.fixture
def copied(model_folder, tmp_path):
    """Return a copy of the model that a test may damage."""
    return shutil.copytree(model_folder, tmp_path / "model")


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_facts_come_from_the_configs(model_folder):
    source = find(str(model_folder))
    assert source.sample_size == (8, 8)
    assert source.vae_factor == 8
    assert source.latent_channels == 4
    assert source.scheduler["_class_name"] == "PNDMScheduler"


def test_networks_are_frozen_and_in_eval_mode(models):
    for network in (models.text_encoder, models.unet, models.vae):
        assert not network.training
        assert not any(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtype_reaches_every_network(model_folder, dtype):
    loaded = load(find(str(model_folder)), CPU, dtype)
    for network in (loaded.text_encoder, loaded.unet, loaded.vae):
        assert {weight.dtype for weight in network.parameters()} == {dtype}


def test_pickled_weights_are_refused(copied):
    weights = copied / "unet/diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), copied / "unet/diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(UserError, match=r"has no unet/diffusion_pytorch_model.safetensors"):
        find(str(copied))


def test_folder_with_only_the_fp16_variant_loads(copied, models):
    for component, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        path = copied / component / f"{stem}.safetensors"
        path.rename(path.with_name(f"{stem}.fp16.safetensors"))
    loaded = load(find(str(copied)), CPU, torch.float32)
    torch.testing.assert_close(loaded.unet.conv_in.weight, models.unet.conv_in.weight)


def test_sharded_weights_load(copied, models):
    models.unet.save_pretrained(copied / "unet", max_shard_size="100KB")
    (copied / "unet/diffusion_pytorch_model.safetensors").unlink()
    loaded = load(find(str(copied)), CPU, torch.float32)
    for name, weight in loaded.unet.state_dict().items():
        torch.testing.assert_close(weight, models.unet.state_dict()[name])


def beside_stale_whole_file(models, copied, part):
    """Save a network in shards, and beside them leave the whole file that an older save wrote."""
    network = getattr(models, part)
    network.save_pretrained(copied / part, max_shard_size="20KB")
    stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
    assert len(list((copied / part).glob(f"{stem}-*.safetensors"))) > 1
    stale = {name: (weight / 2).contiguous() for name, weight in network.state_dict().items()}
    save_file(stale, copied / part / f"{stem}.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("part", "library"),
    [("unet", UNet2DConditionModel), ("vae", AutoencoderKL), ("text_encoder", CLIPTextModel)],
)
def test_of_whole_file_and_shards_the_libraries_choice_is_loaded(copied, models, part, library):
    # diffusers reads the shards, transformers the whole file
    beside_stale_whole_file(models, copied, part)
    ours = getattr(load(find(str(copied)), CPU, torch.float32), part).state_dict()
    theirs = library.from_pretrained(copied / part).state_dict()
    assert set(ours) == set(theirs)
    for name, weight in ours.items():
        assert torch.equal(weight, theirs[name]), name


def test_missing_shard_is_named_though_a_whole_file_is_there(copied, models):
    beside_stale_whole_file(models, copied, "unet")
    shard = sorted((copied / "unet").glob("diffusion_pytorch_model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(UserError, match=f"unet/{shard.name} is not there, though an index names"):
        find(str(copied))


def test_weights_before_the_average_serve_where_no_others_are(copied, models):
    path = copied / "unet/diffusion_pytorch_model.safetensors"
    other = path.with_name("diffusion_pytorch_model.non_ema.safetensors")
    save_file({name: weight / 2 for name, weight in load_file(path).items()}, other)
    weight = models.unet.conv_in.weight
    assert torch.equal(load(find(str(copied)), CPU, torch.float32).unet.conv_in.weight, weight)
    path.unlink()
    assert torch.equal(load(find(str(copied)), CPU, torch.float32).unet.conv_in.weight, weight / 2)


def test_variant_that_is_asked_for_is_loaded_where_there_is_one(copied, models):
    path = copied / "unet/diffusion_pytorch_model.safetensors"
    other = path.with_name("diffusion_pytorch_model.non_ema.safetensors")
    save_file({name: weight / 2 for name, weight in load_file(path).items()}, other)
    source = find(str(copied), variant="non_ema")
    theirs = StableDiffusionPipeline.from_pretrained(copied, variant="non_ema", safety_checker=None)
    ours = load(source, CPU, torch.float32)
    for part in ("unet", "vae", "text_encoder"):
        expected = getattr(theirs, part).state_dict()
        for name, weight in getattr(ours, part).state_dict().items():
            assert torch.equal(weight, expected[name]), name
    assert not torch.equal(ours.unet.conv_in.weight, models.unet.conv_in.weight)
    assert source != find(str(copied))


def test_variant_that_no_part_has_is_refused(copied):
    with pytest.raises(UserError, match=r"model_variant = ema: model = .* has no weights of that"):
        find(str(copied), variant="ema")


@pytest.mark.parametrize(
    ("file", "changes", "named"),
    [
        ("unet/config.json", {"in_channels": 9}, "in_channels = 9"),
        ("unet/config.json", {"addition_embed_type": "text_time"}, "addition_embed_type"),
        ("unet/config.json", {"_class_name": "FluxTransformer2DModel"}, "FluxTransformer2DModel"),
        ("unet/config.json", {"time_cond_proj_dim": 32}, "time_cond_proj_dim"),
        ("text_encoder/config.json", {"model_type": "t5"}, "t5"),
    ],
)
def test_other_layouts_are_refused_by_name(copied, file, changes, named):
    edit_json(copied / file, **changes)
    with pytest.raises(UserError, match=named):
        find(str(copied))


@pytest.mark.parametrize("part", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_missing_parts_are_named(copied, part):
    (copied / part).unlink()
    with pytest.raises(UserError, match=f"has no {part}"):
        find(str(copied))


def test_damaged_config_is_named(copied):
    (copied / "vae/config.json").write_text("{")
    with pytest.raises(UserError, match=r"vae/config.json is not JSON"):
        find(str(copied))


def test_weights_that_do_not_fit_are_named(copied):
    edit_json(copied / "unet/config.json", cross_attention_dim=64)
    with pytest.raises(UserError, match="unet"):
        load(find(str(copied)), CPU, torch.float32)


def test_loading_initialises_no_weights(model_folder):
    before = torch.get_rng_state()
    load(find(str(model_folder)), CPU, torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("unet/diffusion_pytorch_model", "conv_in.bias"),
        ("vae/diffusion_pytorch_model", "decoder.conv_out.weight"),
        ("text_encoder/model", "final_layer_norm.weight"),
    ],
)
def test_missing_weights_are_named(copied, file, name):
    path = copied / f"{file}.safetensors"
    weights = load_file(path)
    del weights[next(key for key in weights if key.endswith(name))]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(UserError, match=f"{file.split('/')[0]}.*{re.escape(name)}"):
        load(find(str(copied)), CPU, torch.float32)


def test_loaded_networks_do_not_depend_on_their_files(copied):
    models = load(find(str(copied)), CPU, torch.float32)
    before = models.unet.conv_in.weight.clone()
    for path in copied.glob("*/*.safetensors"):
        path.write_bytes(b"")
    assert torch.equal(models.unet.conv_in.weight, before)
    assert all(tensor.isfinite().all() for tensor in models.unet.state_dict().values())


def test_vae_with_the_old_attention_names_loads(copied, models):
    path = copied / "vae/diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(path)
    for new, old in names.items():
        weights = {name.replace(f".{new}.", f".{old}."): w for name, w in weights.items()}
    assert any(".proj_attn." in name for name in weights)
    save_file(weights, path)
    vae = load_vae(find(str(copied)), CPU, torch.float32)
    for name, weight in models.vae.state_dict().items():
        assert torch.equal(vae.state_dict()[name], weight)


@pytest.mark.parametrize("name", ["no such model", "./nothing/here", "/nowhere"])
def test_unknown_models_are_refused_with_what_is_allowed(name):
    with pytest.raises(UserError, match="allowed: bundled, a folder"):
        find(name)


def test_cache_of_an_older_client_loads_without_a_network(monkeypatch, tmp_path, model_folder):
    # the hub's cache layout: models--<owner>--<name>/{refs/main, snapshots/<commit>/}; newer
    # clients leave a listing of the repository beside them
    repository = tmp_path / "models--someone--tiny"
    commit = "0" * 40
    shutil.copytree(model_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    loaded = load(find("someone/tiny"), CPU, torch.float32)
    assert loaded.source.from_hub
    assert loaded.unet.config.sample_size == 8


def test_bundled_model_is_small_and_loads_in_diffusers(bundled):
    files = [path for path in BUNDLED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 48e6
    assert {path.suffix for path in files} <= {".json", ".md", ".safetensors", ".txt"}
    pipeline = StableDiffusionPipeline.from_pretrained(BUNDLED)
    assert pipeline.vae_scale_factor == 8
    torch.testing.assert_close(pipeline.unet.conv_in.weight, bundled.unet.conv_in.weight)
    assert text_cut(pipeline.tokenizer, "an astronaut relaxing on a tropical island") == ""


# ---- single-file checkpoints -----------------------------------------------------------------


def to_original_vae(weights):
    """Rename a VAE's weights as the original code names them (4 levels, 1 layer a block)."""
    renamed = {}
    for name, weight in weights.items():
        new = name
        for side, levels in (("encoder.down", range(4)), ("decoder.up", range(4))):
            for level in levels:
                block = f"{side}_blocks.{level}."
                place = level if side == "encoder.down" else 3 - level
                new = new.replace(f"{block}resnets.", f"{side}.{place}.block.")
                new = new.replace(f"{block}downsamplers.0.", f"{side}.{place}.downsample.")
                new = new.replace(f"{block}upsamplers.0.", f"{side}.{place}.upsample.")
        new = new.replace("mid_block.resnets.0", "mid.block_1")
        new = new.replace("mid_block.resnets.1", "mid.block_2")
        new = new.replace("mid_block.attentions.0", "mid.attn_1")
        new = new.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        if "attn_1" in new:
            for old, short in (
                ("to_q", "q"),
                ("to_k", "k"),
                ("to_v", "v"),
                ("to_out.0", "proj_out"),
            ):
                new = new.replace(f".{old}.", f".{short}.")
            new = new.replace("group_norm", "norm")
            if weight.ndim == 2:  # a 1 x 1 convolution there
                weight = weight[:, :, None, None]
        renamed[f"first_stage_model.{new}"] = weight
    return renamed


def to_original_unet(weights):
    """Rename the small UNet's weights: two levels, one layer a block, attention in the outer."""
    places = {
        "conv_in.": "input_blocks.0.0.",
        "down_blocks.0.resnets.0.": "input_blocks.1.0.",
        "down_blocks.0.attentions.0.": "input_blocks.1.1.",
        "down_blocks.0.downsamplers.0.conv.": "input_blocks.2.0.op.",
        "down_blocks.1.resnets.0.": "input_blocks.3.0.",
        "mid_block.resnets.0.": "middle_block.0.",
        "mid_block.attentions.0.": "middle_block.1.",
        "mid_block.resnets.1.": "middle_block.2.",
        "up_blocks.0.resnets.0.": "output_blocks.0.0.",
        "up_blocks.0.resnets.1.": "output_blocks.1.0.",
        "up_blocks.0.upsamplers.0.conv.": "output_blocks.1.1.conv.",
        "up_blocks.1.resnets.0.": "output_blocks.2.0.",
        "up_blocks.1.attentions.0.": "output_blocks.2.1.",
        "up_blocks.1.resnets.1.": "output_blocks.3.0.",
        "up_blocks.1.attentions.1.": "output_blocks.3.1.",
        "time_embedding.linear_1.": "time_embed.0.",
        "time_embedding.linear_2.": "time_embed.2.",
        "conv_norm_out.": "out.0.",
        "conv_out.": "out.2.",
    }
    resnet = {
        "norm1.": "in_layers.0.",
        "conv1.": "in_layers.2.",
        "time_emb_proj.": "emb_layers.1.",
        "norm2.": "out_layers.0.",
        "conv2.": "out_layers.3.",
        "conv_shortcut.": "skip_connection.",
    }
    renamed = {}
    for name, weight in weights.items():
        old = next(prefix for prefix in places if name.startswith(prefix))
        rest = name.removeprefix(old)
        if "resnets" in old:
            for theirs, original in resnet.items():
                rest = rest.replace(theirs, original)
        renamed[f"model.diffusion_model.{places[old]}{rest}"] = weight
    return renamed


def original_clip(weights):
    """Name CLIP's weights as a 1.x checkpoint does."""
    return {
        "cond_stage_model.transformer.text_model." + name.removeprefix("text_model."): weight
        for name, weight in weights.items()
    }


def original_open_clip(weights):
    """Name CLIP's weights as a 2.x checkpoint does, with one layer more than is used."""
    weights = {name.removeprefix("text_model."): weight for name, weight in weights.items()}
    renamed = {
        "token_embedding.weight": weights["embeddings.token_embedding.weight"],
        "positional_embedding": weights["embeddings.position_embedding.weight"],
        "ln_final.weight": weights["final_layer_norm.weight"],
        "ln_final.bias": weights["final_layer_norm.bias"],
        "text_projection": torch.eye(4),
        "transformer.resblocks.2.ln_1.weight": torch.ones(4),
    }
    names = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc"}
    names |= {"mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}
    for layer in range(2):
        old, new = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for kind in ("weight", "bias"):
            for ours, theirs in names.items():
                renamed[f"{new}.{theirs}.{kind}"] = weights[f"{old}.{ours}.{kind}"]
            renamed[f"{new}.attn.in_proj_{kind}"] = torch.cat(
                [weights[f"{old}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            )
    return {f"cond_stage_model.model.{name}": weight for name, weight in renamed.items()}


@pytest.fixture(params=[original_clip, original_open_clip])
def checkpoint(request, models, tmp_path):
    """Return the random model as one file, its text encoder named as by 1.x or as by 2.x."""
    path = tmp_path / "model.safetensors"
    weights = {
        **to_original_unet(models.unet.state_dict()),
        **to_original_vae(models.vae.state_dict()),
        **request.param(models.text_encoder.state_dict()),
    }
    save_file({name: weight.contiguous() for name, weight in weights.items()}, path)
    return path


def test_single_file_checkpoint_equals_the_folder(model_folder, models, checkpoint):
    loaded = load(find(str(checkpoint), str(model_folder)), CPU, torch.float32)
    for ours, theirs in (
        (loaded.unet, models.unet),
        (loaded.vae, models.vae),
        (loaded.text_encoder, models.text_encoder),
    ):
        state = theirs.state_dict()
        assert set(ours.state_dict()) == set(state)
        for name, weight in ours.state_dict().items():
            torch.testing.assert_close(weight, state[name], msg=name)


@pytest.mark.parametrize("checkpoint", [original_clip], indirect=True)
def test_run_of_a_checkpoint_gives_the_pictures_of_the_folder(
    tiny_config, model_folder, checkpoint, tmp_path, capsys
):
    assert run_module.main([str(tiny_config)]) == 0
    folder, other = tmp_path / "run", tmp_path / "other"
    single = [f"model={checkpoint}", f"model_config_from={model_folder}", f"output={other}"]
    assert run_module.main([str(tiny_config), *single, "--dry-run"]) == 0
    assert "weights" in capsys.readouterr().out
    assert run_module.main([str(tiny_config), *single]) == 0
    assert (other / "steps.csv").read_bytes() == (folder / "steps.csv").read_bytes()
    for name in ("frames.gif", "difference.gif", "strip.png"):  # these carry their settings, too
        np.testing.assert_array_equal(iio.imread(other / name), iio.imread(folder / name))
    before = (other / "frames.gif").read_bytes()
    (other / "frames.gif").unlink()
    assert render_module.main([str(other)]) == 0
    assert (other / "frames.gif").read_bytes() == before


@pytest.mark.parametrize("checkpoint", [original_clip], indirect=True)
def test_configs_of_a_checkpoint_that_cannot_be_had_are_named(checkpoint, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="come from model_config_from, and") as error:
        find(str(checkpoint), "someone/else")
    assert "\n" not in str(error.value)


def edit_checkpoint(path, *, without=(), **added):
    """Write a checkpoint again with other tensors."""
    kept = {name: w for name, w in load_file(path).items() if not name.startswith(without or "\0")}
    save_file(kept | added, path)


@pytest.mark.parametrize("checkpoint", [original_clip], indirect=True)
def test_counters_of_a_vaes_training_are_passed_over(checkpoint, model_folder, models):
    counters = {
        "first_stage_model.loss.discriminator.main.3.num_batches_tracked": torch.tensor(7),
        "first_stage_model.loss.logvar": torch.zeros(()),
        "first_stage_model.model_ema.num_updates": torch.tensor(7, dtype=torch.int32),
        "first_stage_model.model_ema.decoderconv_outbias": torch.zeros(3),
    }
    edit_checkpoint(checkpoint, **counters)
    theirs = AutoencoderKL.from_single_file(
        str(checkpoint), config=str(model_folder), subfolder="vae"
    ).state_dict()
    ours = load_vae(find(str(checkpoint), str(model_folder)), CPU, torch.float32).state_dict()
    assert set(ours) == set(theirs)
    for name, weight in ours.items():
        assert torch.equal(weight, theirs[name]), name


@pytest.mark.parametrize("checkpoint", [original_clip], indirect=True)
def test_whole_numbers_among_the_vaes_weights_are_refused(checkpoint, model_folder):
    name = "first_stage_model.decoder.conv_out.bias"
    edit_checkpoint(checkpoint, **{name: torch.zeros(3, dtype=torch.int64)})
    with pytest.raises(UserError, match=f"'{name}' is I64; allowed: F32, F16, BF16, F64"):
        find(str(checkpoint), str(model_folder))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["lora_unet.weight"],
            r"holds no text_encoder \(cond_stage_model.transformer.\*\); a single",
        ),
        (
            ["conditioner.embedders.0.transformer.text_model.x", "model.diffusion_model.x"],
            r"holds no text_encoder .*; it is of Stable Diffusion XL; a single file must be",
        ),
        (
            ["cond_stage_model.transformer.x", "model.diffusion_model.x", "first_stage_model.x"],
            r"holds no vae \(first_stage_model.decoder.\*\); a single file must be a full",
        ),
    ],
)
def test_checkpoint_that_lacks_a_network_is_refused(tmp_path, names, said):
    path = tmp_path / "part.safetensors"
    save_file({name: torch.zeros(1) for name in names}, path)
    with pytest.raises(UserError, match=said):
        find(str(path))


@pytest.fixture
def any_hub(monkeypatch):
    """Fail if the hub is asked."""

    def ask(*arguments, **options):
        pytest.fail("the hub was asked")

    monkeypatch.setattr("sdloop.model.hub.Repository.ask", ask)


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (1024, "say model_config_from=.*: stabilityai/stable-diffusion-2-1 .predicts v. or "),
        (32, "say model_config_from=.*: a folder or hub id"),
    ],
)
def test_checkpoint_of_another_generation_says_model_config_from(tmp_path, any_hub, width, said):
    path = tmp_path / "v2-1_768-ema-pruned.safetensors"
    names = ["cond_stage_model.model.x", "first_stage_model.encoder.x"]
    attends = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    save_file({name: torch.zeros(1) for name in names} | {attends: torch.zeros(320, width)}, path)
    with pytest.raises(UserError, match=f"attends to a text {width} wide.*{said}"):
        find(str(path))


@pytest.mark.parametrize("checkpoint", [original_open_clip], indirect=True)
def test_configs_of_another_width_are_refused_for_a_checkpoint(checkpoint, v_model_folder):
    with pytest.raises(UserError, match=r"text 32 wide; the text encoder of .* makes one 48 wide"):
        find(str(checkpoint), str(v_model_folder))


@pytest.mark.parametrize("checkpoint", [original_clip], indirect=True)
def test_capitals_in_a_suffix_change_nothing(checkpoint, model_folder):
    loud = checkpoint.rename(checkpoint.with_suffix(".SAFETENSORS"))
    assert find(str(loud), str(model_folder)).checkpoint == loud


@pytest.mark.parametrize("suffix", [".ckpt", ".CKPT", ".pt"])
@pytest.mark.parametrize("checkpoint", [original_clip], indirect=True)
def test_recipe_for_a_pickled_checkpoint_gives_one_that_loads(
    checkpoint, model_folder, monkeypatch, suffix
):
    pickled = checkpoint.with_suffix(suffix)
    weights = load_file(checkpoint)
    tied = next(iter(weights.values()))
    torch.save({"state_dict": weights | {"tied": tied, "step": 7}, "global_step": 7}, pickled)
    checkpoint.unlink()
    with pytest.raises(UserError, match="pickled checkpoints can carry code") as error:
        find(str(pickled))
    recipe = str(error.value).partition("convert it once: ")[2]
    monkeypatch.chdir(checkpoint.parent)
    exec(recipe, {"torch": torch, "safetensors": __import__("safetensors.torch")})
    assert find(str(checkpoint), str(model_folder)).checkpoint == checkpoint


@pytest.mark.parametrize("name", ["model.gguf", "config.yaml"])
def test_other_files_are_named_as_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match="is a file; allowed: a folder in diffusers' layout"):
        find(str(tmp_path / name))


# ---- a UNet without a middle block -------------------------------------------------------------


@pytest.fixture
def no_middle(model_folder, tmp_path):
    """Return a model whose UNet has no middle block, as the smallest distilled ones (BK-SDM)."""
    folder = shutil.copytree(model_folder, tmp_path / "no_middle")
    config = json.loads((folder / "unet/config.json").read_text()) | {"mid_block_type": None}
    torch.manual_seed(3)
    unet = UNet2DConditionModel.from_config(config)
    unet.save_pretrained(folder / "unet")
    assert unet.mid_block is None
    return folder


def assert_run_is_the_pipelines(tiny_config, pipeline, tmp_path):
    """Hold a finished run's last latent against the pipeline's from the same noise."""
    latents = load_file(tmp_path / "run/trajectory.safetensors")["latents"]
    theirs = pipeline(
        "a cat", latents=latents[:1], num_inference_steps=5, output_type="latent"
    ).images
    torch.testing.assert_close(latents[-1:], theirs, rtol=0, atol=2e-5 * theirs.abs().max().item())


def test_unet_without_a_middle_block_runs_as_in_diffusers(tiny_config, no_middle, tmp_path):
    assert run_module.main([str(tiny_config), f"model={no_middle}"]) == 0
    pipeline = StableDiffusionPipeline.from_pretrained(no_middle, safety_checker=None)
    assert_run_is_the_pipelines(tiny_config, pipeline, tmp_path)


def test_checkpoint_without_a_middle_block_runs_as_in_diffusers(
    tiny_config, no_middle, models, tmp_path
):
    path = tmp_path / "small.safetensors"
    unet = UNet2DConditionModel.from_pretrained(no_middle / "unet")
    weights = {
        **to_original_unet(unet.state_dict()),
        **to_original_vae(models.vae.state_dict()),
        **original_clip(models.text_encoder.state_dict()),
    }
    save_file({name: weight.contiguous() for name, weight in weights.items()}, path)
    arguments = [f"model={path}", f"model_config_from={no_middle}"]
    assert run_module.main([str(tiny_config), *arguments]) == 0
    theirs = UNet2DConditionModel.from_single_file(
        str(path), config=str(no_middle), subfolder="unet"
    )
    pipeline = StableDiffusionPipeline.from_pretrained(no_middle, safety_checker=None, unet=theirs)
    assert_run_is_the_pipelines(tiny_config, pipeline, tmp_path)


# ---- a VAE from elsewhere ----------------------------------------------------------------------


@pytest.fixture
def other_vae(models, tmp_path):
    """Return a VAE of the same shape with other weights, and the folder that holds it."""
    torch.manual_seed(9)
    vae = AutoencoderKL.from_config({**models.vae.config, "scaling_factor": 0.5}).eval()
    vae.save_pretrained(tmp_path / "other")
    return vae, tmp_path / "other"


def placed(kind, vae, folder, tmp_path):
    """Write a VAE as people have them; return what `vae=` is given."""
    path = tmp_path / "vae.safetensors"
    original = to_original_vae(vae.state_dict())
    if kind == "folder":
        return folder
    if kind == "model":
        shutil.move(folder, tmp_path / "whole/vae")
        return tmp_path / "whole"
    if kind == "file":
        shutil.copy(folder / "diffusion_pytorch_model.safetensors", path)
        return path
    bare = {name.removeprefix("first_stage_model."): w for name, w in original.items()}
    weights = bare if kind == "bare" else original
    save_file({name: weight.contiguous() for name, weight in weights.items()}, path)
    return path


@pytest.mark.parametrize("kind", ["folder", "model", "file", "bare", "original"])
@pytest.mark.parametrize("checkpoint", [original_clip], indirect=True)
def test_checkpoint_without_a_vae_takes_one_from_elsewhere(
    checkpoint, model_folder, models, other_vae, tmp_path, kind
):
    vae, folder = other_vae
    edit_checkpoint(checkpoint, without=("first_stage_model.",))
    with pytest.raises(UserError, match=r"holds no vae .* say vae=<a VAE's folder or file>"):
        find(str(checkpoint), str(model_folder))
    source = find(str(checkpoint), str(model_folder), vae=placed(kind, vae, folder, tmp_path))
    loaded = load(source, CPU, torch.float32)
    for name, weight in vae.state_dict().items():
        assert torch.equal(loaded.vae.state_dict()[name], weight), name
    assert torch.equal(loaded.unet.conv_in.weight, models.unet.conv_in.weight)
    config = 0.5 if kind in ("folder", "model") else 0.18215
    assert source.vae.scaling_factor == config


def test_run_with_another_vae_is_told_apart_and_rendered_again(tiny_config, other_vae, tmp_path):
    _, folder = other_vae
    assert run_module.main([str(tiny_config), f"vae={folder}", "--dry-run"]) == 0
    assert run_module.main([str(tiny_config), f"vae={folder}"]) == 0
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert "vae/diffusion_pytorch_model.safetensors" in manifest["weights_sha256"]
    before = iio.imread(tmp_path / "run/frames.gif")
    moved = shutil.move(folder, tmp_path / "moved")
    assert render_module.main([str(tmp_path / "run")]) == 2
    assert render_module.main([str(tmp_path / "run"), f"vae={moved}"]) == 0
    np.testing.assert_array_equal(iio.imread(tmp_path / "run/frames.gif"), before)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such folder or file; allowed: a VAE's folder"),
        (lambda path: save_file({"a": torch.zeros(1)}, path), r"holds no VAE \(decoder"),
        (lambda path: path.write_bytes(b"x"), "not a safetensors file"),
        (lambda path: path.mkdir(), "has no .*config.json"),
    ],
)
def test_what_is_no_vae_is_refused(model_folder, tmp_path, make, said):
    make(tmp_path / "vae.safetensors")
    with pytest.raises(UserError, match=said):
        find(str(model_folder), vae=tmp_path / "vae.safetensors")


def test_vae_of_other_latents_is_refused(model_folder, other_vae):
    edit_json(other_vae[1] / "config.json", latent_channels=16)
    with pytest.raises(UserError, match="has latent_channels = 16; the model has 4"):
        find(str(model_folder), vae=other_vae[1])


# ---- a VAE that only decodes -------------------------------------------------------------------


@pytest.mark.parametrize("kept", [("decoder.", "post_quant_conv."), ("decoder.", "post_", "quant")])
def test_decoder_alone_is_enough_of_a_vae(copied, models, kept):
    path = copied / "vae/diffusion_pytorch_model.safetensors"
    weights = {name: w for name, w in load_file(path).items() if name.startswith(kept)}
    save_file(weights, path, {"format": "pt"})
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    theirs = AutoencoderKL.from_pretrained(copied / "vae").decode(z).sample
    for vae in (load_vae(find(str(copied)), CPU, torch.float32), models.vae):
        torch.testing.assert_close(vae.decode(z).sample, theirs)


@pytest.mark.parametrize("checkpoint", [original_clip], indirect=True)
def test_decoder_alone_is_enough_of_a_checkpoints_vae(checkpoint, model_folder, models):
    edit_checkpoint(checkpoint, without=("first_stage_model.encoder", "first_stage_model.quant"))
    vae = load_vae(find(str(checkpoint), str(model_folder)), CPU, torch.float32)
    assert vae.encoder is None
    for name, weight in vae.state_dict().items():
        assert torch.equal(weight, models.vae.state_dict()[name]), name


@pytest.mark.parametrize("place", ["unet/diffusion_pytorch_model.safetensors", "x.safetensors"])
def test_pointers_of_git_lfs_are_named(copied, place):
    (copied / place).write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 3438167534\n"
    )
    model = copied / place if place.startswith("x") else copied
    with pytest.raises(UserError, match=r"is a git-lfs pointer, not the file .*: git lfs pull"):
        find(str(model))


@pytest.mark.parametrize("content", [b"", b"\x80\x02pickle", b"\xff" * 64])
def test_file_that_is_no_safetensors_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged or not a safetensors file"):
        find(str(path))
