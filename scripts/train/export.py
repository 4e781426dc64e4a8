"""Write the trained weights as a model folder in diffusers' layout, half precision.

python -m scripts.train.export
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, PNDMScheduler
from transformers import CLIPTokenizer

from .denoiser import build_denoiser
from .diffusion import BETA_END, BETA_START, TRAIN_STEPS
from .settings import Settings, parse_settings

COMPONENTS = {
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "scheduler": ("diffusers", "PNDMScheduler"),
    "feature_extractor": (None, None),
    "image_encoder": (None, None),
    "safety_checker": (None, None),
}


def write_model_folder(settings: Settings, folder: Path) -> int:
    """Write every component of the pipeline below `folder`.

    Returns:
        The training step that the weights are of.
    """
    saved = torch.load(settings.work / "diffusion.pt", map_location="cpu")
    tokenizer = CLIPTokenizer.from_pretrained(settings.work / "tokenizer")
    denoiser = build_denoiser(settings, tokenizer)
    denoiser.load_state_dict(saved["average"])
    own = settings.work / "vae"
    vae = AutoencoderKL.from_pretrained(own if own.exists() else settings.model / "vae")
    for name, module in (
        ("text_encoder", denoiser.text_encoder),
        ("unet", denoiser.unet),
        ("vae", vae),
    ):
        module.half().save_pretrained(folder / name)
    PNDMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
        timestep_spacing="leading",
    ).save_pretrained(folder / "scheduler")
    (folder / "tokenizer").mkdir()
    for path in (settings.work / "tokenizer").iterdir():
        (folder / "tokenizer" / path.name).write_bytes(path.read_bytes())
    # Stable Diffusion's own files carry this key too; pipelines other than diffusers' look for it.
    _edit_json(folder / "scheduler" / "scheduler_config.json", clip_sample=False)
    # transformers would load in the files' precision, and a CPU needs float32 throughout.
    _edit_json(folder / "text_encoder" / "config.json", dtype="float32")
    for name in ("unet", "vae"):
        _edit_json(folder / name / "config.json")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        **COMPONENTS,
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    sums = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }
    (folder / "sha256.json").write_text(json.dumps(sums, indent=2) + "\n")
    return saved["step"]


def _edit_json(path: Path, **values: object) -> None:
    """Set keys of a JSON file, and drop the path that diffusers notes where it loaded from."""
    content = json.loads(path.read_text()) | values
    content.pop("_name_or_path", None)
    path.write_text(json.dumps(content, indent=2) + "\n")


def export(settings: Settings) -> None:
    """Replace the model folder's files, each whole."""
    settings.model.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.model.parent, prefix=".export-") as scratch:
        step = write_model_folder(settings, Path(scratch))
        for made in sorted(p for p in Path(scratch).rglob("*") if p.is_file()):
            target = settings.model / made.relative_to(scratch)
            target.parent.mkdir(exist_ok=True)
            # TemporaryDirectory makes private files; what ships is for everyone to read.
            made.chmod(0o644)
            made.replace(target)
    size = sum(p.stat().st_size for p in settings.model.rglob("*") if p.is_file())
    print(f"step {step}: {size / 1e6:.1f} MB in {settings.model}")


if __name__ == "__main__":
    export(parse_settings(argparse.ArgumentParser(description=__doc__))[0])
