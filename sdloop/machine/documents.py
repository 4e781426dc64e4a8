"""YAML and JSON from strangers -> plain values, within limits, or a one-line UserError.

Plain values are mappings with string keys, lists, strings, numbers, booleans and null. Only regular
files of a limited size are read, and nothing that expands to more than is written (YAML's aliases).
"""

import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

from sdloop.machine.errors import UserError, reason_of, shown

LARGEST_BYTES = 1_000_000
DEEPEST = 16
MOST_YAML_NODES = 500  # a config has some 90
LONGEST_NUMBER = 400  # digits; Python's time to read a number grows with their square
# types of YAML 1.1: here the first three are strings, and numbers follow YAML 1.2 (1e1; 010 is ten)
_NOT_PLAIN = ("timestamp", "merge", "value", "int", "float")
_INT = re.compile(r"^([-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+)$")
_FLOAT = re.compile(
    r"^([-+]?(\.[0-9]+|[0-9][0-9_]*\.[0-9]*|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # JSON's way to write U+10000 and up
_QUOTABLE = "mapping values are not allowed here"  # what PyYAML says of an unquoted ": "


@contextmanager
def opened(path: Path, named: str) -> Iterator[BufferedReader]:
    """Open a regular file for reading; refuse a folder, a pipe or a device.

    Args:
        path: The file.
        named: What a message calls it.

    Yields:
        The open file, in binary mode.

    Raises:
        UserError: It is not a regular file, or cannot be opened or read.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{named}: cannot be read: not a regular file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UserError(f"{named}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise UserError(f"{named}: cannot be read: {error}") from None


def read_file(path: Path, named: str, limit_bytes: int = LARGEST_BYTES) -> bytes:
    """Read a small file whole.

    Args:
        path: The file.
        named: What a message calls it.
        limit_bytes: The largest size allowed.

    Returns:
        Its content.

    Raises:
        UserError: It cannot be read, is not a regular file, or is too large.
    """
    with opened(path, named) as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise UserError(f"{named}: is larger than {limit_bytes} bytes, the limit")
    return content


def parse_json(content: bytes | str, named: str, infinities: bool = False) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        content: The JSON text, UTF-8.
        named: What a message calls it.
        infinities: Accept NaN, Infinity and -Infinity, which are not JSON.

    Returns:
        The object.

    Raises:
        UserError: It is not JSON, not an object, holds a name twice, or is nested too deep.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        values = json.loads(
            text,
            parse_constant=float if infinities else _no_constant,
            parse_int=_integer,
            object_pairs_hook=_no_duplicates,
        )
    except (ValueError, RecursionError) as error:
        raise UserError(f"{named} is not JSON: {reason_of(error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{named} is not a JSON object")
    return values


def parse_yaml(text: str, named: str) -> Any:  # noqa: ANN401 - YAML values are of any type
    """Read one YAML value.

    Args:
        text: The YAML text.
        named: What a message calls it.

    Returns:
        The value.

    Raises:
        UserError: It is not YAML, or uses more of YAML than a config needs: tags, anchors,
            duplicate keys, keys that are not strings, deep nesting, thousands of values.
    """
    try:
        loader = _PlainLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = error.problem or error.context
        if problem == _QUOTABLE:
            problem = 'a text with ": " in it must be in quotes'
        raise UserError(f"{named} is not YAML: {problem}{place}") from None
    except (yaml.YAMLError, ValueError, ArithmeticError) as error:
        raise UserError(f"{named} is not YAML: {reason_of(error)}") from None


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Write plain values as YAML text that `parse_yaml` reads back, keys in the same order."""
    return yaml.dump(values, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=100)


def spelling_at(text: str, keys: Sequence[str]) -> str | None:
    """Find how a YAML text spells a value: "no" for False, "1e3" for 1000.

    Args:
        text: A YAML text that `parse_yaml` takes.
        keys: The path to the value through nested mappings; empty for the text's own value.

    Returns:
        The value as it is written; None if there is none, or it is a mapping or a list.
    """
    node = yaml.compose(text, _PlainLoader)
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for name, value in node.value if name.value == key), None)
    return node.value if isinstance(node, yaml.ScalarNode) else None


def _joined(pair: re.Match[str]) -> str:
    """Make one character of the two halves that UTF-16 cuts it into."""
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _no_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python reads although they are not JSON."""
    raise ValueError(f"{name} is not a JSON number")


def _integer(digits: str) -> int:
    """Read an integer; refuse one of absurd length."""
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; refuse one that holds a name twice."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"{shown(name)} occurs twice")
        values[name] = value
    return values


class _PlainLoader(yaml.SafeLoader):
    """Reads the part of YAML that a config needs and refuses the rest before building anything."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML keeps them on the class
        first: [
            (tag, pattern) for tag, pattern in resolvers if tag.split(":")[-1] not in _NOT_PLAIN
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        """Start at the beginning of the text."""
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401
        """Check the next event before anything is built from it."""
        event: Any = self.peek_event()
        self._nodes += 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _refusal("anchors (&) and aliases (*) are not allowed", event)
        if event.tag is not None:
            raise _refusal("tags (!) are not allowed", event)
        if self._depth >= DEEPEST:
            raise _refusal(f"nested deeper than {DEEPEST} levels", event)
        if self._nodes > MOST_YAML_NODES:
            raise _refusal(f"more than {MOST_YAML_NODES} values", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:  # noqa: ANN401 - as PyYAML's
        """Read a scalar: refuse a number of absurd length, join JSON's surrogate pairs."""
        if len(node.value) > LONGEST_NUMBER and not node.tag.endswith(":str"):
            raise _refusal(f"a number of {len(node.value)} digits", node)
        value = super().construct_scalar(node)
        return _PAIR.sub(_joined, value) if isinstance(value, str) else value

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Read an integer; unlike in YAML 1.1, a leading zero does not make it octal."""
        digits = self.construct_scalar(node).replace("_", "")
        return int(digits, {"0x": 16, "0o": 8}.get(digits[:2], 10))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping; refuse keys that are not printable strings, or occur twice."""
        keys: set[str] = set()
        for key, _ in node.value:
            if not key.tag.endswith(":str") or not key.value.isprintable():
                raise _refusal("a key must be a printable text", key)
            if key.value in keys:
                raise _refusal(f"the key {shown(key.value)} occurs twice", key)
            keys.add(key.value)
        return super().construct_mapping(node, deep)


class _PlainDumper(yaml.SafeDumper):
    """Writes what `_PlainLoader` reads back; quotes strings that look like numbers to any YAML."""


for _kind in (_PlainLoader, _PlainDumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


def _refusal(problem: str, place: Any) -> yaml.MarkedYAMLError:  # noqa: ANN401 - event or node
    """Make the error that says what is refused, and where."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
