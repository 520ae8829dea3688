"""Keys set by the environment: `GATEWAY_STORE__URL`, and with list indexes `GATEWAY_ROUTES__0__PATH`.

Owns the reading of variable names. A variable wins over the file, and its value is taken as it stands: text, or a list or
mapping written in YAML's `[...]` or `{...}`. Variables without `__` that are not top-level keys are none of our business
(orchestrators set `GATEWAY_PORT` and the like, and `${GATEWAY_ADMIN_TOKEN}` is one); one with `__` is meant for us, so an
unknown one is a mistake.
"""

from collections.abc import Mapping
from typing import Final

from gateway.config.keys import FILE_SUFFIX, block_at, is_secret, known_keys
from gateway.config.problems import Location, Problem, did_you_mean
from gateway.config.schema import Config
from gateway.config.strict_yaml import Node, parse

_PREFIX: Final = "GATEWAY_"
_SEPARATOR: Final = "__"


def apply_overrides(tree: Node, environ: Mapping[str, str]) -> list[Problem]:
    """Put the environment's values into the tree; parents before children. Returns what could not be placed."""
    problems: list[Problem] = []
    for name in sorted(environ, key=lambda name: (name.count(_SEPARATOR), name)):
        parts = name.removeprefix(_PREFIX).lower().split(_SEPARATOR)
        if name.startswith(_PREFIX) and (len(parts) > 1 or parts[0] in Config.model_fields):
            problems += _place(tree, name, parts, environ[name])
    return problems


def _place(tree: Node, name: str, parts: list[str], text: str) -> list[Problem]:
    value, problems = _read(text, f"${name}")
    here: Node = tree
    location: Location = ()
    for index, part in enumerate(parts):
        key, what = _key(here, location, part)
        if what:
            return [Problem((), what, source=f"${name}")]
        location = (*location, key)
        is_last = index == len(parts) - 1
        below = value if is_last else _child(here, key, f"${name}", parts[index + 1].isdigit())
        _set(here, location[:-1], key, below)
        here = below
    return [Problem(location, problem.what, problem.hint) for problem in problems]


def _key(here: Node, location: Location, part: str) -> tuple[str | int, str]:
    """The key that a part of the variable's name means here, or what is wrong with it."""
    if isinstance(here.value, list):
        if part.isdigit() and int(part) <= len(here.value):
            return int(part), ""
        return part, f"'{part}' is no index of {'.'.join(map(str, location))}, which has {len(here.value)}"
    block = block_at(location)
    if block is not None:
        if part in known_keys(block):
            return part, ""
        guess = did_you_mean(part, known_keys(block))
        return part, f"there is no key '{part}'" + (f"; {guess}" if guess else "")
    existing = here.value if isinstance(here.value, dict) else {}
    return next((key for key in existing if key.lower().replace("-", "_") == part), part), ""


def _child(here: Node, key: str | int, source: str, wants_list: bool) -> Node:
    """The container below, made when there is none of the right kind."""
    existing = dict(here.children()).get(key)
    if existing is not None and isinstance(existing.value, list | dict):
        return existing
    return Node([] if wants_list else {}, here.line, here.column, source=source)


def _set(here: Node, location: Location, key: str | int, child: Node) -> None:
    if isinstance(here.value, list) and isinstance(key, int):
        here.value[key:] = [child, *here.value[key + 1 :]]
    elif isinstance(here.value, dict) and isinstance(key, str):
        _forget_twin(here.value, location, key)
        here.value[key] = child


def _forget_twin(mapping: dict[str, Node], location: Location, key: str) -> None:
    """`token_file` from the environment replaces the file's `token`, and the other way round."""
    block = block_at(location)
    secret = key.removesuffix(FILE_SUFFIX)
    if block is not None and is_secret(block.model_fields.get(secret)):
        mapping.pop(secret if key != secret else secret + FILE_SUFFIX, None)


def _read(text: str, source: str) -> tuple[Node, list[Problem]]:
    if text[:1] + text[-1:] not in {"[]", "{}"}:
        return Node(None if text == "null" else text, 1, 1, source=source), []
    node, problems, _ = parse(text)
    node = node or Node(None, 1, 1)
    _mark(node, source)
    return node, problems


def _mark(node: Node, source: str) -> None:
    node.source = source
    for _, child in node.children():
        _mark(child, source)
