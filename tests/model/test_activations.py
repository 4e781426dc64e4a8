"""What networks hold at once: the count on fake tensors, held against torch's allocator."""

import json
from collections import Counter
from functools import partial
from itertools import accumulate

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.profiler import ProfilerActivity, profile
from transformers import CLIPTextConfig, CLIPTextModel

from sdloop.model.activations import count
from sdloop.model.bound import decoder_at_most, unet_at_most, widest_at_most
from sdloop.model.config_files import UNetConfig, VaeConfig
from sdloop.model.find import find
from sdloop.model.frame import count_frame, frame_of
from sdloop.model.networks import load
from sdloop.model.predictor import UNetPredictor
from sdloop.model.vae import decode_latents

TOKENS, WIDTH = 11, 32
SIZE = (39, 50)  # leaves a rest when it is halved
UNET = {
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}
VAE = {
    "block_out_channels": (8, 16, 16, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "norm_num_groups": 8,
}
TEXT = {
    "vocab_size": 100,
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": TOKENS,
}
UNETS = {
    "three blocks": {
        "block_out_channels": (16, 32, 32),
        "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
        "up_block_types": (*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
        "layers_per_block": (1, 2, 4),
    },
    # nothing of Stable Diffusion's, but networks that diffusers makes
    "conditioned on sizes": {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,
    },
    "mid block without cross-attention": {"mid_block_type": "UNetMidBlock2D"},
    "linear projection": {"use_linear_projection": True, "attention_head_dim": (2, 4)},
    "two transformers a layer": {"transformer_layers_per_block": 2},
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
    "cross-attention alone": {"only_cross_attention": True},
    "attention in float32": {"upcast_attention": True},
    "no mid block": {"mid_block_type": None},
}
NETWORKS = {
    **{f"unet: {name}": (UNet2DConditionModel, UNET | more) for name, more in UNETS.items()},
    "vae: four blocks": (AutoencoderKL, VAE),
    "vae: no attention": (AutoencoderKL, VAE | {"mid_block_add_attention": False}),
    "text encoder": (CLIPTextModel, TEXT),
}
HALF = [
    ("unet: three blocks", torch.float16),
    ("unet: three blocks", torch.bfloat16),
    ("vae: four blocks", torch.float16),
    ("text encoder", torch.float16),
]
FAST = [
    ("unet: three blocks", torch.float32),
    ("unet: conditioned on sizes", torch.float32),
    ("vae: four blocks", torch.float32),
    ("vae: four blocks", torch.float16),
]
CASES = [*((name, torch.float32) for name in NETWORKS), *HALF]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in CASES if case not in FAST]
SD15_UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SD15_VAE = {  # both from its published configs; what is left out is diffusers' default
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
ATTENTION = "aten::_scaled_dot_product_flash_attention_for_cpu"


def outline_of(name):
    """Make a network on the meta device; return it, and what is called of it."""
    kind, config = NETWORKS[name]
    with torch.device("meta"):
        if kind is CLIPTextModel:
            network = kind(CLIPTextConfig(**config, attn_implementation="sdpa"))
        else:
            network = kind(**config)
    return network.eval(), network.decode if kind is AutoencoderKL else network


def inputs_of(name, size, dtype, device):
    """Return what a network is called with, by place and by name."""
    kind, config = NETWORKS[name]
    z = torch.zeros(2, 4, *size, dtype=dtype, device=device)
    number = torch.zeros((), dtype=torch.int64, device=device)
    if kind is CLIPTextModel:
        return [number.expand(2, TOKENS).clone()], {}
    if kind is AutoencoderKL:
        return [z], {}
    named = {"encoder_hidden_states": z.new_zeros(2, TOKENS, WIDTH)}
    if "addition_embed_type" in config:
        pooled, sizes = z.new_zeros(2, WIDTH), z.new_zeros(2, 6)
        named["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": sizes}
    return [z, number], named


def count_case(name, dtype, device_type="cpu"):
    """Count a case."""
    network, call = outline_of(name)
    inputs, named = inputs_of(name, SIZE, dtype, "meta")
    return count(network, call, *inputs, dtype=dtype, device_type=device_type, **named)


def count_sd15(side, dtype, device_type, samples=1):
    """Count a call of Stable Diffusion 1.5's UNet, and a frame of its VAE."""
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**SD15_UNET), AutoencoderKL(**SD15_VAE)
    outline = partial(torch.empty, device="meta", dtype=dtype)
    held = count(
        unet,
        unet,
        outline((samples, 4, side, side)),
        outline((), dtype=torch.int64),
        dtype=dtype,
        device_type=device_type,
        encoder_hidden_states=outline((samples, 77, 768)),
    )
    return held, count_frame(vae, side, side, dtype, device_type)


def peak_of_allocator(call, folder):
    """Return the most bytes that torch's allocator had given out at once in a call.

    Without what attention takes for its threads, up to half a megabyte each, which only networks as
    small as these notice.
    """
    with (
        torch.no_grad(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler,
    ):
        call()
    profiler.export_chrome_trace(str(folder / "trace.json"))
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    changes = sorted(
        (event["ts"], event["args"]["Addr"], event["args"]["Bytes"])
        for event in events
        if event["name"] == "[memory]"
    )
    for event in events:
        if event["name"] == ATTENTION:
            end = event["ts"] + event["dur"]
            inside = {change for change in changes if event["ts"] <= change[0] <= end}
            places = Counter(place for _, place, _ in inside)
            freed = {change for change in inside if places[change[1]] > 1}
            changes = [change for change in changes if change not in freed]
    return max(accumulate(size for _, _, size in changes))


@pytest.mark.parametrize(("name", "dtype"), [*FAST, *SLOW])
def test_count_is_what_the_allocator_gives(name, dtype, tmp_path):
    network, call = outline_of(name)
    network.requires_grad_(False).to_empty(device="cpu")
    torch.nn.Module.to(network, dtype, memory_format=torch.channels_last)
    for values in (*network.parameters(), *network.buffers()):
        values.zero_()
    inputs, named = inputs_of(name, SIZE, dtype, "cpu")
    given = peak_of_allocator(lambda: call(*inputs, **named), tmp_path)
    assert count_case(name, dtype).peak_bytes == pytest.approx(given, rel=0.005)


def test_count_holds_for_a_walk_with_its_shortcuts(models, tmp_path):
    embeddings, z = torch.zeros(2, 16, 32), torch.zeros(1, 4, 32, 32)
    predict = UNetPredictor(models.unet, embeddings, [1.0], guided=True, shortcuts=True)
    predict(z, 0)  # computes what stays
    given = peak_of_allocator(lambda: predict(z, 0), tmp_path)
    place = models.device, models.dtype
    needed = models.source.family.loop_bytes(models.source, tuple(z.shape), True, *place)
    assert given <= needed <= 1.3 * given


def test_count_of_a_frame_is_what_decoding_one_takes(models, tmp_path):
    z = torch.zeros(3, 4, 24, 24)
    given = peak_of_allocator(lambda: decode_latents(models.vae, z), tmp_path)
    pictures = 3 * 3 * 192 * 192
    assert frame_of(models.vae, 24, 24).peak_bytes == pytest.approx(given - pictures, rel=0.01)


# What the walk through diffusers' blocks gave that this count replaced (commit 721a138), made by
# another way: elements of one sample at 512 px, without what kernels take.
@pytest.mark.slow
def test_count_of_stable_diffusion_is_the_known_one():
    held, frame = count_sd15(64, torch.float16, "cuda", samples=2)
    assert held.peak_bytes / 2 / 2 == pytest.approx(34_078_720, rel=0.002)
    assert held.widest == 2 * 64 * 64 * 8 * 320  # gate and values of a feed-forward
    # of the first layer of 128 channels: its input, the normed one, that in the convolution's
    # layout, and what this gives
    assert frame.peak_bytes / 2 == pytest.approx((3 * 256 + 128) * 512**2, rel=0.002)
    assert frame.widest == 256 * 512**2
    _, frame = count_sd15(64, torch.float32, "cpu")
    assert frame.peak_bytes / 4 == pytest.approx(201_326_592, rel=0.002)


def test_count_changes_nothing_and_is_the_same_wherever_it_is_made():
    name = "unet: three blocks"
    network, call = outline_of(name)
    inputs, named = inputs_of(name, (8, 8), torch.float16, "meta")
    before = dict(network.named_parameters())
    held = count(network, call, *inputs, dtype=torch.float16, **named)
    with torch.inference_mode():
        assert held == count(network, call, *inputs, dtype=torch.float16, **named)
    after = dict(network.named_parameters())
    assert all(weight is after[key] for key, weight in before.items())
    assert {weight.device.type for weight in after.values()} == {"meta"}


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
@pytest.mark.parametrize(("name", "dtype"), [*FAST[::2], FAST[3], *SLOW])
def test_bound_is_above_the_count(name, dtype, device_type):
    kind, config = NETWORKS[name]
    if kind is UNet2DConditionModel:
        try:
            facts = UNetConfig.model_validate(config)
        except ValueError:
            return  # no config that a model may have
        most = unet_at_most(facts, SIZE[0] * SIZE[1], TOKENS)
    elif kind is AutoencoderKL:
        pixels, widths = SIZE[0] * SIZE[1] * 8**2, config["block_out_channels"]
        most = decoder_at_most(widths, pixels, unfolds=dtype != torch.float32)
        assert count_case(name, dtype, device_type).widest <= 2 * widest_at_most(widths, pixels)
    else:
        return
    held = count_case(name, dtype, device_type)
    assert 2 * most * dtype.itemsize >= held.needed_bytes


@pytest.mark.slow
@pytest.mark.parametrize("side", [16, 64])
@pytest.mark.parametrize(
    ("dtype", "device_type"),
    [(torch.float32, "cpu"), (torch.float16, "cpu"), (torch.float16, "cuda")],
)
def test_bound_on_stable_diffusion_is_near_its_count(side, dtype, device_type):
    held, frame = count_sd15(side, dtype, device_type)
    facts = UNetConfig.model_validate(SD15_UNET), VaeConfig.model_validate(SD15_VAE)
    unfolds = device_type == "cpu" and dtype == torch.float16
    loop_most = unet_at_most(facts[0], side**2, 77) * dtype.itemsize
    widths, pixels = facts[1].block_out_channels, 64 * side**2
    frame_most = decoder_at_most(widths, pixels, unfolds) * dtype.itemsize
    assert held.needed_bytes <= loop_most
    assert frame.needed_bytes <= frame_most <= 3 * frame.peak_bytes
    assert frame.widest <= widest_at_most(widths, pixels) <= 2 * frame.widest
    if side >= 64:  # below, the weights that a CPU may copy are most of the bound
        assert loop_most <= 4 * held.peak_bytes


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_count_is_what_cuda_gives_but_for_workspaces():
    cuda = torch.device("cuda")
    models = load(find("bundled"), cuda, torch.float16)
    z = torch.zeros(1, 4, 64, 64, device=cuda)
    frame = frame_of(models.vae, 64, 64)
    for _ in range(2):  # the first call chooses kernels and makes handles
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        decode_latents(models.vae, z)
    given = torch.cuda.max_memory_allocated() - before
    assert 0.8 * frame.peak_bytes <= given <= 1.5 * frame.peak_bytes
