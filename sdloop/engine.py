"""A model's networks, loaded, with the way of walking the loop that suits their device."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdloop.graph import GraphDenoiser
from sdloop.loop import Denoised, OnRow, denoise
from sdloop.model.networks import Models, compile_networks, load
from sdloop.model.source import ModelSource
from sdloop.model.weight_files import hash_weights
from sdloop.precompute import constants_of_run

if TYPE_CHECKING:
    from sdloop.schedule import Schedule


@dataclass(frozen=True)
class Engine:
    """What runs of one model, on one device, in one dtype, share.

    Attributes:
        models: The networks.
        device: As it was asked for; "cuda" is whichever CUDA device is the current one.
        compiled: Whether torch.compile translates them.
        weights_sha256: By file name, once they are known; gigabytes are hashed in a thread.
    """

    models: Models
    device: torch.device
    compiled: bool
    weights_sha256: Future[dict[str, str]]
    _graph: GraphDenoiser | None

    @classmethod
    def start(
        cls, source: ModelSource, device: torch.device, dtype: torch.dtype, compiled: bool
    ) -> Engine:
        """Load a model.

        Args:
            source: What `find` returned.
            device: Where to.
            dtype: Of the networks.
            compiled: Whether torch.compile translates them when they are first called.

        Returns:
            The engine.

        Raises:
            UserError: The weights cannot be had or do not fit their configs.
        """
        models = load(source, device, dtype)
        if compiled:
            compile_networks(models)
        graph = GraphDenoiser(models.unet) if device.type == "cuda" else None
        hashing = ThreadPoolExecutor(1)
        hashes = hashing.submit(hash_weights, source, dtype.itemsize == 2)
        hashing.shutdown(wait=False)
        return cls(models, device, compiled, hashes, graph)

    def serves(
        self, source: ModelSource, device: torch.device, dtype: torch.dtype, compiled: bool
    ) -> bool:
        """Tell whether `start` with these arguments would make an equal engine."""
        ours = (self.models.source, self.device, self.models.dtype, self.compiled)
        return ours == (source, device, dtype, compiled)

    def denoise(
        self,
        schedule: Schedule,
        z: Tensor,
        embeddings: Tensor,
        guidance_scale: float,
        capture: Sequence[str],
        on_row: OnRow,
        finished: Sequence[Tensor] = (),
    ) -> Denoised:
        """Walk the loop; arguments, result and errors as loop.denoise.

        On CUDA every row is a replay of one graph. Elsewhere the readable loop runs, with what is
        constant over the run computed once; a compiled UNet is left as it was compiled.
        """
        arguments = (schedule, z, embeddings, guidance_scale, capture, on_row, finished)
        if self._graph is not None:
            return self._graph.denoise(*arguments)
        unet = self.models.unet
        if self.compiled:
            return denoise(unet, *arguments)
        with constants_of_run(unet, embeddings, guidance_scale != 1):
            return denoise(unet, *arguments)
