"""Every secret also from a file: `token_file: /run/secrets/token` instead of `token`.

Owns that substitution in the parsed tree. Where the key takes a list, each line of the file is one secret, and several files
may be listed. Relative paths are resolved against the configuration's folder. The node of the secret keeps the place of the
`NAME_file` key, so that a message points there.
"""

from pathlib import Path

from gateway.config.interpolation import read_small_file
from gateway.config.keys import FILE_SUFFIX, block_at, is_list, is_secret
from gateway.config.problems import Location, Problem
from gateway.config.strict_yaml import Node


def read_secret_files(node: Node, directory: Path, files: set[Path], location: Location = ()) -> list[Problem]:
    """Replace each `NAME_file` by `NAME`, in place. Returns what could not be read; adds to `files` what was asked for."""
    problems: list[Problem] = []
    block = block_at(location)
    if block is not None and isinstance(node.value, dict):
        for name, declared in block.model_fields.items():
            if is_secret(declared) and name + FILE_SUFFIX in node.value:
                problems += _read(node, location, name, is_list(declared), directory, files)
    for part, child in node.children():
        problems += read_secret_files(child, directory, files, (*location, part))
    return problems


def _read(node: Node, location: Location, name: str, is_many: bool, directory: Path, files: set[Path]) -> list[Problem]:
    assert isinstance(node.value, dict)
    twin = name + FILE_SUFFIX
    given = node.value.pop(twin)
    if name in node.value and node.value[name].value is not None:
        return [Problem((*location, twin), f"is given beside '{name}'", "keep one of the two", at_key=True)]
    place = node.keys.pop(twin, (given.line, given.column))
    listed = [child for _, child in given.children()] if isinstance(given.value, list) else [given]
    secrets: list[Node] = []
    problems: list[Problem] = []
    for entry in listed:
        try:
            path = Path(directory, entry.value) if isinstance(entry.value, str) and entry.value else None
            files |= {path} if path is not None else set()
            text = read_small_file(path) if path is not None else None
        except ValueError as error:
            problems.append(Problem((*location, name), f"the file it names {error}"))
            continue
        if text is None:
            problems.append(Problem((*location, name), "must be the path of a file"))
            continue
        lines = text.splitlines() if is_many else [text]
        secrets += [Node(line, entry.line, entry.column, source=entry.source) for line in lines]
    node.keys[name] = place
    value = secrets if is_many else secrets[0].value if secrets else None
    node.value[name] = Node(value, given.line, given.column, source=given.source)
    return problems
