"""A model's loaded networks, and the walk that suits their device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from sdloop.model.networks import Models, compile_networks, load
from sdloop.model.weight_files import hash_weights
from sdloop.sampler.answer import Answer, Predict, Replay
from sdloop.sampler.earlier import NOTHING_EARLIER, Earlier
from sdloop.sampler.graph import GraphWalker
from sdloop.sampler.loop import Step, walk

if TYPE_CHECKING:
    import torch

    from sdloop.job.plan import Plan
    from sdloop.model.family import Conditioning, Family, Predictor
    from sdloop.sampler.step import Number
    from sdloop.sampler.table import Table


@dataclass(frozen=True)
class Engine:
    """What runs of one model, on one device, in one dtype, share.

    Attributes:
        family: The model's family.
        models: The networks.
        device: As asked for; "cuda" is whichever CUDA device is current.
        compiled: Whether the networks go through torch.compile.
        weights_sha256: File name -> hash, once known; a thread hashes the gigabytes.
    """

    family: Family
    models: Models
    device: torch.device
    compiled: bool
    weights_sha256: Future[dict[str, str]]
    _graph: GraphWalker | None

    @classmethod
    def start(cls, plan: Plan) -> Engine:
        """Load a plan's model.

        Raises:
            UserError: The weights cannot be loaded or do not fit their configs.
        """
        models = load(plan.source, plan.device, plan.dtype)
        if plan.config.compile:
            compile_networks(models)
        graph = GraphWalker() if plan.device.type == "cuda" else None
        hashing = ThreadPoolExecutor(1)
        hashes = hashing.submit(hash_weights, plan.source, plan.half)
        hashing.shutdown(wait=False)
        return cls(plan.source.family, models, plan.device, plan.config.compile, hashes, graph)

    def serves(self, plan: Plan) -> bool:
        """Tell whether `start` would make an equal engine for a plan."""
        ours = (self.models.source, self.device, self.models.dtype, self.compiled)
        theirs = (plan.source, plan.device, plan.dtype, plan.config.compile)
        return ours == theirs

    def walk(
        self,
        table: Table,
        z: Tensor,
        conditioning: Conditioning,
        guidance_scale: Number,
        noise: Tensor | None = None,
        known: Sequence[Answer] = (),
        guidance_rescale: float = 0.0,
        earlier: Earlier = NOTHING_EARLIER,
        keep_attention: bool = False,
    ) -> Iterator[Step]:
        """Walk the table's rows.

        On CUDA every row replays one graph. Elsewhere the plain loop runs and computes once what is
        constant over the run, unless the UNet is compiled, which stays as it is.

        Args:
            table: The sampler's.
            z: float32 (samples, channels, h, w), the first row's frame, on the networks' device.
            conditioning: The encoded prompts, from `Family.encode_text`.
            guidance_scale: s in uncond + s (cond - uncond); a tensor (samples, 1, 1, 1) gives each
                sample its own.
            noise: float32 (rows, samples, channels, h, w), on the networks' device; None if the
                table adds none.
            known: What the network gave in the first rows of this very walk; these rows do not
                call it again.
            guidance_rescale: phi of `guide`; 0 rescales nothing.
            earlier: The first row, and what those before it left; by default all are walked.
            keep_attention: Let the steps carry the maps of `Family.attention_shapes`.

        Yields:
            One step per row, from the first one on.

        Raises:
            UserError: The weights are damaged; raised as soon as their hash is known.
        """
        timesteps = table.timesteps.tolist()
        shortcuts = self._graph is None and not self.compiled
        predict = self.family.predictor(
            self.models, conditioning, timesteps, shortcuts, keep_attention
        )
        if self._graph is not None:
            steps = self._graph.walk(
                predict, table, z, guidance_scale, noise, known, guidance_rescale, earlier
            )
        else:
            replay = Replay(_answering(predict), known, z.device, earlier.row)
            steps = walk(replay, table, z, guidance_scale, noise, guidance_rescale, earlier)
        for step in steps:
            if self.weights_sha256.done():
                self.weights_sha256.result()
            yield step


def _answering(predict: Predictor) -> Predict:
    """Let a predictor's calls give what else they leave behind, too."""
    return lambda z, row: Answer(predict(z, row), predict.captured())
