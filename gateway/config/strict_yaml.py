"""YAML read strictly into a tree whose nodes know their line.

Owns the syntax: YAML 1.2 core scalars (`no` is a word, `010` is ten, `12:30:00` is text, `0o10` is eight), no duplicate keys,
no tags but the plain ones, no merge keys, bounded depth and size (an alias counts as often as it is used, so a "billion laughs"
ends early). It knows nothing of which keys exist.

PyYAML does the scanning; its own scalar rules are YAML 1.1 and take duplicate keys silently, so only its composer is used.
Its messages quote the text they stumbled over, which may be a secret, and speak of tokens and streams: ours replace them.
"""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from gateway.config.problems import Location, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

Scalar = str | int | float | bool | None

_DEEPEST: Final = 32
_MOST_NODES: Final = 50_000
LARGEST_FILE: Final = 1 << 20

_PLAIN: Final = "plain"
_STRING: Final = "tag:yaml.org,2002:str"
_SEQUENCE: Final = "tag:yaml.org,2002:seq"
_MAPPING: Final = "tag:yaml.org,2002:map"

_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DECIMAL: Final = re.compile(r"[-+]?[0-9]{1,18}")
_OTHER_BASE: Final = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")

_SENTENCES: Final = (
    ("nested deeper", f"nested deeper than {_DEEPEST} levels"),
    (
        "mapping values are not allowed",
        'a second ": " in one line, or a line that is indented too far; quote a value that holds ": "',
    ),
    ("expected <block end>", "this line is not indented like the ones above it"),
    ("expected ':'", 'this line has no ": "'),
    ("end of stream", "a quotation mark above is not closed"),
    ("document separator", "a quotation mark above is not closed"),
    ("another document", "a second document begins here; one file is one document"),
    ("unknown escape", "this escape is unknown; write a single-quoted text, which has none"),
    ("escape sequence", "this escape has too few hexadecimal digits"),
    ("alias", "this alias has no anchor; a value that begins with '*' must be in quotes"),
    ("anchor", "this is no anchor, or a second one of its name; a value that begins with '&' must be in quotes"),
    ("alphabetic or numeric", "a value that begins with '*', '&' or '!' must be in quotes"),
    ("tag", "tags are not accepted; a value that begins with '!' must be in quotes"),
    ("chomping", "after | or > the text begins in the next line"),
    ("cannot start any token", "nothing begins with this character; a value that does must be in quotes"),
)


@dataclass(slots=True)
class Node:
    """A value with its place. `value` is a scalar, a list of nodes or a mapping of nodes.

    `keys` holds the places of a mapping's keys; `source` is set when the value did not come from the file (`$GATEWAY_LISTEN`).
    `is_plain` tells `x: ${A}` from `x: "${A}"`.
    """

    value: "Scalar | list[Node] | dict[str, Node]"
    line: int
    column: int
    is_plain: bool = False
    source: str = ""
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)

    def children(self) -> "Iterator[tuple[str | int, Node]]":
        if isinstance(self.value, dict):
            yield from self.value.items()
        elif isinstance(self.value, list):
            yield from enumerate(self.value)

    def child(self, part: str | int) -> "Node | None":
        """The one at this key or place. Asked for each mistake of a file, which may have thousands."""
        if isinstance(self.value, dict):
            return self.value.get(part) if isinstance(part, str) else None
        if isinstance(self.value, list) and isinstance(part, int) and 0 <= part < len(self.value):
            return self.value[part]
        return None


def data_of(node: Node) -> Any:
    """The bare values, as pydantic wants them."""
    if isinstance(node.value, dict):
        return {key: data_of(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [data_of(child) for child in node.value]
    return node.value


def find(node: Node, location: Location) -> tuple[Node, int]:
    """The node at the location, or the nearest above it that exists, and how many parts of the location led there."""
    for depth, part in enumerate(location):
        child = node.child(part)
        if child is None:
            return node, depth
        node = child
    return node, len(location)


def parse(text: str) -> tuple[Node | None, list[Problem], tuple[int, int]]:
    """Read one document: its tree (None when the syntax is broken), its problems, and where broken syntax is."""
    if len(text) > LARGEST_FILE:
        return None, [Problem((), f"is larger than {LARGEST_FILE >> 20} MiB")], (1, 1)
    try:
        root = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return None, [_syntax_problem(error, text, place[0])], place
    except yaml.YAMLError:
        return None, [Problem((), "is not text without control characters")], (1, 1)
    builder = _Builder()
    tree = builder.build(root, (), 0) if root is not None else Node({}, 1, 1)
    return tree, builder.problems, (tree.line, tree.column)


def plain_scalar(text: str) -> Scalar:
    """What an unquoted word means in YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


class _Composer(yaml.SafeLoader):
    """PyYAML's composer with a bound on depth, and tags that only tell plain from quoted."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _STRING
        return _SEQUENCE if kind is yaml.SequenceNode else _MAPPING

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        if self._depth >= _DEEPEST:
            raise yaml.MarkedYAMLError(None, None, f"nested deeper than {_DEEPEST} levels", self.get_mark())
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, line: int) -> Problem:
    """A sentence of ours for what PyYAML stumbled over: its own would quote the text."""
    lines = text.splitlines()
    here = lines[line - 1] if line <= len(lines) else ""
    said, context = error.problem or "", error.context or ""
    if "\\t" in said:
        what = "a tab indents this line; write spaces" if here.lstrip(" ").startswith("\t") else "a tab stands here; write spaces"
    elif "flow" in context:
        what = _wrong_in_brackets(said, here)
    else:
        what = next((sentence for piece, sentence in _SENTENCES if piece in said), "this line cannot be read")
    return Problem((), f"not YAML: {what}")


def _wrong_in_brackets(said: str, here: str) -> str:
    if "${" in here:
        return '${…} inside { } or [ ]; write "${NAME}" in quotes'
    if "<stream end>" in said:
        return "a { or [ above is not closed"
    return "a comma or the closing bracket is missing before this"


class _Builder:
    """Nodes from PyYAML's nodes; collects what is wrong instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._count = 0

    def build(self, source: yaml.Node, location: Location, depth: int) -> Node:
        mark = source.start_mark
        node = Node(None, mark.line + 1, mark.column + 1)
        self._count += 1
        if self._count > _MOST_NODES or depth > _DEEPEST:
            if not any(problem.what.startswith("grows") for problem in self.problems):
                self.problems.append(
                    Problem((), f"grows to more than {_MOST_NODES} values or {_DEEPEST} levels; its aliases multiply")
                )
            return node
        if isinstance(source, yaml.ScalarNode):
            self._scalar(source, node, location)
        elif isinstance(source, yaml.SequenceNode):
            self._refuse_tag(source, _SEQUENCE, location)
            node.value = [self.build(child, (*location, index), depth + 1) for index, child in enumerate(source.value)]
        elif isinstance(source, yaml.MappingNode):
            self._refuse_tag(source, _MAPPING, location)
            self._mapping(source, node, location, depth)
        return node

    def _scalar(self, source: yaml.ScalarNode, node: Node, location: Location) -> None:
        node.is_plain = source.tag == _PLAIN
        if not node.is_plain:
            self._refuse_tag(source, _STRING, location)
        node.value = plain_scalar(source.value) if node.is_plain else source.value

    def _mapping(self, source: yaml.MappingNode, node: Node, location: Location, depth: int) -> None:
        children: dict[str, Node] = {}
        node.value = children
        for key_node, value_node in source.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key == "<<":
                what = "merge keys are not part of YAML 1.2; write the keys out" if key else "a key must be a word"
                self.problems.append(Problem((*location, key or "?"), what))
                continue
            if key in children:
                what = f"duplicate key; the first is in line {node.keys[key][0]}"
                self.problems.append(Problem((*location, key), what, at_key=True))
                node.keys[key] = place
                continue
            node.keys[key] = place
            children[key] = self.build(value_node, (*location, key), depth + 1)

    def _refuse_tag(self, source: yaml.Node, expected: str, location: Location) -> None:
        if source.tag != expected:
            self.problems.append(Problem(location, "tags are not accepted", "a value that begins with '!' must be in quotes"))
