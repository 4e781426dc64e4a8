"""Model folders and checkpoints from strangers: nothing runs, what is wrong is named."""

import json
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sdloop.job.config import RunConfig
from sdloop.job.config_file import load_config
from sdloop.job.manifest import update_manifest
from sdloop.job.plan import prepare
from sdloop.machine.errors import UserError
from sdloop.machine.tensor_file import read_header
from sdloop.model.find import BUNDLED, find
from sdloop.model.networks import load
from sdloop.model.tiny import hash_tiny
from sdloop.model.tiny_source import find_tiny
from sdloop.model.weight_files import hash_weights
from sdloop.run import main
from sdloop.show.mask import read_mask

CPU = torch.device("cpu")
UNET, VAE, TEXT = "unet/config.json", "vae/config.json", "text_encoder/config.json"
SCHEDULER, TOKENIZER = "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"
INDEX = "model_index.json"
UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copied(model_folder, tmp_path):
    """Return a copy of the model that a test may damage."""
    return shutil.copytree(model_folder, tmp_path / "model")


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def planned(folder, **config):
    """Do what --dry-run does."""
    return prepare(RunConfig(prompt="p", model=str(folder), **config))


def refusal(action):
    with pytest.raises(UserError) as error:
        action()
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        (UNET, {"sample_size": 10**9}, "unet has sample_size"),
        (UNET, {"sample_size": []}, "unet has sample_size"),
        (UNET, {"block_out_channels": [320] * 60}, "unet has block_out_channels"),
        (UNET, {"block_out_channels": [10**9]}, "unet has block_out_channels.0 = 1000000000"),
        (UNET, {"layers_per_block": 10**9}, "unet has layers_per_block"),
        (UNET, {"transformer_layers_per_block": [[1] * 9]}, "unet has transformer_layers"),
        (UNET, {"cross_attention_dim": 7}, "cross_attention_dim = 7; supported: 32"),
        (UNET, {"norm_eps": "x"}, "unet has norm_eps = 'x'"),
        (UNET, {"encoder_hid_dim_type": "text_proj"}, "unet has encoder_hid_dim_type"),
        (UNET, {"time_embedding_type": "fourier"}, "unet has time_embedding_type = 'fourier'"),
        (VAE, {"block_out_channels": None}, "vae has block_out_channels = None"),
        (VAE, {"block_out_channels": []}, "vae has block_out_channels"),
        (VAE, {"scaling_factor": 0}, "vae has scaling_factor = 0"),
        (VAE, {"latent_channels": "four"}, "vae has latent_channels = 'four'"),
        (VAE, {"quantization_config": {"load_in_8bit": True}}, "vae has quantization_config"),
        (TEXT, {"vocab_size": 10**12}, "text_encoder has vocab_size"),
        (TEXT, {"text_config": {"hidden_size": 10**9}}, "text_encoder has hidden_size"),
        (TEXT, {"quantization_config": {"load_in_8bit": True}}, "has quantization_config"),
        (TEXT, {"num_hidden_layers": 10**6}, "text_encoder has num_hidden_layers"),
        (TEXT, {"hidden_act": "os.system"}, "text_encoder has hidden_act"),
        (TOKENIZER, {"model_max_length": 10**30}, "tokenizer has model_max_length"),
        (TOKENIZER, {"model_max_length": 77}, "model_max_length = 77; the text encoder takes 16"),
        (TOKENIZER, {"auto_map": {"AutoTokenizer": ["x.y", None]}}, "tokenizer has auto_map"),
        (TOKENIZER, {"fast_tokenizer_files": ["../../x"]}, "tokenizer has fast_tokenizer_files"),
        (TOKENIZER, {"gguf_file": "/dev/zero"}, "tokenizer has gguf_file"),
        (SCHEDULER, {"num_train_timesteps": 10**12}, "num_train_timesteps = 1000000000000"),
        (SCHEDULER, {"beta_end": 5}, "beta_end = 5"),
        (SCHEDULER, {"beta_start": -1}, "beta_start = -1"),
        (SCHEDULER, {"trained_betas": ["a"]}, "trained_betas.0 = 'a'"),
        (SCHEDULER, {"trained_betas": [0.1] * 3}, "trained_betas are 3"),
        (SCHEDULER, {"trained_betas": 3}, "trained_betas = 3"),
        (SCHEDULER, {"beta_end": 0.9, "beta_start": 0.9}, "its betas leave"),
        (SCHEDULER, {"timestep_spacing": "x"}, "timestep_spacing = 'x'"),
        (INDEX, {"scheduler": ["os", "system"]}, "the model's 'system' is not supported"),
    ],
)
def test_absurd_configs_are_refused_when_planned(copied, file, changes, said):
    edit_json(copied / file, **changes)
    assert said in refusal(lambda: planned(copied))


@pytest.mark.parametrize("file", [UNET, VAE, TEXT, SCHEDULER, TOKENIZER])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"a": 1, "a": 2}', "occurs twice"),
        (b" " * 2_000_000, "is larger than"),
        (b"\xff\xfe", "is not JSON"),
        (b"", "is not JSON"),
    ],
)
def test_what_is_no_json_is_refused(copied, file, content, said):
    (copied / file).write_bytes(content)
    message = refusal(lambda: planned(copied))
    assert said in message
    assert file in message


@pytest.mark.parametrize("file", [UNET, VAE, TEXT, TOKENIZER])
def test_not_a_number_is_no_json_but_in_a_scheduler_config(copied, file):
    edit_json(copied / SCHEDULER, lambda_min_clipped=float("-inf"))  # as diffusers writes it
    assert planned(copied)
    (copied / file).write_bytes(b'{"a": NaN}')
    assert "NaN is not a JSON number" in refusal(lambda: planned(copied))


HOSTILE_KEYS = {
    "_attn_implementation": "evil/kernel",
    "attn_implementation": "evil/kernel:attention",
    "auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.Config"},
    "trust_remote_code": True,
    "torch_dtype": "evil",
    "dtype": "evil",
    "kernel_config": {"x": "evil/kernel"},
    "_name_or_path": "https://example.org/evil",
}


@pytest.mark.parametrize("file", [UNET, VAE, TEXT])
def test_keys_that_libraries_act_on_reach_no_library(copied, models, file):
    (copied / "evil.py").write_text("raise SystemExit('ran')")
    shutil.copy(copied / "evil.py", (copied / file).with_name("evil.py"))
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "evil/model"}
    (copied / file).with_name("adapter_config.json").write_text(json.dumps(adapter))
    edit_json(copied / file, **HOSTILE_KEYS)
    loaded = load(find(str(copied)), CPU, torch.float32)
    assert loaded.text_encoder.config._attn_implementation == "sdpa"
    for part in ("text_encoder", "unet", "vae"):
        ours, theirs = getattr(loaded, part), getattr(models, part)
        for name, weight in ours.state_dict().items():
            assert torch.equal(weight, theirs.state_dict()[name])
        assert "evil" not in str(vars(ours.config))


def test_text_encoder_is_what_transformers_would_load(model_folder, models):
    from transformers import CLIPTextModel

    theirs = CLIPTextModel.from_pretrained(model_folder / "text_encoder")
    ids = torch.arange(16)[None]
    assert torch.equal(models.text_encoder(ids)[0], theirs(ids)[0])
    assert torch.equal(models.text_encoder.embeddings.position_ids, ids)


@pytest.mark.parametrize(
    "shard",
    [
        "../x.safetensors",
        "/etc/x.safetensors",
        "a/b.safetensors",
        "..",
        "x.bin",
        "",
        ".x.safetensors",
        "a\nb.safetensors",
        3,
    ],
)
def test_shards_lie_in_their_folder(copied, shard):
    weights = copied / UNET_WEIGHTS
    weights.rename(copied / "x.safetensors")
    weights.with_name(f"{weights.name}.index.json").write_text(
        json.dumps({"weight_map": {"conv_in.weight": shard}})
    )
    assert "names of .safetensors files in the same folder" in refusal(lambda: find(str(copied)))


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": 3}])
def test_shard_index_without_shards_is_refused(copied, index):
    weights = copied / UNET_WEIGHTS
    weights.rename(copied / "x.safetensors")
    weights.with_name(f"{weights.name}.index.json").write_text(json.dumps(index))
    assert "weight_map" in refusal(lambda: find(str(copied)))


def change_weight(path, change):
    """Replace the first weight of a file; return its name."""
    weights = load_file(path)
    name = next(iter(weights))
    weights[name] = change(weights[name])
    save_file(weights, path)
    return name


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.int64, torch.bool])
@pytest.mark.parametrize("part", [UNET_WEIGHTS, "text_encoder/model.safetensors"])
def test_quantised_weights_are_refused_by_name(copied, part, dtype):
    name = change_weight(copied / part, lambda weight: weight.to(dtype))
    message = refusal(lambda: find(str(copied)))
    assert name in message
    assert "allowed: F32, F16, BF16, F64" in message


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(
    "part",
    [UNET_WEIGHTS, "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"],
)
def test_weights_that_are_not_finite_are_named(copied, part, bad):
    def spoil(weight):
        weight.view(-1)[-1] = bad
        return weight

    name = change_weight(copied / part, spoil)
    message = refusal(lambda: load(find(str(copied)), CPU, torch.float32))
    assert f"{part.split('/')[0]}: '{name}' holds values that are not finite in float32" in message


def test_weights_beyond_half_precision_are_named(copied):
    change_weight(copied / UNET_WEIGHTS, lambda weight: weight * 0 + 1e30)
    load(find(str(copied)), CPU, torch.float32)
    assert "in float16" in refusal(lambda: load(find(str(copied)), CPU, torch.float16))


def test_weights_of_other_shapes_are_refused_before_they_are_read(copied):
    header = json.dumps({"conv_in.weight": entry((2**38,), (0, 2**40))}).encode()
    with (copied / UNET_WEIGHTS).open("wb") as file:  # a terabyte that takes no place on the disk
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2**40)
    assert "unet" in refusal(lambda: load(find(str(copied)), CPU, torch.float32))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        b"\xff" * 8,
        struct.pack("<Q", 10**9) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 50_000) + b"[" * 50_000,
    ],
)
def test_headers_that_are_none_are_refused(copied, tmp_path, content):
    (copied / UNET_WEIGHTS).write_bytes(content)
    assert "damaged or not a safetensors file" in refusal(lambda: find(str(copied)))
    path = shutil.copy(copied / UNET_WEIGHTS, tmp_path / "x.safetensors")
    assert "damaged or not a safetensors file" in refusal(lambda: find(str(path)))


def written(path, header, data=b""):
    """Write a safetensors file from its header, as JSON or as it stands in the file, and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape=(1,), offsets=(0, 4), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("header", "data_bytes", "said"),
    [
        ({"a": entry(offsets=(4, 8))}, 8, "not a safetensors file: invalid offset"),
        ({"a": entry(), "b": entry()}, 4, "not a safetensors file: invalid offset"),
        ({"a": entry()}, 5, "not a safetensors file: incomplete metadata"),
        ({"a": entry()}, 3, "not a safetensors file: incomplete metadata"),
        ({"a": entry(shape=(2,))}, 4, "not a safetensors file: "),
        ({"a": entry(shape=(-1,))}, 4, "not a safetensors file: "),
        ({"a": entry(dtype="Q4")}, 4, "not a safetensors file: "),
        ({"a": entry(shape=(2**62, 4), offsets=(0, 0))}, 0, "not a safetensors file: overflow"),
        ({"a": entry(shape=(0, 2**63), offsets=(0, 0))}, 0, "'a' has the shape [0, 9223372036"),
        ({"a": entry(shape=(1,) * 9)}, 4, "'a' has the shape [1, 1, 1"),
        ({"a": entry(), "__metadata__": {"b": 3}}, 4, "not a safetensors file: "),
    ],
)
def test_malformed_headers_are_refused(tmp_path, header, data_bytes, said):
    path = written(tmp_path / "x.safetensors", header, bytes(data_bytes))
    assert said in refusal(lambda: read_header(path, "x"))


def test_names_that_stand_twice_are_refused(tmp_path):
    # safe_open takes the last of two tensors of one name, and says nothing
    text = json.dumps(entry())
    doubled = f'{{"a": {text}, "a": {text}}}'.encode()
    path = written(tmp_path / "x.safetensors", doubled, bytes(4))
    with safe_open(path, "np") as file:
        assert file.keys() == ["a"]
    assert refusal(lambda: read_header(path, "x")) == (
        "x: is damaged: its header is not JSON: 'a' occurs twice"
    )
    doubled = f'{{"a": {text}, "__metadata__": {{"b": "c", "b": "d"}}}}'.encode()
    path = written(tmp_path / "x.safetensors", doubled, bytes(4))
    assert "'b' occurs twice" in refusal(lambda: read_header(path, "x"))


def test_more_tensors_than_any_model_has_are_refused(tmp_path):
    header = {f"t{number}": entry((), (4 * number, 4 * number + 4)) for number in range(20_001)}
    path = written(tmp_path / "x.safetensors", header, bytes(4 * len(header)))
    assert "holds 20001 tensors; allowed: 20000" in refusal(lambda: read_header(path, "x"))


def test_long_headers_are_read(copied, models):
    # checkpoints carry their thumbnail, training log or recipe as metadata
    path = copied / UNET_WEIGHTS
    save_file(load_file(path), path, {"modelspec.thumbnail": "A" * 6_000_000})
    header = read_header(path, "x")
    assert header.metadata == {"modelspec.thumbnail": "A" * 6_000_000}
    unet = models.unet.state_dict()
    assert {name: known.shape for name, known in header.tensors.items()} == {
        name: tuple(weight.shape) for name, weight in unet.items()
    }
    loaded = load(find(str(copied)), CPU, torch.float32)
    assert torch.equal(loaded.unet.conv_in.weight, unet["conv_in.weight"])


@pytest.mark.parametrize("file", ["vocab.json", "merges.txt", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"a": []}', b"[" * 50_000])
def test_damaged_tokenizers_are_refused(copied, file, content):
    for other in (copied / "tokenizer").glob("*.json"):  # only one kind of file is there
        if (file == "tokenizer.json") == (other.name == "vocab.json"):
            other.unlink()
    (copied / "tokenizer" / file).write_bytes(content)
    assert "model = " in refusal(lambda: load(find(str(copied)), CPU, torch.float32))


def test_tokens_beyond_the_text_encoders_table_are_refused(copied):
    weights = load_file(copied / "text_encoder/model.safetensors")
    table = next(name for name in weights if name.endswith("token_embedding.weight"))
    weights[table] = weights[table][:100].clone()
    save_file(weights, copied / "text_encoder/model.safetensors")
    edit_json(copied / TEXT, vocab_size=100)
    message = refusal(lambda: load(find(str(copied)), CPU, torch.float32))
    assert "numbers its tokens up to 189; the text encoder knows 100" in message


def test_tokenizer_of_absurd_size_is_refused(copied):
    with (copied / "tokenizer/vocab.json").open("wb") as file:
        file.truncate(10**9)
    assert "tokenizer/vocab.json is larger" in refusal(lambda: find(str(copied)))


def test_bundled_weights_are_what_was_published(tmp_path, monkeypatch):
    sums = json.loads((BUNDLED / "sha256.json").read_text())
    source = find("bundled")
    tiny = {"tiny_vae/diffusion_pytorch_model.safetensors": hash_tiny(find_tiny(source))}
    assert hash_weights(source, False) | tiny == sums
    copy = shutil.copytree(BUNDLED, tmp_path / "bundled")
    weights = bytearray((copy / UNET_WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (copy / UNET_WEIGHTS).write_bytes(weights)
    monkeypatch.setattr("sdloop.model.find.BUNDLED", copy)
    message = refusal(lambda: hash_weights(find("bundled"), False))
    assert f"{UNET_WEIGHTS} is damaged: its sha256 is" in message


def test_weights_from_the_hub_are_what_their_blobs_say(tmp_path, monkeypatch, model_folder):
    repository = tmp_path / "models--someone--tiny"
    folder = shutil.copytree(model_folder, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("0" * 40)
    (repository / "blobs").mkdir()
    blob = repository / "blobs" / ("a" * 64)
    (folder / UNET_WEIGHTS).rename(blob)
    (folder / UNET_WEIGHTS).symlink_to(blob)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = refusal(lambda: hash_weights(find("someone/tiny"), False))
    assert f"{UNET_WEIGHTS} is damaged" in message
    assert "a" * 64 in message


@pytest.mark.parametrize(
    "name",
    [
        "~nobodyhere/x",
        "a\0b",
        "x" * 5000,
        "~nobodyhere/x.safetensors",
        "a\0.safetensors",
        "x" * 5000 + ".safetensors",
        "/dev/zero",
    ],
)
def test_names_that_no_file_has_are_refused(name):
    assert "model = " in refusal(lambda: find(name))


# ---- what a config comes to --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"height": 8192, "width": 8192, "export": {"scale": 16}}, "export.formats = gif"),
        ({"height": 64, "width": 8192, "export": {"formats": ["webp"]}}, "webp would have 16384 x"),
        ({"height": 64, "width": 4096, "export": {"formats": ["mp4"], "scale": 4}}, "= mp4"),
        ({"height": 8192, "width": 64, "export": {"formats": ["mp4"], "scale": 3}}, "= mp4"),
        ({"height": 4096, "width": 4096, "export": {"scale": 4}}, "export.scale = 4: strip.png"),
        ({"export": {"formats": ["mp4"], "delay_ms": 600_000, "hold_ms": 20}}, "the film would"),
        ({"height": 60}, "height = 60: allowed: multiples of 8"),
    ],
)
def test_what_formats_cannot_hold_is_refused(model_folder, config, said):
    config = {**config, "export": {"formats": ["gif"], **config.get("export", {})}}
    assert said in refusal(lambda: planned(model_folder, **config))


def test_sizes_from_a_model_obey_the_configs_limits(copied):
    edit_json(copied / UNET, sample_size=[8, 1024])
    edit_json(copied / VAE, block_out_channels=[16] * 6)
    assert "width = 32768, the model's: allowed: 8 to 8192" in refusal(lambda: planned(copied))


def test_scale_that_was_not_asked_for_always_fits(model_folder):
    config = planned(model_folder, height=8, width=8192).config
    assert config.export.scale == 3  # 2 x 8192 px three times is what a GIF holds
    config = planned(model_folder).config
    assert config.export.scale == 4  # 64 px to 256


@pytest.mark.parametrize(
    "content",
    [
        "empty",
        "text",
        "cut",
        "bad chunk",
        "bomb",
        "eps",
        "nul name",
        "folder",
        "fifo",
        "zero",
        "long name",
    ],
)
def test_masks_that_are_none_are_refused(tmp_path, content):
    path = tmp_path / "mask.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path)
    whole = path.read_bytes()
    if content == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif content == "bad chunk":
        path.write_bytes(whole[:40] + b"\xff" * 40 + whole[80:])
    elif content in ("empty", "text"):
        path.write_bytes(b"" if content == "empty" else b"hello")
    elif content == "bomb":  # ten gigapixels in some bytes
        head = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
        check = struct.pack(">I", zlib.crc32(head))
        path.write_bytes(whole[:8] + struct.pack(">I", 13) + head + check + whole[33:])
    elif content == "eps":  # which Pillow would give to a program
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n")
    else:
        path.unlink()
        if content == "folder":
            path.mkdir()
        elif content == "fifo":
            os.mkfifo(path)
        named = {"nul name": tmp_path / "a\0b", "long name": tmp_path / ("x" * 5000)}
        path = named.get(content, path if content != "zero" else tmp_path.__class__("/dev/zero"))
    assert "measure.mask = " in refusal(lambda: read_mask(path, 64, 64))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b" " * 2_000_000])
def test_damaged_manifest_is_one_line(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    assert str(path) in refusal(lambda: update_manifest(path, None))
    assert path.read_bytes() == content


def test_render_refuses_a_strangers_folder_in_one_line(tiny_config, tmp_path, capsys):
    from sdloop.render import main as render

    assert main([str(tiny_config), "--quiet"]) == 0
    folder = tmp_path / "run"
    before = sorted(path.name for path in folder.iterdir())
    trajectory = folder / "trajectory.safetensors"
    whole = bytearray(trajectory.read_bytes())
    whole[-5] ^= 4
    trajectory.write_bytes(whole)
    assert render([str(folder), "--quiet"]) == 2
    assert "is damaged: its content is not what its sha256 says" in capsys.readouterr().err
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("num_steps: 5", "num_steps: 4"))
    assert load_config(folder / "config.yaml").scheduler.num_steps == 4
    assert render([str(folder), "--quiet", "export.stages=[0]"]) == 2
    assert "latents is F32 [7, 4, 8, 8], not F32 [6, 4, 8, 8]" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == before
