"""What a config may say: a frozen RunConfig of checked values, as the user wrote them."""

import unicodedata
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from sdloop.machine.documents import dump_yaml
from sdloop.machine.errors import UserError
from sdloop.machine.files import replacing
from sdloop.show.file_names import Format

SMALLEST_PX, LARGEST_PX = 8, 8192
LONGEST_PROMPT = 10_000  # characters; text encoders read some 300
LONGEST_PATH = 4096
COMMENT_START = "# sdloop "  # of the settings in a picture
SHOWN_KEYS = ("decode", "difference", "measure", "export")  # no row of a run depends on these
MODEL_KEYS = ("model", "model_config_from", "model_as_saved", "model_variant", "vae")  # for `find`
# what `render` may change: what is drawn, the device and dtype that decode, where the model is now
RENDER_KEYS = (*SHOWN_KEYS, "device", "dtype", "model", "model_config_from", "vae")


def _check_text(text: str) -> str:
    """Refuse control characters other than line ends and tabs, and lone surrogates."""
    return _without_controls(text, allowed="\r\n\t")


def _as_z0_hat(value: object) -> object:
    """Read what configs said before there was a small decoder: true is full, false is off.

    YAML takes a plain `off` for false, too.
    """
    return {True: "full", False: "off"}[value] if isinstance(value, bool) else value


def _listed(value: object) -> object:
    """Turn a single string into a list of one."""
    return [value] if isinstance(value, str) else value


def check_path(text: str) -> str:
    """Refuse control characters and lone surrogates, which no sensible path holds."""
    return _without_controls(text, allowed="")


def _check_sampler(name: str) -> str:
    """Refuse a name that no sampler has."""
    if name != "model":
        from sdloop.sampler.methods import find_method

        try:
            find_method(name)
        except UserError as error:
            raise ValueError(str(error).partition(": ")[2]) from None
    return name


def _without_controls(text: str, allowed: str) -> str:
    """Refuse a text with a control character (C0, C1) or lone surrogate; name the first."""
    for char in text:
        if unicodedata.category(char) in ("Cc", "Cs") and char not in allowed:
            raise ValueError(f"must not hold the control character U+{ord(char):04X}")
    return text


Prompt = Annotated[str, Field(max_length=LONGEST_PROMPT), AfterValidator(_check_text)]
PathText = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH), AfterValidator(check_path)]
Size = Annotated[int, Field(ge=SMALLEST_PX, le=LARGEST_PX)]
DelayMs = Annotated[int, Field(ge=20, le=600_000, multiple_of=10)]
# for messages, the description of a field with a pattern says what it allows
Device = Annotated[
    str,
    Field(
        pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$",
        description="auto, cpu, mps, cuda, cuda:<number>",
    ),
]


class _Frozen(BaseModel):
    """Refuses unknown keys, changes after it is made, and values that would need conversion."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )


class SchedulerConfig(_Frozen):
    """Which sampler; null takes the value of the model's own scheduler config."""

    type: Annotated[str, AfterValidator(_check_sampler)] = "model"
    num_steps: Annotated[int, Field(ge=1, le=1000)] = 50
    prediction_type: Literal["epsilon", "v_prediction", "sample", "flow_prediction"] | None = None
    timestep_spacing: Literal["leading", "linspace", "trailing"] | None = None
    steps_offset: Annotated[int, Field(ge=0, le=999)] | None = None
    set_alpha_to_one: bool | None = None
    skip_prk_steps: bool | None = None
    sigmas: (
        Literal["trained", "karras", "exponential", "beta", "lu", "flow", "ays", "ays_xl"] | None
    ) = None
    eta: Annotated[float, Field(ge=0, le=1)] | None = None


class StartConfig(_Frozen):
    """The frame of another run that a run starts from; nulls start from noise.

    A hash of null takes the other run as it is; the run's folder keeps it.
    """

    run: PathText | None = None
    frame: Annotated[int, Field(ge=0)] | None = None
    trajectory_sha256: (
        Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="64 hexadecimal digits")] | None
    ) = None

    @model_validator(mode="after")
    def _names_both(self) -> Self:
        """Refuse one of run and frame without the other."""
        if (self.run is None) != (self.frame is None):
            raise ValueError("needs both run and frame, or neither")
        return self


class DecodeConfig(_Frozen):
    """How latents become pictures.

    A batch size of null lets the free memory decide. On a CPU the batch size has no effect. A tiny
    of null takes the model's own small decoder, or the family's.
    """

    batch_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    z0_hat: Annotated[Literal["full", "tiny", "off"], BeforeValidator(_as_z0_hat)] = "full"
    tiny: PathText | None = None


class DifferenceConfig(_Frozen):
    """How a difference in RGB becomes one value per pixel, and what full scale is."""

    reduce: Literal["mean", "max", "rms"] = "mean"
    scale: Literal["image", "global"] = "image"


class MeasureConfig(_Frozen):
    """What to measure against: the object's mask (null guesses it), the tolerance in levels."""

    mask: PathText | None = None
    tolerance: Annotated[int, Field(ge=0, le=255)] = 8


class ExportConfig(_Frozen):
    """What is drawn; delays are in milliseconds, multiples of 10 because GIF counts in those.

    A scale of null enlarges small pictures to about 256 px; stages of null are five, spread evenly.
    """

    delay_ms: DelayMs = 100
    hold_ms: DelayMs = 2000
    scale: Annotated[int, Field(ge=1, le=16)] | None = None
    stages: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, strict=False, min_length=1, max_length=12
    )
    formats: Annotated[tuple[Format, ...], BeforeValidator(_listed)] = Field(
        default=("gif",), strict=False
    )
    png_frames: bool = False


def _usual_guidance(before: dict[str, Any]) -> float:
    """Guide the bundled model gently: at the 7.5 of Stable Diffusion, PNDM breaks on it."""
    return 3.5 if before.get("model") == "bundled" else 7.5


class RunConfig(_Frozen):
    """Everything that a run depends on."""

    prompt: Prompt
    negative_prompt: Prompt = ""
    model: PathText = "bundled"
    model_config_from: PathText | None = None
    model_as_saved: bool = False
    model_variant: (
        Annotated[
            str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$", description="letters, digits, _ and -")
        ]
        | None
    ) = None
    vae: PathText | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    start: StartConfig = StartConfig()
    height: Size | None = None
    width: Size | None = None
    guidance_scale: Annotated[float, Field(ge=1, le=100)] = Field(default_factory=_usual_guidance)
    guidance_rescale: Annotated[float, Field(ge=0, le=1)] = 0.0
    scheduler: SchedulerConfig = SchedulerConfig()
    capture: Annotated[tuple[Literal["attention"], ...], BeforeValidator(_listed)] = Field(
        default=(), strict=False
    )
    device: Device = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    compile: bool = False
    decode: DecodeConfig = DecodeConfig()
    difference: DifferenceConfig = DifferenceConfig()
    measure: MeasureConfig = MeasureConfig()
    export: ExportConfig = ExportConfig()
    output: PathText = "runs/run"

    @property
    def guided(self) -> bool:
        """Tell whether the network evaluates both halves, [uncond, cond]."""
        return self.guidance_scale != 1

    @property
    def captures_attention(self) -> bool:
        """Tell whether the maps of cross-attention are kept."""
        return "attention" in self.capture

    @property
    def first_row(self) -> int:
        """Return the first row that is walked: that of the frame it starts from."""
        return self.start.frame or 0


def model_of(config: RunConfig) -> tuple[Any, ...]:
    """Return what tells which model a config means."""
    return tuple(getattr(config, key) for key in MODEL_KEYS)


def identity_of(config: RunConfig) -> dict[str, Any]:
    """Return the part of a config that the rows of a run depend on, as plain values."""
    return config.model_dump(mode="json", exclude={*SHOWN_KEYS, "output"})


def dump_config(config: RunConfig) -> str:
    """Return the config as YAML text, with every value written out."""
    return dump_yaml(config.model_dump(mode="json"))


def comment_of(config: RunConfig) -> str:
    """Return what a run's pictures carry: sdloop's version, and a config that makes them again.

    It names neither the folder nor the decode batch: runs that differ only in these leave the same
    pictures.
    """
    values = config.model_dump(mode="json", exclude={"output": True, "decode": {"batch_size"}})
    return f"{COMMENT_START}{metadata.version('sdloop')}\n{dump_yaml(values)}"


def write_config(path: Path, config: RunConfig) -> None:
    """Write a config file that `load_config` reads back, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(dump_config(config), encoding="utf-8")
