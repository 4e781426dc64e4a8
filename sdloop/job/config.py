"""YAML and key=value overrides -> a frozen RunConfig; unknown keys are refused by name."""

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from sdloop.machine.documents import dump_yaml, parse_yaml, read_file, spelling_at
from sdloop.machine.errors import UserError, shown
from sdloop.machine.files import replacing
from sdloop.show.file_names import Format

SMALLEST_PX, LARGEST_PX = 8, 8192
LONGEST_PROMPT = 10_000  # characters; text encoders take some 300
LONGEST_PATH = 4096
LONGEST_QUOTE = 100
SHOWN_KEYS = ("decode", "difference", "measure", "export")  # no row of a run depends on these
MODEL_KEYS = ("model", "model_config_from", "model_as_saved")  # which model it is
# what `render` may change: what is drawn, where and in what it decodes, where the model is today
RENDER_KEYS = (*SHOWN_KEYS, "device", "dtype", "model", "model_config_from")
# what other programs call a key, for a hint
ELSEWHERE = {
    "num_inference_steps": "scheduler.num_steps",
    "num_steps": "scheduler.num_steps",
    "steps": "scheduler.num_steps",
    "sampler": "scheduler.type",
    "sampler_name": "scheduler.type",
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "guidance": "guidance_scale",
    "negative": "negative_prompt",
    "output_dir": "output",
    "out": "output",
    "checkpoint": "model",
    "ckpt": "model",
    "model_id": "model",
    "generator": "seed",
}
DROPPED_CAPTURES = ("eps_uncond", "eps_cond")  # Trajectory.eps() gives both
_YAML_TYPES = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    type(None): "nothing",
    list: "a list",
    dict: "a mapping",
}


def _check_text(text: str) -> str:
    """Refuse what no text holds: control characters but line ends and tabs, half characters."""
    return _without_controls(text, allowed="\r\n\t")


def _listed(value: object) -> object:
    """Take one text for a list of one."""
    return [value] if isinstance(value, str) else value


def _check_path(text: str) -> str:
    """Refuse what no name holds that a user means."""
    return _without_controls(text, allowed="")


def _check_sampler(name: str) -> str:
    """Refuse what no sampler is called."""
    if name != "model":
        from sdloop.sampler.methods import find_method

        try:
            find_method(name)
        except UserError as error:
            raise ValueError(str(error).partition(": ")[2]) from None
    return name


def _without_controls(text: str, allowed: str) -> str:
    """Name the first control character (C0, C1) or lone surrogate."""
    for char in text:
        if unicodedata.category(char) in ("Cc", "Cs") and char not in allowed:
            raise ValueError(f"must not hold the control character U+{ord(char):04X}")
    return text


Prompt = Annotated[str, Field(max_length=LONGEST_PROMPT), AfterValidator(_check_text)]
PathText = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH), AfterValidator(_check_path)]
Size = Annotated[int, Field(ge=SMALLEST_PX, le=LARGEST_PX)]
DelayMs = Annotated[int, Field(ge=20, le=600_000, multiple_of=10)]
# a field with a pattern says in its description what it allows, for a message
Device = Annotated[
    str,
    Field(
        pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$",
        description="auto, cpu, mps, cuda, cuda:<number>",
    ),
]


class _Frozen(BaseModel):
    """Refuses unknown keys, changes, and values that would need conversion."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )


class SchedulerConfig(_Frozen):
    """Which sampler; what is null is taken from the model's own scheduler config."""

    type: Annotated[str, AfterValidator(_check_sampler)] = "model"
    num_steps: Annotated[int, Field(ge=1, le=1000)] = 50
    timestep_spacing: Literal["leading", "linspace", "trailing"] | None = None
    steps_offset: Annotated[int, Field(ge=0, le=999)] | None = None
    set_alpha_to_one: bool | None = None
    skip_prk_steps: bool | None = None
    sigmas: (
        Literal["trained", "karras", "exponential", "beta", "lu", "flow", "ays", "ays_xl"] | None
    ) = None
    eta: Annotated[float, Field(ge=0, le=1)] | None = None


class DecodeConfig(_Frozen):
    """How latents become pictures.

    A batch size of null lets the free memory decide. On a CPU it has no effect.
    """

    batch_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    z0_hat: bool = True


class DifferenceConfig(_Frozen):
    """How a difference in RGB becomes one value a pixel, and what is full scale."""

    reduce: Literal["mean", "max", "rms"] = "mean"
    scale: Literal["image", "global"] = "image"


class MeasureConfig(_Frozen):
    """What is measured against: the object's mask (null guesses it), the tolerance in levels."""

    mask: PathText | None = None
    tolerance: Annotated[int, Field(ge=0, le=255)] = 8


class ExportConfig(_Frozen):
    """What is drawn; delays in milliseconds, by GIF's clock multiples of 10.

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


class RunConfig(_Frozen):
    """Everything that a run depends on."""

    prompt: Prompt
    negative_prompt: Prompt = ""
    model: PathText = "bundled"
    model_config_from: PathText | None = None
    model_as_saved: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    height: Size | None = None
    width: Size | None = None
    guidance_scale: Annotated[float, Field(ge=1, le=100)] = 7.5
    guidance_rescale: Annotated[float, Field(ge=0, le=1)] = 0.0
    scheduler: SchedulerConfig = SchedulerConfig()
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
        """Tell whether the network is asked about both halves, [uncond, cond]."""
        return self.guidance_scale != 1


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a config file and put overrides over it.

    Args:
        path: A YAML file that holds a mapping. Without an `output` key a run of it goes to
            runs/<name of the file>.
        overrides: `key=value` texts; dots reach into nested values, values are YAML.

    Returns:
        The checked config.

    Raises:
        UserError: One line that names the file, the key, the value and what is allowed.
    """
    path = Path(path)
    values, text = read_values(path, overrides)
    return check_values(values, path, text, overrides)


def read_values(path: Path, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """Read a config file and put overrides over it; nothing is checked but the spelling.

    Args:
        path: As of `load_config`.
        overrides: As of `load_config`.

    Returns:
        The values, and the file's text.

    Raises:
        UserError: The file is no YAML mapping, or an override no `key=value`.
    """
    text = _read_text(path)
    values = _mapping_of(text, path)
    _drop_capture(values)
    for override in overrides:
        _apply_override(values, override)
    if "output" not in values:
        values["output"] = _default_output(path)
    return values, text


def check_values(
    values: Mapping[str, Any], path: Path, text: str, overrides: Sequence[str] = ()
) -> RunConfig:
    """Make a config of values that `read_values` read.

    Args:
        values: By key.
        path: The file, for messages.
        text: Its text, for messages.
        overrides: What was put over it, for messages.

    Returns:
        The checked config.

    Raises:
        UserError: As of `load_config`.
    """
    return _checked(values, f"{path}: ", text, overrides)


def default_config(overrides: Sequence[str]) -> RunConfig:
    """Put overrides over the defaults.

    Args:
        overrides: As of `load_config`.

    Returns:
        The checked config, of an empty prompt unless an override says one.

    Raises:
        UserError: As of `load_config`.
    """
    values: dict[str, Any] = {"prompt": ""}
    for override in overrides:
        _apply_override(values, override)
    return _checked(values, "", "", overrides)


def _checked(
    values: Mapping[str, Any], before: str, text: str, overrides: Sequence[str]
) -> RunConfig:
    """Make a config of values; a message has something before it."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{before}{_explain(error, text, overrides)}") from None


def _drop_capture(values: dict[str, Any]) -> None:
    """Leave out a key of older runs' configs: what it asked for follows from every trajectory."""
    asked = values.get("capture")
    if isinstance(asked, list) and all(name in DROPPED_CAPTURES for name in asked):
        del values["capture"]


def model_of(config: RunConfig) -> tuple[object, ...]:
    """Return what tells which model a config means."""
    return tuple(getattr(config, key) for key in MODEL_KEYS)


def identity_of(config: RunConfig) -> dict[str, Any]:
    """Return the part of a config on which the rows of a run depend, as plain values."""
    return config.model_dump(mode="json", exclude={*SHOWN_KEYS, "output"})


def dump_config(config: RunConfig) -> str:
    """Return the config as YAML text, every value written out."""
    return dump_yaml(config.model_dump(mode="json"))


def write_config(path: Path, config: RunConfig) -> None:
    """Write a config file that `load_config` reads back, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(dump_config(config), encoding="utf-8")


def _read_text(path: Path) -> str:
    """Read a YAML file."""
    try:
        return read_file(path, str(path)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8: {error}; save the file as UTF-8") from None


def _mapping_of(text: str, path: Path) -> dict[str, Any]:
    """Parse a YAML file whose top is a mapping."""
    values = parse_yaml(text, f"{path}:")
    if not isinstance(values, dict):
        raise UserError(f"{path}: must be a YAML mapping (key: value), not {_type_name(values)}")
    return values


def _default_output(path: Path) -> str:
    """Make a run's folder of a config file's name, which must not lead out of runs/."""
    try:
        if path.stem.startswith(".") or not path.stem:
            raise ValueError("begins with a dot")
        return f"runs/{_check_path(path.stem)}"
    except ValueError as error:
        raise UserError(
            f"{path}: cannot name the run's folder, as its own name {error}; say output=..."
        ) from None


def _type_name(value: object) -> str:
    """Name a YAML value's type as YAML does."""
    names = {list: "a list", str: "a text", type(None): "empty"}
    return names.get(type(value), f"a {type(value).__name__}")


def _apply_override(values: dict[str, Any], override: str) -> None:
    """Set one dotted key."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key or not key.isprintable():
        raise UserError(f"{shown(override)}: an override is key=value, such as seed=3")
    *parents, leaf = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UserError(f"{_cut(key)}: {_cut(parent)} holds no keys of its own")
        values = inner
    is_text = not parents and _is_text(leaf)
    values[leaf] = text if is_text else parse_yaml(text, f"{_cut(key)} = {_cut(text)}:")


def _is_text(key: str) -> bool:
    """Tell whether a top-level key takes text as it stands ("prompt=yes" is no truth value)."""
    field = RunConfig.model_fields.get(key)
    return field is not None and field.annotation is str


def _explain(error: ValidationError, text: str, overrides: Sequence[str]) -> str:
    """Say the first thing that is wrong in one line."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = _cut(".".join(path))
    if first["type"] == "extra_forbidden":
        allowed = _keys_beside(path)
        close = difflib.get_close_matches(path[-1], allowed, n=1)
        meant = ELSEWHERE.get(path[-1].lower()) or next(iter(close), None)
        hint = f"did you mean {meant}? " if meant else ""
        return f"{key}: unknown key; {hint}allowed: {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{key}: is missing"
    if first["type"] == "string_type":
        return _explain_text(path, first["input"], text, overrides)
    if first["type"] in ("model_type", "model_attributes_type"):
        return _explain_scalar(path, first["input"])
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if first["type"] == "string_pattern_mismatch":
        allowed_here = _model_around(path).model_fields[path[-1]].description
        message = f"allowed: {allowed_here}" if allowed_here else message
    if path == ["guidance_scale"] and first["type"] == "greater_than_equal":
        message += "; 1 turns guidance off"
    return f"{key} = {shown(first['input'])}: {message}" if key else message


def _explain_scalar(path: list[str], value: object) -> str:
    """Say where a value belongs that was given to a key with keys of its own."""
    key = ".".join(path)
    inner = list(_model_around([*path, ""]).model_fields)
    meant = f"{key}.type" if "type" in inner and isinstance(value, str) else None
    hint = f"say {meant}={_cut(str(value))}" if meant else "say one of them"
    return f"{key} = {shown(value)}: has keys of its own ({', '.join(inner)}); {hint}"


def _explain_text(path: list[str], value: object, text: str, overrides: Sequence[str]) -> str:
    """Say how to write a text that YAML takes for something else."""
    key, taken_for = ".".join(path), _YAML_TYPES.get(type(value), "no text")
    written, override = _as_written(path, text, overrides)
    if written is None:
        return f"{key} = {shown(value)}: must be a text, not {taken_for}"
    quoted = f"""{key}='"{written}"'""" if override else f'{path[-1]}: "{written}"'
    return f"{key} = {written}: YAML reads {taken_for}; put the text in quotes: {quoted}"


def _as_written(
    path: list[str], text: str, overrides: Sequence[str]
) -> tuple[str | None, str | None]:
    """Find a value as the user spelled it, and the override that it comes from, if one does."""
    for override in reversed(overrides):
        key, _, value = override.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if path[: len(parts)] == parts:
            return spelling_at(value, path[len(parts) :]), override
    return spelling_at(text, path), None


def _cut(text: str) -> str:
    """Cut a text that a message quotes without quotes."""
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


def _keys_beside(path: list[str]) -> list[str]:
    """List the keys allowed where an unknown one stood."""
    return list(_model_around(path).model_fields)


def _model_around(path: list[str]) -> type[BaseModel]:
    """Find the part of the config that a key stands in."""
    model: type[BaseModel] = RunConfig
    for part in path[:-1]:
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model
