"""What a run captured: tensors and facts, to and from trajectory.safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sdloop.machine.errors import UserError, reason_of
from sdloop.machine.files import AnyPath, as_path, replacing
from sdloop.machine.tensor_file import read_header
from sdloop.sampler.loop import fresh_noise
from sdloop.sampler.trajectory_file import (
    FORMAT_VERSION,
    METADATA_KEY,
    OPTIONAL,
    READABLE,
    REQUIRED,
    captures_of,
    check_header,
    check_words,
    digest_of,
    read_facts,
)

if TYPE_CHECKING:
    from sdloop.sampler.loop import Denoised
    from sdloop.sampler.table import Floats, Table


@dataclass(frozen=True)
class Word:
    """A word of a run's prompt, or what begins or ends the text.

    Attributes:
        text: As written; empty for begin and end.
        tokens: The numbers of its tokens, counted from 0.
    """

    text: str
    tokens: tuple[int, ...]


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
        captured: Cross-attention of the conditional half, summed over heads and layers: name, such
            as "attention_16x16", -> float16 (rows, tokens, h, w), the finest first. Zeros for rows
            of which none was kept.
        words: Of the prompt, with begin and end; empty where nothing is captured.
    """

    latents: Tensor
    z0_hat: Tensor
    timesteps: Tensor
    guidance: Tensor | None
    config: dict[str, Any]
    guidance_factor: Tensor | None = None
    guidance_scales: Tensor | None = None
    seeds: Tensor | None = None
    captured: Mapping[str, Tensor] = field(default_factory=dict)
    words: tuple[Word, ...] = ()

    @property
    def guidance_scale(self) -> float | Tensor:
        """Return s; float64 (rows, 1, 1, 1) if it is noted for each row."""
        if self.guidance_scales is None:
            return float(self.config["guidance_scale"])
        return self.guidance_scales.reshape(-1, 1, 1, 1)

    @classmethod
    def of_sample(
        cls,
        denoised: Denoised,
        timesteps: Tensor,
        config: dict[str, Any],
        sample: int = 0,
        words: Sequence[tuple[str, tuple[int, ...]]] = (),
    ) -> Trajectory:
        """Take one sample out of a batch.

        Args:
            denoised: What the loop returned.
            timesteps: float64 (rows,).
            config: The run's config, as plain values.
            sample: The sample's index in the batch.
            words: Of its prompt, each with its tokens, if attention was captured.

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
            captured={name: pick(value) for name, value in denoised.captured.items()},
            words=tuple(Word(*word) for word in words),
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
        present |= self.captured
        facts = {"format_version": FORMAT_VERSION, "config": self.config}
        if self.words:
            facts["words"] = [[word.text, list(word.tokens)] for word in self.words]
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
        facts = read_facts(path, header)
        check_header(path, header, latents_shape, READABLE[facts["format_version"]])
        words, names = check_words(path, facts.get("words", []), header), captures_of(header)
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {
                    name: file.get_tensor(name) if name in header.tensors else None
                    for name in (*REQUIRED, *OPTIONAL, *names)
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
        captured = {name: present.pop(name) for name in names}
        optional = {name: present.get(name) for name in OPTIONAL}
        return cls(
            **{name: present[name] for name in REQUIRED},
            **optional,  # type: ignore[arg-type]
            config=facts["config"],
            captured=captured,
            words=tuple(Word(text, tuple(tokens)) for text, tokens in words),
        )


def by_row(values: Floats) -> Tensor:
    """Reshape one number per row, (rows,), to (rows, 1, 1, 1), to multiply latents."""
    return torch.from_numpy(values).reshape(-1, 1, 1, 1)
