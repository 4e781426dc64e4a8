"""Writes what is done about each key of a model's configs into the models' README.

python scripts/model_keys.py
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdloop.model.config_files import Part, TextConfig, TokenizerConfig, UNetConfig, VaeConfig
from sdloop.model.config_keys import HARMLESS, OWN_OF_TOKENIZER
from sdloop.model.tiny_source import TinyConfig

README = Path(__file__).parents[1] / "sdloop/model/README.md"
MARKS = "<!-- keys -->", "<!-- end of keys -->"
FILES: Mapping[str, type[Part]] = {
    "unet": UNetConfig,
    "vae": VaeConfig,
    "text_encoder": TextConfig,
    "tokenizer": TokenizerConfig,
    "tiny_vae": TinyConfig,
}


def key_table() -> str:
    """Write down every key that is obeyed, refused or harmless, as a Markdown table."""
    lines = ["| in | key | allowed values; any other is refused by name |", "|---|---|---|"]
    for part, kind in FILES.items():
        schema = kind.model_json_schema()
        allowed = {key: _whole(values) for key, values in schema["properties"].items()}
        own = dict.fromkeys(OWN_OF_TOKENIZER, "any: transformers' CLIPTokenizer obeys it itself")
        obeyed = allowed | (own if part == "tokenizer" else {})
        for treatment, keys in _alike(obeyed, HARMLESS[part]).items():
            lines.append(f"| {part} | {', '.join(f'`{key}`' for key in keys)} | {treatment} |")
    return "\n".join(lines)


def _alike(obeyed: Mapping[str, str], harmless: Mapping[str, str]) -> dict[str, list[str]]:
    """Put keys together that are treated alike; those that have no effect come last."""
    grouped: dict[str, list[str]] = {}
    for key, treatment in obeyed.items():
        grouped.setdefault(treatment, []).append(key)
    for key, why in harmless.items():
        grouped.setdefault(f"no effect: {why}", []).append(key)
    return grouped


def _whole(schema: Mapping[str, Any]) -> str:
    """Write what a key may hold in words."""
    words = _allowed(schema)
    return f"only {words}" if words == "null" else words


def _allowed(schema: Mapping[str, Any]) -> str:
    """Write a JSON schema in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(each) for each in schema["anyOf"])
    if "const" in schema:
        return f"only {json.dumps(schema['const'])}"
    if "enum" in schema:
        return ", ".join(map(json.dumps, schema["enum"]))
    if schema.get("type") == "array":
        return _list(schema)
    if schema.get("type") in ("integer", "number"):
        return _range(schema)
    names = {"boolean": "true, false", "null": "null", "string": "a text"}
    return names[schema["type"]]


def _list(schema: Mapping[str, Any]) -> str:
    """Write the schema of a list in words."""
    if schema.get("maxItems") == 0:
        return "only []"
    items = schema.get("items") or schema["prefixItems"][0]
    least, most = schema["minItems"], schema["maxItems"]
    count = str(most) if least == most else f"{least} to {most}"
    return f"a list of {count}: {_allowed(items)}"


def _range(schema: Mapping[str, Any]) -> str:
    """Write the schema of a number in words."""
    kind = "whole numbers" if schema["type"] == "integer" else "numbers"
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if high is None:
        high = below
    begin = f"from {low}" if low is not None else f"above {above}"
    return f"{kind} {begin} to {high}"


def main() -> None:
    """Replace what stands between the marks."""
    begin, end = MARKS
    block = f"{begin}\n\n{key_table()}\n\n{end}"
    text = README.read_text(encoding="utf-8")
    pattern = re.escape(begin) + ".*" + re.escape(end)
    README.write_text(re.sub(pattern, lambda _: block, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
