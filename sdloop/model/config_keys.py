"""Keys of a model's configs that the libraries know and on which no picture depends.

A key is obeyed or refused by name (`config_files.py`), or it stands here with the reason. Keys that
diffusers and transformers do not know either are ignored, as they ignore them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdloop.machine.errors import UserError, shown

if TYPE_CHECKING:
    from sdloop.model.config_files import Part

_POOLED = "of the pooled output, which nobody uses"
_TRAINING = "of training alone"
_OTHER_TASKS = "of other tasks"
_OWN = "sdloop chooses it itself"
_BY_NAME = "the file of that name in the folder is read, as transformers does"
_ENCODER = "of the encoder, which no run calls"
_NO_ROTARY = "CLIP has no rotary positions"

HARMLESS: Mapping[str, Mapping[str, str]] = {
    "unet": {
        "addition_embed_type_num_heads": "read with addition_embed_type alone, which is refused",
    },
    "vae": {
        "latents_mean": "StableDiffusionPipeline does not read it",
        "latents_std": "StableDiffusionPipeline does not read it",
    },
    "text_encoder": {
        "attention_dropout": _TRAINING,
        "initializer_factor": _TRAINING,
        "initializer_range": _TRAINING,
        "bos_token_id": _POOLED,
        "eos_token_id": _POOLED,
        "pad_token_id": _POOLED,
        "projection_dim": _POOLED,
        "attn_implementation": _OWN,
        "experts_implementation": "CLIP has no experts",
        "dtype": _OWN,
        "torch_dtype": _OWN,
        "output_attentions": _OWN,
        "output_hidden_states": _OWN,
        "return_dict": _OWN,
        "chunk_size_feed_forward": "CLIP does not read it",
        "architectures": "a name",
        "name_or_path": "a name",
        "transformers_version": "a name",
        "_commit_hash": "a name",
        "id2label": _OTHER_TASKS,
        "label2id": _OTHER_TASKS,
        "num_labels": _OTHER_TASKS,
        "problem_type": _OTHER_TASKS,
        "is_encoder_decoder": _OTHER_TASKS,
        "rope_scaling": _NO_ROTARY,
        "rope_theta": _NO_ROTARY,
    },
    "tiny_vae": {
        "encoder_block_out_channels": _ENCODER,
        "num_encoder_blocks": _ENCODER,
        "latent_magnitude": _ENCODER,
        "latent_shift": _ENCODER,
        "force_upcast": "AutoencoderTiny sets it to false itself",
    },
    "tokenizer": {
        "vocab_file": _BY_NAME,
        "merges_file": _BY_NAME,
        "tokenizer_file": _BY_NAME,
    },
}

OWN_OF_TOKENIZER = (
    *("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"),
    *("add_bos_token", "add_eos_token", "add_prefix_space", "split_special_tokens"),
    *("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"),
    *("model_specific_special_tokens", "padding_side", "truncation_side", "tokenizer_padding"),
    *("tokenizer_truncation", "post_processor", "tokenizer_object", "vocab", "merges"),
    *("_json_padding", "_json_truncation", "_spm_precompiled_charsmap", "max_length", "stride"),
    *("pad_to_multiple_of", "pad_token_type_id", "truncation_strategy"),
    "clean_up_tokenization_spaces",
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
    *("model_input_names", "chat_template", "response_template", "response_schema"),
    *("chat_control_tokens", "processor_class", "tokenizer_class", "name_or_path", "is_local"),
    *("local_files_only", "backend", "files_loaded", "verbose", "fix_mistral_regex", "tokenizer"),
    "unk_id",
)
"""What transformers' CLIPTokenizer reads of its own config, as it does in the pipeline."""


def check_known(
    name: str, part: str, config: Part, defaults: Mapping[str, Any], key_of: str = "model"
) -> None:
    """Refuse what the installed library would obey and this sdloop does not know.

    Args:
        name: The model's, as the user gave it.
        part: The name of its folder.
        config: What its file says.
        defaults: The keys that the library reads, with their defaults.
        key_of: The key of the run's config that named the model.

    Raises:
        UserError: Names the first such key that the file sets to anything but its default.
    """
    for key, value in (config.model_extra or {}).items():
        if key in HARMLESS[part] or key not in defaults or value == defaults[key]:
            continue
        raise UserError(
            f"{key_of} = {name}: {part} has {key} = {shown(value)}, which the installed library "
            f"reads and this sdloop does not know; allowed: {shown(defaults[key])}"
        )
