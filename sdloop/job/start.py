"""Where a run starts that does not start from noise: at a frame of another run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from sdloop.job.config import model_of
from sdloop.job.config_file import load_config
from sdloop.job.folder import CONFIG_FILE, MANIFEST_FILE, TRAJECTORY_FILE
from sdloop.job.source import settings_of, source_of
from sdloop.machine.errors import UserError, shown
from sdloop.machine.files import expanded
from sdloop.sampler.earlier import Earlier
from sdloop.sampler.loop import Denoised
from sdloop.sampler.methods import make_table
from sdloop.sampler.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdloop.job.config import RunConfig
    from sdloop.job.plan import Prepared


@dataclass(frozen=True)
class Fork:
    """A run's start at a frame of another one, the origin.

    Attributes:
        origin: The origin's trajectory.
        sha256: The hash of its file.
        row: The number of the frame, which is that of the first row to walk.
    """

    origin: Trajectory
    sha256: str
    row: int

    @classmethod
    def open(cls, prepared: Prepared) -> Self:
        """Read the origin of a run, and check that its later rows are the run's own.

        Args:
            prepared: The run, with `start.run` in its config.

        Returns:
            The start.

        Raises:
            UserError: There is no finished run, it has no such frame, it is not the one that the
                config's hash names, or the run changes a key that rows before the frame fix.
        """
        start, rows = prepared.config.start, len(prepared.table)
        named = f"start.run = {start.run}"
        folder = expanded(str(start.run), "start.run")
        if folder.resolve() == prepared.folder.resolve():
            raise UserError(
                f"output = {prepared.folder}: is the run that this one starts from; use another "
                "folder (output=...)"
            )
        is_finished = (folder / MANIFEST_FILE).is_file()
        for name, why in (
            (CONFIG_FILE, "holds no run"),
            (TRAJECTORY_FILE, "did not keep its latents" if is_finished else "is not finished"),
        ):
            if not (folder / name).is_file():
                raise UserError(f"{named}: {why} (there is no {name})")
        _check_keys(prepared, load_config(folder / CONFIG_FILE))
        row = prepared.config.first_row
        if row >= rows:
            raise UserError(
                f"start.frame = {row}: allowed: 0 to {rows - 1}; frame {rows} is the last of "
                f"{start.run}"
            )
        path = folder / TRAJECTORY_FILE
        shape = (rows + 1, *prepared.latent_shape) if is_finished else None
        origin = Trajectory.load(path, shape)
        made = len(origin.z0_hat)  # fewer than all where the run was stopped
        if origin.timesteps.tolist() != prepared.table.timesteps[:made].tolist():
            raise UserError(f"{named}: {TRAJECTORY_FILE} was made with another scheduler")
        if origin.latents.shape[1:] != prepared.latent_shape:
            raise UserError(f"{named}: {TRAJECTORY_FILE} holds latents of another size")
        if row > made:
            raise UserError(
                f"start.frame = {row}: allowed: 0 to {made}, where {start.run} was stopped"
            )
        sha256 = _hash(path)
        if start.trajectory_sha256 not in (None, sha256):
            raise UserError(
                f"{named}: its {TRAJECTORY_FILE} is no longer the one that this run started from; "
                "start.trajectory_sha256=null takes it as it is"
            )
        return cls(origin, sha256, row)

    @property
    def z(self) -> Tensor:
        """Return the frame, float32 (1, channels, h, w), on the CPU."""
        return self.origin.latents[self.row][None]

    def before(self, words: Sequence[tuple[str, tuple[int, ...]]]) -> Denoised:
        """Return the rows before it, bit for bit, on the CPU.

        Args:
            words: The run's own, of which it keeps attention; its maps of these rows are the
                origin's where the origin's words are the same, tokens and all.
        """
        origin, row = self.origin, self.row
        return Denoised(
            origin.latents[: row + 1, None],
            origin.z0_hat[:row, None],
            None if origin.guidance is None else origin.guidance[:row, None],
            None if origin.guidance_factor is None else origin.guidance_factor[:row, None],
            {name: each[:row, None] for name, each in origin.captured.items()}
            if [(word.text, word.tokens) for word in origin.words] == list(words)
            else {},
        )

    def earlier(self, prepared: Prepared, device: torch.device) -> Earlier:
        """Recall what the later rows need of those before.

        Raises:
            UserError: It cannot be recovered.
        """
        return Earlier.recall(self.origin, prepared.table, self.row, device)

    def mark(self, trajectory: Trajectory) -> Trajectory:
        """Note in the run's trajectory which seed and guidance_scale each row had."""
        rows = len(trajectory.z0_hat)
        own_scale, own_seed = (trajectory.config[key] for key in ("guidance_scale", "seed"))
        config, before = self.origin.config, slice(min(rows, self.row))
        scales = torch.full((rows,), config["guidance_scale"], dtype=torch.float64)
        seeds = torch.full((rows,), config["seed"], dtype=torch.int64)
        if self.origin.guidance_scales is not None and self.origin.seeds is not None:
            scales[before] = self.origin.guidance_scales[before]
            seeds[before] = self.origin.seeds[before]
        is_own = torch.arange(rows) >= self.row
        return replace(
            trajectory,
            guidance_scales=torch.where(is_own, own_scale, scales),
            seeds=torch.where(is_own, own_seed, seeds),
        )


def _check_keys(prepared: Prepared, then: RunConfig) -> None:
    """Refuse a key whose change would make other rows of the table, naming it."""
    now, run = prepared.config, prepared.config.start.run
    for key, ours, theirs in (
        ("height", now.height, then.height),
        ("width", now.width, then.width),
        *(
            (f"scheduler.{key}", value, getattr(then.scheduler, key))
            for key, value in now.scheduler.model_dump().items()
        ),
    ):
        if ours != theirs:
            raise UserError(
                f"{key} = {shown(ours)}: {run} has {shown(theirs)}, which a run that starts from "
                "its frame must keep"
            )
    if prepared.guided != then.guided:
        raise UserError(
            f"guidance_scale = {now.guidance_scale:g}: {run} has {then.guidance_scale:g}; a run "
            "that starts from its frame cannot turn guidance on or off"
        )
    if model_of(now) != model_of(then):
        _check_model(prepared, then)


def _check_model(prepared: Prepared, then: RunConfig) -> None:
    """Refuse a model whose latents or noise levels are not those of the origin's model."""
    run, source = prepared.config.start.run, prepared.source
    try:
        theirs = source_of(then)
        table = make_table(settings_of(then, theirs), then.scheduler.num_steps)
    except UserError as error:
        raise UserError(f"start.run = {run}: {error}") from None
    same_shape = (theirs.latent_channels, theirs.vae_factor) == (
        source.latent_channels,
        source.vae_factor,
    )
    if not same_shape or not table.equals(prepared.table):
        differs = "noise levels are" if same_shape else "latents' shape is"
        raise UserError(
            f"model = {prepared.config.model}: its {differs} not as in {then.model}, with which "
            f"{run} was made"
        )


def _hash(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
