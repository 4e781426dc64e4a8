"""What a run captured: tensors and facts, to and from trajectory.safetensors."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sdloop.errors import UserError
from sdloop.files import replacing

if TYPE_CHECKING:
    from sdloop.loop import Denoised

FORMAT_VERSION = 2
METADATA_KEY = "sdloop"
REQUIRED = ("latents", "z0_hat", "timesteps")
OPTIONAL = ("guidance", "eps_uncond", "eps_cond")


@dataclass(frozen=True)
class Trajectory:
    """One sample's way from noise to picture, on the CPU.

    Attributes:
        latents: float32 (rows + 1, 4, h, w), in the UNet's scale.
        z0_hat: float32 (rows, 4, h, w).
        timesteps: int64 (rows,).
        guidance: float32 (rows, 4, h, w), eps_cond - eps_uncond; None without guidance.
        eps_uncond: float32 (rows, 4, h, w), or None.
        eps_cond: float32 (rows, 4, h, w), or None.
        config: The run's config, as plain values.
    """

    latents: Tensor
    z0_hat: Tensor
    timesteps: Tensor
    guidance: Tensor | None
    eps_uncond: Tensor | None
    eps_cond: Tensor | None
    config: dict[str, Any]

    @classmethod
    def of_sample(
        cls, denoised: Denoised, timesteps: Tensor, config: dict[str, Any], sample: int = 0
    ) -> Trajectory:
        """Take one sample out of a batch.

        Args:
            denoised: What the loop returned.
            timesteps: int64 (rows,).
            config: The run's config, as plain values.
            sample: Which of the batch.

        Returns:
            The sample's trajectory, copied to the CPU.
        """

        def pick(values: Tensor) -> Tensor:
            return values[:, sample].contiguous().cpu()

        def pick_any(values: Tensor | None) -> Tensor | None:
            return None if values is None else pick(values)

        return cls(
            latents=pick(denoised.latents),
            z0_hat=pick(denoised.z0_hat),
            timesteps=timesteps,
            guidance=pick_any(denoised.guidance),
            eps_uncond=pick_any(denoised.eps_uncond),
            eps_cond=pick_any(denoised.eps_cond),
            config=config,
        )

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        tensors = {name: getattr(self, name) for name in (*REQUIRED, *OPTIONAL)}
        # one entry, because safetensors writes several in no fixed order
        facts = {"format_version": FORMAT_VERSION, "config": self.config}
        metadata = {METADATA_KEY: json.dumps(facts)}
        present = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        with replacing(path) as temporary:
            temporary.write_bytes(save(present, metadata))

    @classmethod
    def load(cls, path: Path) -> Trajectory:
        """Read a file that `save` wrote.

        Args:
            path: A trajectory.safetensors.

        Returns:
            The trajectory.

        Raises:
            UserError: It is not there, damaged, or of another format version.
        """
        if not path.is_file():
            raise UserError(f"{path}: is not there")
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
                version = facts.get("format_version")
                if version != FORMAT_VERSION:
                    raise UserError(
                        f"{path}: format_version = {version}; this version reads {FORMAT_VERSION}"
                    )
                names = set(file.keys())
                missing = [name for name in REQUIRED if name not in names]
                if missing:
                    raise UserError(f"{path}: has no {missing[0]}")
                tensors = {
                    field.name: file.get_tensor(field.name) if field.name in names else None
                    for field in fields(cls)
                    if field.name != "config"
                }
        except (SafetensorError, ValueError) as error:
            raise UserError(f"{path}: is damaged: {error}") from None
        trajectory = cls(config=facts.get("config", {}), **tensors)  # type: ignore[arg-type]
        trajectory._check(path)
        return trajectory

    def _check(self, path: Path) -> None:
        """Refuse shapes and dtypes that do not fit together."""
        rows = len(self.timesteps)
        inner = self.latents.shape[1:]
        expected = dict.fromkeys(("z0_hat", *OPTIONAL), (rows, *inner))
        expected["latents"] = (rows + 1, *inner)
        for name, shape in expected.items():
            tensor = getattr(self, name)
            if tensor is None:
                continue
            if tuple(tensor.shape) != shape or tensor.dtype != torch.float32:
                raise UserError(
                    f"{path}: {name} is {tensor.dtype} {tuple(tensor.shape)}, not float32 {shape}"
                )
