"""What the config files in a model's folder may say: Stable Diffusion's 1.x and 2.x layout.

A folder comes from a stranger. Its JSON is read here alone, and only keys and values that are
listed here reach the network libraries: what these would look up, fetch or run for other keys
(kernels, quantisers, adapters, code of the model's own) stays out of reach, and so do sizes that
no such model has.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from sdloop.machine.documents import parse_json, read_file
from sdloop.machine.errors import UserError, explain

Layers = Annotated[int, Field(ge=1, le=4)]
Channels = Annotated[int, Field(ge=1, le=64)]
Width = Annotated[int, Field(ge=1, le=8192)]
Epsilon = Annotated[float, Field(gt=0, le=0.1)]
Kernel = Literal[1, 3, 5, 7]
SampleSide = Annotated[int, Field(ge=1, le=1024)]
Activation = Literal["silu", "swish", "mish", "gelu", "relu"]
MAX_BLOCKS = 6
LARGE_SIDE = 64  # of the latents that Stable Diffusion 1.x was trained on
_RELEASE = re.compile(r"v?(\d+)(?:\.(\d+))?")

NO_ARGUMENTS = ("class_name", "diffusers_version", "model_type", "quantization_config")

T = TypeVar("T")
PerBlock = Annotated[tuple[T, ...], Field(min_length=1, max_length=MAX_BLOCKS)]


class Part(BaseModel):
    """A config file; keys that are not listed are kept apart (`config_keys.py`)."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    def arguments(self) -> dict[str, Any]:
        """Return what the file said, as arguments of the network's class."""
        listed = (type(self).model_fields.keys() - set(NO_ARGUMENTS)) & self.model_fields_set
        return self.model_dump(include=listed)


class Network(Part):
    """The config of a network."""

    quantization_config: None = None


class UNetConfig(Network):
    """unet/config.json."""

    class_name: Literal["UNet2DConditionModel"] = Field("UNet2DConditionModel", alias="_class_name")
    diffusers_version: str = Field("", alias="_diffusers_version")
    sample_size: SampleSide | tuple[SampleSide, SampleSide] | None = None
    in_channels: Channels = 4
    out_channels: Channels = 4
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: Literal[0, 1] = 0
    down_block_types: PerBlock[Literal["CrossAttnDownBlock2D", "DownBlock2D"]] = (
        *("CrossAttnDownBlock2D",) * 3,
        "DownBlock2D",
    )
    mid_block_type: Literal["UNetMidBlock2DCrossAttn"] | None = "UNetMidBlock2DCrossAttn"
    up_block_types: PerBlock[Literal["CrossAttnUpBlock2D", "UpBlock2D"]] = (
        "UpBlock2D",
        *("CrossAttnUpBlock2D",) * 3,
    )
    only_cross_attention: bool | PerBlock[bool] = False
    block_out_channels: PerBlock[Width] = (320, 640, 1280, 1280)
    layers_per_block: Layers | PerBlock[Layers] = 2
    downsample_padding: Literal[0, 1] = 1
    mid_block_scale_factor: Annotated[float, Field(gt=0, le=1000)] = 1
    dropout: Annotated[float, Field(ge=0, le=1)] = 0
    act_fn: Activation = "silu"
    norm_num_groups: Width = 32
    norm_eps: Epsilon = 1e-5
    cross_attention_dim: Width | PerBlock[Width] = 1280
    transformer_layers_per_block: Layers | PerBlock[Layers] = 1
    reverse_transformer_layers_per_block: None = None
    encoder_hid_dim: None = None
    encoder_hid_dim_type: None = None
    attention_head_dim: Width | PerBlock[Width] = 8
    num_attention_heads: None = None
    dual_cross_attention: Literal[False] = False
    use_linear_projection: bool = False
    class_embed_type: None = None
    addition_embed_type: None = None
    addition_time_embed_dim: None = None
    num_class_embeds: None = None
    upcast_attention: bool | None = False
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    resnet_skip_time_act: Literal[False] = False
    resnet_out_scale_factor: Annotated[float, Field(gt=0, le=1000)] = 1
    time_embedding_type: Literal["positional"] = "positional"
    time_embedding_dim: Width | None = None
    time_embedding_act_fn: None = None
    timestep_post_act: None = None
    time_cond_proj_dim: None = None
    conv_in_kernel: Kernel = 3
    conv_out_kernel: Kernel = 3
    projection_class_embeddings_input_dim: None = None
    attention_type: Literal["default"] = "default"
    class_embeddings_concat: Literal[False] = False
    mid_block_only_cross_attention: bool | None = None
    cross_attention_norm: None = None

    @property
    def is_sized_too_small(self) -> bool:
        """Tell whether StableDiffusionPipeline takes the sample size for 64.

        Before diffusers 0.9.0 the default of 32 was saved for networks trained on 64.
        """
        release = _RELEASE.match(self.diffusers_version)
        is_old = release is not None and (int(release[1]), int(release[2] or 0)) < (0, 9)
        return is_old and isinstance(self.sample_size, int) and self.sample_size < LARGE_SIDE


class VaeConfig(Network):
    """vae/config.json."""

    class_name: Literal["AutoencoderKL"] = Field("AutoencoderKL", alias="_class_name")
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    down_block_types: PerBlock[Literal["DownEncoderBlock2D"]] = ("DownEncoderBlock2D",)
    up_block_types: PerBlock[Literal["UpDecoderBlock2D"]] = ("UpDecoderBlock2D",)
    block_out_channels: PerBlock[Width]
    layers_per_block: Layers = 1
    act_fn: Activation = "silu"
    latent_channels: Channels = 4
    norm_num_groups: Width = 32
    sample_size: Annotated[int, Field(ge=1, le=8192)] = 32
    scaling_factor: Annotated[float, Field(gt=1e-4, le=1e4)] = 0.18215
    shift_factor: Annotated[float, Field(ge=-1e4, le=1e4)] | None = None
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    @property
    def overflows_in_half(self) -> bool:
        """Tell whether the file says that float16 is not enough, as Stable Diffusion XL's does.

        diffusers' default is true where a file says nothing, as Stable Diffusion 1.5's does not,
        and its pipeline decodes that in float16 all the same.
        """
        return self.force_upcast and "force_upcast" in self.model_fields_set


class TextConfig(Network):
    """text_encoder/config.json."""

    model_type: Literal["clip_text_model", "clip"] = "clip_text_model"
    vocab_size: Annotated[int, Field(ge=1, le=1_000_000)] = 49408
    hidden_size: Width = 512
    intermediate_size: Annotated[int, Field(ge=1, le=65536)] = 2048
    num_hidden_layers: Annotated[int, Field(ge=1, le=64)] = 12
    num_attention_heads: Annotated[int, Field(ge=1, le=256)] = 8
    max_position_embeddings: Annotated[int, Field(ge=3, le=4096)] = 77
    hidden_act: Literal["quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh"] = "quick_gelu"
    layer_norm_eps: Epsilon = 1e-5
    use_attention_mask: bool = False
    per_layer_config: None = None


class TokenizerConfig(Part):
    """tokenizer/tokenizer_config.json, as far as it could lead to other files or huge texts.

    All else is read by transformers' own CLIPTokenizer, which the pipeline has, too.
    """

    model_max_length: Annotated[int, Field(ge=3, le=4096)] = Field(
        validation_alias=AliasChoices("model_max_length", "max_len")
    )
    fast_tokenizer_files: None = None
    init_inputs: Annotated[tuple[None, ...], Field(max_length=0)] = ()
    auto_map: None = None
    gguf_file: None = None


P = TypeVar("P", bound=Part)


def read_json(name: str, path: Path, infinities: bool = False) -> dict[str, Any]:
    """Read one JSON file of a model.

    Args:
        name: The model's, as the user gave it.
        path: The file.
        infinities: Whether it may say Infinity, as diffusers' scheduler configs do.

    Returns:
        Its object.

    Raises:
        UserError: It is not there, too large, or no JSON object.
    """
    part = f"model = {name}: {path.parent.name}/{path.name}"
    if not path.exists():
        where = f"{path.parent.name}/{path.name}"
        raise UserError(f"model = {name}: has no {where}; a model is a folder in diffusers' layout")
    return parse_json(read_file(path, part), part, infinities)


def read_part(name: str, path: Path, kind: type[P]) -> P:
    """Read and check one config file of a model.

    Args:
        name: The model's, as the user gave it.
        path: The file.
        kind: What it must be.

    Returns:
        The config.

    Raises:
        UserError: As of `read_json`, or a value is not supported; the message names it.
    """
    values = read_json(name, path)
    if kind is TextConfig and isinstance(values.get("text_config"), dict):
        values = values["text_config"]  # of a whole CLIP, as transformers reads it
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(
            f"model = {name}: {path.parent.name} has {explain(error)}; supported is the layout of "
            "Stable Diffusion 1.x and 2.x"
        ) from None
