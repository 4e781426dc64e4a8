"""What decodes a run: the VAE its frames, and the VAE or a small decoder its z0_hats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, AutoencoderTiny

    from sdloop.job.plan import Plan


@dataclass(frozen=True)
class Decoders:
    """The loaded decoders of a run.

    Attributes:
        vae: The model's; it decodes every frame.
        tiny: Decodes the z0_hats; None where the VAE does, or nobody.
        z0_hat_facts: What decodes the z0_hats, as plain values for the manifest.
    """

    vae: AutoencoderKL
    tiny: AutoencoderTiny | None
    z0_hat_facts: dict[str, Any]

    @classmethod
    def of_plan(cls, plan: Plan, vae: AutoencoderKL) -> Decoders:
        """Load the small decoder, if the plan has one; it was fetched before.

        Args:
            plan: The run's.
            vae: The model's, loaded.

        Raises:
            UserError: The small decoder's weights are damaged, or do not fit its config.
        """
        if plan.tiny is None:
            by = None if plan.config.decode.z0_hat == "off" else "vae"
            return cls(vae, None, {"decoded_by": by})
        from sdloop.model.tiny import hash_tiny, load_tiny

        facts = {"decoded_by": plan.tiny.name, "weights_sha256": hash_tiny(plan.tiny)}
        return cls(vae, load_tiny(plan.tiny, vae.device, plan.dtype), facts)
