"""Every key of a model's configs that the libraries read: obeyed, refused, or harmless."""

import inspect
import json
import re
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.configuration_utils import PreTrainedConfig
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from scripts.model_keys import FILES, MARKS, README, key_table
from sdloop.machine.errors import UserError
from sdloop.model.config_files import Part
from sdloop.model.config_keys import HARMLESS, OWN_OF_TOKENIZER, check_known
from sdloop.model.find import find
from sdloop.model.frame import decode_batch
from sdloop.model.networks import load
from sdloop.model.predictor import UNetPredictor
from sdloop.model.text import encode_prompts
from sdloop.model.tiny_source import find_tiny

CPU = torch.device("cpu")
TAKEN = re.compile(r"""kwargs\.(?:pop|get|setdefault)\(\s*["'](\w+)["']|kwargs\[["'](\w+)["']\]""")
CALLED = re.compile(r"(unet|vae|text_encoder)\.config\.(\w+)")
# each obeyed key, with a value that the small model does not have
CHANGED = {
    "unet": {
        "sample_size": 4,
        "in_channels": 8,
        "out_channels": 8,
        "center_input_sample": True,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "mid_block_type": None,
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "only_cross_attention": True,
        "block_out_channels": [8, 16],
        "layers_per_block": [1, 2],
        "downsample_padding": 0,
        "mid_block_scale_factor": 2.0,
        "dropout": 0.5,
        "act_fn": "mish",
        "norm_num_groups": 4,
        "norm_eps": 0.01,
        "cross_attention_dim": [32, 32],
        "transformer_layers_per_block": 2,
        "attention_head_dim": [2, 8],
        "use_linear_projection": True,
        "upcast_attention": True,
        "resnet_time_scale_shift": "scale_shift",
        "resnet_out_scale_factor": 2.0,
        "time_embedding_dim": 24,
        "conv_in_kernel": 5,
        "conv_out_kernel": 1,
        "mid_block_only_cross_attention": True,
    },
    "vae": {
        "block_out_channels": [8, 16, 16, 32],
        "layers_per_block": 2,
        "act_fn": "mish",
        "latent_channels": 8,
        "norm_num_groups": 4,
        "sample_size": 32,
        "scaling_factor": 0.5,
        "shift_factor": 0.0,
        "force_upcast": True,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "mid_block_add_attention": False,
    },
    "text_encoder": {
        "model_type": "clip",
        "vocab_size": 200,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 20,
        "hidden_act": "gelu",
        "layer_norm_eps": 0.01,
        "use_attention_mask": True,
    },
}
BESIDE = {  # what must change with a key, so that parts go together
    "in_channels": ("vae", {"latent_channels": 8}),
    "out_channels": ("vae", {"latent_channels": 8}),
    "latent_channels": ("unet", {"in_channels": 8, "out_channels": 8}),
    "hidden_size": ("unet", {"cross_attention_dim": 16}),
}
CLASSES = {
    "unet": UNet2DConditionModel.from_config,
    "vae": AutoencoderKL.from_config,
    "text_encoder": lambda values: CLIPTextModel(CLIPTextConfig(**values)),
}


def taken(*functions):
    """List the keys that functions take out of their `kwargs`, by their source."""
    found = (TAKEN.findall(inspect.getsource(function)) for function in functions)
    return {name for pairs in found for pair in pairs for name in pair if name}


def read_by_the_libraries():
    """List every key that diffusers and transformers read, by part."""
    tokenizer = taken(
        TokenizersBackend.__init__, PreTrainedTokenizerBase.__init__,
        TokenizersBackend.convert_to_native_format.__func__,
        PreTrainedTokenizerBase._from_pretrained.__func__,
    )  # fmt: skip
    tokenizer |= {*PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES, "auto_map", "init_inputs"}
    tokenizer |= set(inspect.signature(CLIPTokenizer.__init__).parameters) - {"self", "kwargs"}
    text = {each.name for each in fields(CLIPTextConfig)} | taken(PreTrainedConfig.__post_init__)
    read = {
        "unet": set(inspect.signature(UNet2DConditionModel.__init__).parameters) - {"self"},
        "vae": set(inspect.signature(AutoencoderKL.__init__).parameters) - {"self"},
        "text_encoder": text,
        "tokenizer": tokenizer,
        "tiny_vae": set(inspect.signature(AutoencoderTiny.__init__).parameters) - {"self"},
    }
    for part, key in CALLED.findall(inspect.getsource(StableDiffusionPipeline)):
        read[part].add(key)
    for part in ("unet", "vae", "text_encoder", "tiny_vae"):
        read[part].add("quantization_config")
    return read


READ = read_by_the_libraries()


@pytest.mark.parametrize("part", FILES)
def test_every_key_that_the_libraries_read_is_listed(part):
    listed = {*FILES[part].model_json_schema()["properties"], *HARMLESS[part]}
    listed |= set(OWN_OF_TOKENIZER) | {"max_len"} if part == "tokenizer" else set()
    assert len(READ[part]) > 15
    assert READ[part] - listed == set()


def test_readme_lists_every_key():
    begin, end = map(re.escape, MARKS)
    held = re.search(f"{begin}\n\n(.*)\n\n{end}", README.read_text(encoding="utf-8"), re.DOTALL)
    assert held.group(1) == key_table(), "run: python scripts/model_keys.py"


def refused_keys():
    """List the keys that are refused unless they hold one value."""
    for part, kind in FILES.items():
        for key, values in kind.model_json_schema()["properties"].items():
            if values.get("type") == "null" or "const" in values or values.get("maxItems") == 0:
                yield part, key


def edit(folder, part, **changes):
    """Change a config; return what it says now."""
    names = {"tokenizer": "tokenizer_config.json"}
    path = folder / part / names.get(part, "config.json")
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(values))
    return values


@pytest.fixture
def copied(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    AutoencoderTiny().save_pretrained(folder / "tiny_vae")
    return folder


def find_all(folder):
    """Find a model and its small decoder."""
    find_tiny(find(str(folder)))


@pytest.mark.parametrize(("part", "key"), refused_keys())
def test_key_of_one_value_is_refused_by_name_with_another(copied, part, key):
    edit(copied, part, **{key: ["another"]})
    named = r"config\.json" if part == "tiny_vae" else part
    with pytest.raises(UserError, match=rf"{named} has {key}"):
        find_all(copied)


def obeyed_keys():
    for part, changes in CHANGED.items():
        for key in changes:
            yield part, key


@pytest.mark.parametrize("part", CHANGED)
def test_every_other_key_has_a_value_to_be_tried_with(part):
    refused = {key for each, key in refused_keys() if each == part}
    own = {"_diffusers_version", "in_channels", "out_channels"} if part == "vae" else set()
    keys = set(FILES[part].model_json_schema()["properties"]) - refused - own
    assert keys - {"_diffusers_version", "down_block_types", "up_block_types"} <= set(CHANGED[part])


@pytest.mark.slow
@pytest.mark.parametrize(("part", "key"), obeyed_keys())
def test_key_is_obeyed_as_the_library_obeys_it(copied, part, key):
    other, beside = BESIDE.get(key, (part, {}))
    values = {part: edit(copied, part, **{key: CHANGED[part][key]})}
    if key in ("in_channels", "out_channels"):
        values[part] = edit(copied, part, in_channels=8, out_channels=8)
    values[other] = edit(copied, other, **beside)
    torch.manual_seed(5)
    theirs = {each: CLASSES[each](config).eval() for each, config in values.items()}
    for each, network in theirs.items():
        network.save_pretrained(copied / each)
        (copied / each / "config.json").write_text(json.dumps(values[each]))
    ours = load(find(str(copied)), CPU, torch.float32)
    assert_same_call(part, getattr(ours, part), theirs[part], ours)


@torch.no_grad()
def assert_same_call(part, ours, theirs, models):
    """Call a network as a run does, and the library's own."""
    torch.manual_seed(6)
    if part == "text_encoder":
        tokens = models.tokenizer("a cat", padding="max_length", return_tensors="pt")
        mask = tokens.attention_mask if models.source.text.use_attention_mask else None
        expected = theirs(tokens.input_ids, attention_mask=mask).last_hidden_state
        found = encode_prompts(models.tokenizer, ours, ["a cat"])
    elif part == "vae":
        z = torch.randn(1, theirs.config.latent_channels, 4, 4)
        picture = theirs.decode(z / theirs.config.scaling_factor).sample
        expected = ((picture / 2 + 0.5).clamp(0, 1) * 255).permute(0, 2, 3, 1)
        found = decode_batch(ours, z)[0].float()
        torch.testing.assert_close(found, expected, rtol=0, atol=0.51)
        return
    else:
        z, text = torch.randn(1, theirs.config.in_channels, 8, 8), torch.randn(2, 16, 32)
        expected = theirs(torch.cat([z, z]), 7.0, text).sample
        found = UNetPredictor(ours, text, [7.0], guided=True, shortcuts=True)(z, 0)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("part", "key"), [(part, key) for part, keys in HARMLESS.items() for key in keys]
)
def test_harmless_key_stops_no_model(copied, part, key):
    edit(copied, part, **{key: 3})
    find_all(copied)


def test_key_that_only_a_newer_library_knows_is_refused_unless_it_is_the_default():
    config = Part.model_validate({"old": 1, "new": 2, "nobodys": 3})
    check_known("m", "unet", config, {"old": 1})
    check_known("m", "unet", config, {"new": 2})
    with pytest.raises(UserError, match=r"m: unet has new = 2, which .* allowed: 1$"):
        check_known("m", "unet", config, {"old": 1, "new": 1})


def test_whole_clips_config_and_weights_are_read_as_transformers_does(copied, models):
    inner = edit(copied, "text_encoder")
    whole = {"model_type": "clip", "text_config": inner, "vision_config": {}, "projection_dim": 9}
    (copied / "text_encoder/config.json").write_text(json.dumps(whole))
    theirs = CLIPTextModel.from_pretrained(copied / "text_encoder").eval()
    ours = load(find(str(copied)), CPU, torch.float32)
    assert_same_call("text_encoder", ours.text_encoder, theirs, ours)


@pytest.mark.parametrize("key", ["vocab_file", "merges_file", "tokenizer_file"])
def test_tokenizers_config_leads_to_no_other_file(copied, models, key):
    edit(copied, "tokenizer", **{key: str(Path(__file__))})
    ours = load(find(str(copied)), CPU, torch.float32).tokenizer
    assert ours("A Cat!").input_ids == models.tokenizer("A Cat!").input_ids


def test_old_name_of_the_longest_text_is_read(copied, models):
    path = copied / "tokenizer/tokenizer_config.json"
    values = json.loads(path.read_text())
    values["max_len"] = values.pop("model_max_length")
    path.write_text(json.dumps(values))
    assert load(find(str(copied)), CPU, torch.float32).tokenizer.model_max_length == 16
