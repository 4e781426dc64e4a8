"""What a family of models answers: all that a run asks of its networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sdloop.model.networks import Models
    from sdloop.model.source import ModelSource


@dataclass(frozen=True)
class Conditioning:
    """What conditions a network's calls; nobody but its family looks inside.

    Attributes:
        embeddings: (2 samples, tokens, width), all unconditional rows first; (samples, ...) where
            nothing is guided.
        guided: Whether there are unconditional rows.
    """

    embeddings: Tensor
    guided: bool

    @classmethod
    def joined(cls, each: Sequence[Conditioning]) -> Conditioning:
        """Put samples side by side, all unconditional rows first.

        Args:
            each: Of one family, all guided or none.

        Returns:
            What conditions all samples at once, in order.
        """
        import torch

        parts = [one.embeddings.chunk(2 if one.guided else 1) for one in each]
        halves = [torch.cat(half) for half in zip(*parts, strict=True)]
        return cls(torch.cat(halves), each[0].guided)


class Predictor(Protocol):
    """A network that a walk asks, with all that conditions it.

    The loop only calls it. The other members let a CUDA graph capture its calls.
    """

    def __call__(self, z: Tensor, row: int) -> Tensor:
        """Ask about z, float32 (samples, channels, h, w), at a row's timestep."""

    def captured(self) -> Mapping[str, Tensor]:
        """Return what the last call left behind beside its output: name -> (samples, ...)."""

    @property
    def device(self) -> torch.device:
        """Return where the network is."""

    @property
    def dtype(self) -> torch.dtype:
        """Return the network's dtype."""

    @property
    def guided(self) -> bool:
        """Tell whether it returns both halves, [uncond, cond]."""

    def input_like(self, z: Tensor) -> Tensor:
        """Make the buffer that holds the network's input for a z of this shape."""

    def captured_like(self, z: Tensor) -> Mapping[str, Tensor]:
        """Make what `call` leaves behind for a z of this shape; it is always written there."""

    def feed(self, buffer: Tensor, z: Tensor) -> None:
        """Write z to that buffer."""

    def prepared(self, row: Tensor) -> AbstractContextManager[object]:
        """Let calls of `call` in a block read their row's number from the device."""

    def call(self, buffer: Tensor, row: Tensor) -> Tensor:
        """Ask the network about what is in the buffer."""

    def take_over(self, other: Self) -> bool:
        """Take what conditions another's calls, in place; False if it is shaped otherwise."""


class Family(Protocol):
    """One family of models: what its parts are, and how they are used."""

    @property
    def parts(self) -> Mapping[str, str]:
        """Name each part's folder, and the stem of its weight files."""

    @property
    def tiny(self) -> str:
        """Name a small decoder of the family's latents, for models that have none of their own."""

    def check(self, name: str, folder: Path, as_saved: bool = False) -> ModelSource:
        """Read a model's configs and refuse what the loop cannot do; nothing is loaded.

        Args:
            name: As the user gave it.
            folder: That holds the configs.
            as_saved: Correct nothing that the family's pipeline corrects on loading.

        Raises:
            UserError: Names the part, the key and what is supported.
        """

    def make_network(self, source: ModelSource, part: str) -> Any:  # noqa: ANN401 - any network
        """Make a part's network without memory for its weights.

        Raises:
            UserError: Values of its config do not go together.
        """

    def weight_bytes(self, source: ModelSource, dtype: torch.dtype) -> tuple[int, int]:
        """Count what the weights take: loaded in this dtype, and in their files.

        Raises:
            UserError: A weight file cannot be read.
        """

    def loop_bytes(
        self,
        source: ModelSource,
        shape: tuple[int, int, int, int],
        guided: bool,
        device: torch.device,
        dtype: torch.dtype,
        quick: bool = False,
        keep_attention: bool = False,
    ) -> int:
        """Count what a call of the network holds in the loop, beside weights, with a margin.

        Args:
            source: The model; nothing of it is loaded.
            shape: (samples, channels, h, w) of the latents that walk at once.
            guided: Whether the network is asked about both halves.
            device: Where it runs.
            dtype: That the model is loaded in.
            quick: Return a bound at once, no less than the count, which takes a second.
            keep_attention: Count what it takes to keep the cross-attention of a call.

        Raises:
            UserError: Values of the network's config do not go together.
        """

    def decode_bytes(
        self,
        source: ModelSource,
        shape: tuple[int, int, int, int],
        batch_size: int | None,
        device: torch.device,
        dtype: torch.dtype,
        quick: bool = False,
        full_precision: bool = False,
    ) -> int:
        """Count what `decode` holds beside weights and pictures; see `loop_bytes`.

        Args:
            source: The model; nothing of it is loaded.
            shape: (frames, channels, h, w) of the latents.
            batch_size: What `decode` is called with.
            device: Where it runs.
            dtype: That the model is loaded in.
            quick: Return a bound at once.
            full_precision: Whether `decode` is called so; the weights' growth is counted too.

        Raises:
            UserError: Values of the decoder's config do not go together.
        """

    def attention_shapes(
        self, source: ModelSource, latent_shape: tuple[int, int, int]
    ) -> Mapping[str, tuple[int, int, int]]:
        """List the maps of cross-attention that a call can leave behind.

        Args:
            source: The model; nothing of it is loaded.
            latent_shape: (channels, h, w).

        Returns:
            Name, such as "attention_16x16" -> (tokens, h, w), the finest first; empty if the
            network does not attend to the prompt.
        """

    def words_of(self, models: Models, prompt: str) -> list[tuple[str, tuple[int, ...]]]:
        """Find the words of a prompt among the tokens that the network attends to.

        Returns:
            Words in order, each with the numbers of its tokens, counted from 0; the first, "", is
            what begins the text and the last, "", what ends it, with the padding behind.
        """

    def text_cut(self, models: Models, prompt: str) -> str:
        """Spell what the text encoder does not see of a prompt's end."""

    def token_limit(self, models: Models) -> int:
        """Return how many tokens the text encoder sees, begin and end among them."""

    def encode_text(
        self, models: Models, prompts: Sequence[str], negative_prompts: Sequence[str] | None
    ) -> Conditioning:
        """Encode one prompt a sample; without negative prompts nothing is guided.

        Raises:
            UserError: An embedding is not finite.
        """

    def predictor(
        self,
        models: Models,
        conditioning: Conditioning,
        timesteps: Sequence[float],
        shortcuts: bool = True,
        keep_attention: bool = False,
    ) -> Predictor:
        """Make what a walk over these timesteps asks, with shortcuts where these are right.

        With `keep_attention` its calls leave the maps of `attention_shapes` behind.
        """

    def decode(
        self,
        vae: Any,  # noqa: ANN401 - any decoder
        latents: Tensor,
        batch_size: int | None = None,
        on_frames: Callable[[int], None] | None = None,
        name_of: Callable[[int], str] = "frame {}".format,
        full_precision: bool = False,
    ) -> Iterator[Tensor]:
        """Decode latents in the network's scale.

        Yields:
            Batches of pictures, (frames of the batch, H, W, 3), float32, in 8-bit levels that are
            not rounded. In `full_precision` they are computed in float32, whatever `vae` is in.

        Raises:
            OutOfMemory: Not even one frame fits.
            UserError: A frame is not finite.
        """
