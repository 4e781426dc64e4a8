"""What a run captured: tensors and facts, to and from trajectory.safetensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sdloop.machine.documents import parse_json
from sdloop.machine.errors import UserError, reason_of, shown
from sdloop.machine.files import AnyPath, as_path, replacing
from sdloop.machine.tensor_file import TensorHeader, read_header
from sdloop.sampler.loop import fresh_noise

if TYPE_CHECKING:
    from sdloop.sampler.loop import Denoised
    from sdloop.sampler.table import Floats, Table

FORMAT_VERSION = 4
READABLE = {3: "I64", 4: "F64"}  # format version -> the dtype of its timesteps
METADATA_KEY = "sdloop"
REQUIRED = ("latents", "z0_hat", "timesteps")
OPTIONAL = ("guidance", "guidance_factor", "guidance_scales", "seeds")
DROPPED = ("eps_uncond", "eps_cond")  # older files hold them; they follow from the others


@dataclass(frozen=True)
class Trajectory:
    """One sample's path from noise to picture, on the CPU.

    Attributes:
        latents: float32 (rows + 1, 4, h, w), in the UNet's scale.
        z0_hat: float32 (rows, 4, h, w).
        timesteps: float64 (rows,); not always whole, as some samplers call between trained times.
        guidance: float32 (rows, 4, h, w), eps_cond - eps_uncond; None without guidance.
        config: The run's config, as plain values.
        guidance_factor: float32 (rows,), what rescaling multiplied each guided output by; None if
            nothing was rescaled.
        guidance_scales: float64 (rows,), each row's s; None if all have the config's.
        seeds: int64 (rows,), the seed of each row's fresh noise; None if all have the config's.
    """

    latents: Tensor
    z0_hat: Tensor
    timesteps: Tensor
    guidance: Tensor | None
    config: dict[str, Any]
    guidance_factor: Tensor | None = None
    guidance_scales: Tensor | None = None
    seeds: Tensor | None = None

    @property
    def guidance_scale(self) -> float | Tensor:
        """Return s; float64 (rows, 1, 1, 1) if it is noted for each row."""
        if self.guidance_scales is None:
            return float(self.config["guidance_scale"])
        return self.guidance_scales.reshape(-1, 1, 1, 1)

    @classmethod
    def of_sample(
        cls, denoised: Denoised, timesteps: Tensor, config: dict[str, Any], sample: int = 0
    ) -> Trajectory:
        """Take one sample out of a batch.

        Args:
            denoised: What the loop returned.
            timesteps: float64 (rows,).
            config: The run's config, as plain values.
            sample: The sample's index in the batch.

        Returns:
            The sample's trajectory, copied to the CPU.
        """

        def pick(values: Tensor) -> Tensor:
            return values[:, sample].contiguous().cpu()

        return cls(
            latents=pick(denoised.latents),
            z0_hat=pick(denoised.z0_hat),
            timesteps=timesteps,
            guidance=None if denoised.guidance is None else pick(denoised.guidance),
            config=config,
            guidance_factor=(
                None if denoised.guidance_factor is None else pick(denoised.guidance_factor)
            ),
        )

    def guided_eps(self, table: Table) -> Tensor:
        """Recover the guided noise estimate of each row, in which both halves are combined.

        The table's row turns z0_hat back into the output, and the output into eps.

        Args:
            table: The table that made the trajectory.

        Returns:
            float64 (rows, 4, h, w); z where a frame is all noise.
        """
        z, z0_hat = self.latents[:-1].double(), self.z0_hat.double()
        output = (z0_hat - by_row(table.z0_from_z) * z) / by_row(table.z0_from_output)
        return by_row(table.eps_from_z) * z + by_row(table.eps_from_output) * output

    def eps(self, table: Table) -> tuple[Tensor | None, Tensor]:
        """Recover the noise that the network saw in each half of every row.

        It follows from `guided_eps` and guidance, to some 2e-5 of its largest value (float32,
        divided by the last row's noise of 0.04):

            uncond = eps - s guidance
            cond   = uncond + guidance

        Where a frame is all noise, both are z. If guidance was rescaled, eps here is that of the
        output before rescaling.

        Args:
            table: The table that made the trajectory.

        Returns:
            eps_uncond and eps_cond, float32 (rows, 4, h, w) each. Without guidance the first is
            None, and the second is the only output.
        """
        guided = self.guided_eps(table)
        if self.guidance is None:
            return None, guided.float()
        in_eps = by_row(table.eps_from_output / table.guidance_from_output)
        push = in_eps * self.guidance.double()
        if self.guidance_factor is not None:
            from_z = by_row(table.eps_from_z) * self.latents[:-1]
            guided = from_z + (guided - from_z) / self.guidance_factor.reshape(-1, 1, 1, 1)
        uncond = guided - self.guidance_scale * push
        return uncond.float(), (uncond + push).float()

    def noise(self, table: Table) -> Tensor | None:
        """Draw the fresh noise of every row again, from the run's seed or its rows' seeds.

        Args:
            table: The table that made the trajectory.

        Returns:
            float32 (rows, 4, h, w); None if the table adds none.
        """
        if not table.noisy:
            return None
        shape = self.z0_hat.shape[1:]
        if self.seeds is None:
            return fresh_noise([self.config["seed"]], table, *shape)[:, 0]
        noise = torch.zeros_like(self.z0_hat)
        for seed in self.seeds.unique().tolist():
            rows = self.seeds == seed
            noise[rows] = fresh_noise([seed], table, *shape)[rows, 0]
        return noise

    def save(self, path: AnyPath) -> None:
        """Write the file, whole or not at all."""
        tensors = {name: getattr(self, name) for name in (*REQUIRED, *OPTIONAL)}
        tensors["timesteps"] = self.timesteps.double()
        present = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        facts = {"format_version": FORMAT_VERSION, "config": self.config}
        # one entry, because safetensors writes several in random order
        metadata = {METADATA_KEY: json.dumps(facts | {"sha256": digest_of(facts, present)})}
        with replacing(as_path(path, "path")) as temporary:
            temporary.write_bytes(save(present, metadata))

    @classmethod
    def load(cls, path: AnyPath, latents_shape: tuple[int, ...] | None = None) -> Trajectory:
        """Read a file that `save` wrote.

        The header is checked before any tensor is read, and every byte by a hash.

        Args:
            path: A trajectory.safetensors.
            latents_shape: (rows + 1, 4, h, w), if the shape is known.

        Returns:
            The trajectory.

        Raises:
            UserError: The file does not exist, is damaged, has another format version, other
                shapes or dtypes, or holds a value that is not finite.
        """
        path = as_path(path, "path")
        if not path.exists():
            raise UserError(f"{path}: no such file")
        header = read_header(path, str(path))
        facts = _read_facts(path, header)
        _check_header(path, header, latents_shape, READABLE[facts["format_version"]])
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {
                    name: file.get_tensor(name) if name in header.tensors else None
                    for name in (*REQUIRED, *OPTIONAL)
                }
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: is damaged: {reason_of(error)}") from None
        present = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        if facts.pop("sha256", None) != digest_of(facts, present):
            raise UserError(f"{path}: is damaged: its content is not what its sha256 says")
        for name, tensor in present.items():
            if not tensor.isfinite().all():
                raise UserError(f"{path}: is damaged: {name} holds values that are not finite")
        present["timesteps"] = present["timesteps"].double()
        return cls(config=facts["config"], **{**tensors, **present})


def by_row(values: Floats) -> Tensor:
    """Reshape one number per row, (rows,), to (rows, 1, 1, 1), to multiply latents."""
    return torch.from_numpy(values).reshape(-1, 1, 1, 1)


def digest_of(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Hash facts and tensors: their names, dtypes, shapes and bytes."""
    digest = hashlib.sha256(json.dumps(facts).encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy())  # type: ignore[arg-type]
    return digest.hexdigest()


def _read_facts(path: Path, header: TensorHeader) -> dict[str, Any]:
    """Read the facts beside the tensors; they must be spelled exactly as `save` writes them."""
    text = header.metadata.get(METADATA_KEY, "{}")
    facts = parse_json(text, f"{path}: is damaged: its metadata")
    version = facts.get("format_version")
    if type(version) is not int or version not in READABLE:
        raise UserError(
            f"{path}: format_version = {shown(version)}; this version of sdloop reads "
            f"{' and '.join(map(str, READABLE))}"
        )
    if json.dumps(facts) != text or not isinstance(facts.get("config"), dict):
        raise UserError(f"{path}: is damaged: its metadata is not what sdloop writes")
    return facts


def _check_header(
    path: Path, header: TensorHeader, latents_shape: tuple[int, ...] | None, times_dtype: str
) -> None:
    """Refuse names, shapes and dtypes that no run has."""
    entries = header.tensors
    for name in REQUIRED:
        if name not in entries:
            raise UserError(f"{path}: has no {name}")
    frames, *inner = latents_shape or entries["latents"].shape or (0,)
    rows = frames - 1
    if latents_shape is None and (rows < 1 or len(inner) != 3 or 0 in inner):
        raise UserError(f"{path}: latents is {list(entries['latents'].shape)}: not a run's shape")
    steps = ("F32", (rows, *inner))
    expected = {"latents": ("F32", (frames, *inner)), "timesteps": (times_dtype, (rows,))}
    expected |= dict.fromkeys(("z0_hat", "guidance", *DROPPED), steps)
    expected["guidance_factor"] = ("F32", (rows,))
    expected |= {"guidance_scales": ("F64", (rows,)), "seeds": ("I64", (rows,))}
    strange = [name for name in entries if name not in expected]
    if strange:
        raise UserError(f"{path}: holds {shown(strange[0])}, which is not part of a run")
    for name, (dtype, shape) in expected.items():
        entry = entries.get(name)
        if entry is not None and (entry.dtype, entry.shape) != (dtype, shape):
            raise UserError(
                f"{path}: {name} is {entry.dtype} {list(entry.shape)}, not {dtype} {list(shape)}"
            )
