"""Small random models in Stable Diffusion's layout, built on the spot."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from playwright.sync_api import sync_playwright
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sdloop.model.find import find
from sdloop.model.networks import Models, load

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker a core: their threads would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

TOKENS = 16
READY = "main:not([aria-busy])"  # a page that shows its pictures
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}


def build_tokenizer(folder: Path) -> None:
    """Write a CLIP tokenizer that spells every word in letters, one token each."""
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters)]
    vocabulary = {word: number for number, word in enumerate(words)}
    vocabulary |= {"<|startoftext|>": len(words), "<|endoftext|>": len(words) + 1}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "model_max_length": TOKENS,
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "pad_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
            }
        )
    )


def build_model(folder: Path, prediction_type: str = "epsilon", text_width: int = 32) -> Path:
    """Write a whole model with seeded random weights."""
    torch.manual_seed(7)
    build_tokenizer(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=text_width,
        intermediate_size=2 * text_width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=text_width,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        force_upcast=False,
    )
    scheduler = PNDMScheduler(**SCHEDULER, prediction_type=prediction_type)
    StableDiffusionPipeline(
        vae, CLIPTextModel(text), tokenizer, unet, scheduler, None, None, None, False
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """Return a random model that predicts epsilon."""
    return build_model(tmp_path_factory.mktemp("model") / "epsilon")


@pytest.fixture(scope="session")
def v_model_folder(tmp_path_factory) -> Path:
    """Return a random model that predicts v, with another text width, as SD 2.x."""
    return build_model(tmp_path_factory.mktemp("model") / "v", "v_prediction", text_width=48)


@pytest.fixture(scope="session")
def models(model_folder) -> Models:
    """Return the loaded epsilon model, float32 on the CPU."""
    return load(find(str(model_folder)), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def v_models(v_model_folder) -> Models:
    """Return the loaded v model, float32 on the CPU."""
    return load(find(str(v_model_folder)), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def bundled() -> Models:
    """Return the model that ships with the package, float32 on the CPU."""
    return load(find("bundled"), torch.device("cpu"), torch.float32)


def make_tiny(folder: Path, **changes) -> AutoencoderTiny:
    """Write a small decoder of random weights, as diffusers saves it; return it."""
    torch.manual_seed(0)
    sizes = {
        "encoder_block_out_channels": (8,) * 4,
        "num_encoder_blocks": (0,) * 4,
        "decoder_block_out_channels": (8,) * 4,
        "num_decoder_blocks": (1, 1, 1, 0),
    }
    network = AutoencoderTiny(**sizes | changes)
    network.save_pretrained(folder)
    return network.eval()


@pytest.fixture
def tiny_config(tmp_path, model_folder) -> Path:
    """Return a config of a quick run on the random model; its output is in tmp_path."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"prompt: a cat\nmodel: {model_folder}\noutput: {tmp_path / 'run'}\nseed: 3\n"
        "device: cpu\nscheduler: {num_steps: 5}\nexport: {stages: [0, 2, 5]}\n"
    )
    return path


@pytest.fixture(scope="session")
def browser():
    """Return a Chromium; where there is none, CI fails and others skip."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        message = "no chromium on this machine (apt-get install chromium)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Return a function that opens a file; afterwards nobody may have complained or asked."""
    complaints, asked, contexts = [], [], []

    def open_file(path, **options):
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(90_000)  # machines may be busy; the clock below has 100 s
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.clock.install(time=0)
        page.goto(path.as_uri())
        page.wait_for_selector(READY)
        page.clock.pause_at(100_000)  # from here on time stands still but for `run_for`
        allowed.add(path.as_uri())
        return page

    allowed = set()
    yield open_file
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in asked if not url.startswith("data:")} <= allowed


@pytest.fixture
def images():
    """Return six frames of noise that settles on a smooth picture."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:48, 0:64]
    smooth = np.stack([x * 4, y * 5, 255 - x * 2], axis=-1)
    noise = rng.integers(0, 256, smooth.shape)
    mixed = [smooth * k / 5 + noise * (1 - k / 5) for k in range(6)]
    return np.array(mixed).round().astype(np.uint8)
