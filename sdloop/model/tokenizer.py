"""A model's tokenizer, from the files of its folder alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdloop.machine.errors import UserError, reason_of

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import CLIPTokenizer

    from sdloop.model.source import ModelSource

TOKENIZER_FILES = {
    "vocab_file": "vocab.json",
    "merges_file": "merges.txt",
    "tokenizer_file": "tokenizer.json",
}


def load_tokenizer(source: ModelSource) -> CLIPTokenizer:
    """Load a model's tokenizer; its words must all be in the text encoder's table.

    Args:
        source: The model.

    Returns:
        The tokenizer, as transformers makes it of the files in the folder.

    Raises:
        UserError: A file is damaged, or the tokenizer is of another text encoder.
    """
    from sdloop.model.libraries import CLIPTokenizer

    try:
        folder = source.folder / "tokenizer"
        # said here, so that a config cannot lead elsewhere
        files = {key: _path_in(folder, name) for key, name in TOKENIZER_FILES.items()}
        tokenizer = CLIPTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **files
        )
        largest = max(tokenizer.get_vocab().values())
    except Exception as error:  # damaged files raise whatever their parsers do
        raise UserError(f"model = {source.name}: tokenizer: {reason_of(error)}") from None
    if largest >= source.text.vocab_size:
        raise UserError(
            f"model = {source.name}: tokenizer numbers its tokens up to {largest}; the text "
            f"encoder knows {source.text.vocab_size}"
        )
    return tokenizer


def _path_in(folder: Path, name: str) -> str | None:
    """Return a file's path, if it is there."""
    return str(folder / name) if (folder / name).is_file() else None
