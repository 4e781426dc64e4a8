"""Write a checkpoint's averaged weights as a model folder in diffusers' layout, half precision.

python -m scripts.train.export FOLDER [--checkpoint WORK/fallen-00200000.pt]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import diffusers
from diffusers import AutoencoderKL, PNDMScheduler

from .denoise import NOISE_LEVELS
from .networks import load_average
from .settings import Settings, add_settings, settings_of

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


def export(settings: Settings, checkpoint: Path, folder: Path) -> int:
    """Write every component of the pipeline into `folder`, which is emptied first.

    Returns:
        The size of its files in bytes.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    denoiser = load_average(settings, checkpoint)
    vae = AutoencoderKL.from_pretrained(settings.vae)
    parts = {"text_encoder": denoiser.text_encoder, "unet": denoiser.unet, "vae": vae}
    for name, module in parts.items():
        module.half().save_pretrained(folder / name)
    scheduler = PNDMScheduler(
        **NOISE_LEVELS,
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
        timestep_spacing="leading",
    )
    scheduler.save_pretrained(folder / "scheduler")
    shutil.copytree(settings.work / "tokenizer", folder / "tokenizer")
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
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _edit_json(path: Path, **values: object) -> None:
    """Set keys of a JSON file, and drop the path that diffusers notes where it loaded from."""
    content = json.loads(path.read_text()) | values
    content.pop("_name_or_path", None)
    path.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    """Export as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_settings(parser)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="a .pt file or a snapshot")
    asked = parser.parse_args()
    settings = settings_of(asked)
    size = export(settings, asked.checkpoint or settings.work / "denoiser.pt", asked.folder)
    print(f"{size / 1e6:.1f} MB in {asked.folder}")


if __name__ == "__main__":
    main()
