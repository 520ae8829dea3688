"""From a file and an environment to a `Config`, or to all that is wrong with them.

    text -> tree (strict_yaml) -> environment (overrides) -> ${...} (interpolation) -> NAME_file (secret_files)
         -> models (validation) -> judgements across keys (check) -> Loaded, or ConfigurationError

Owns the order and the printed lines. Each step collects its problems and leaves the tree usable for the next, so that one run
tells everything; a key that already has a problem gets no second one.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.check import judge
from gateway.config.interpolation import Substitution
from gateway.config.keys import every_key, is_secret
from gateway.config.overrides import apply_overrides
from gateway.config.problems import Location, Problem, blot_out
from gateway.config.schema import Admin, Config
from gateway.config.secret_files import read_secret_files
from gateway.config.strict_yaml import LARGEST_FILE, Node, data_of, find, parse
from gateway.config.validation import Draft, validate
from gateway.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used. `directory` is the file's folder; `warnings` are printable lines.

    `files` are those whose text is a part of it, beside `path`.
    """

    config: Config
    warnings: tuple[str, ...]
    path: Path
    directory: Path
    text: str = field(repr=False)  # of the file, as it was read; it may hold secrets
    files: frozenset[Path] = frozenset()


def load(path: str | Path, environ: Mapping[str, str] = os.environ, *, text: str | None = None) -> Loaded:
    """Read and judge a configuration. Raises ConfigurationError with every mistake as `file:line:column: path: what; hint`.

    With `text` the file is not read again: what somebody else read from `path` is judged.
    """
    found = _understand(path, environ, text)
    if found.config is None or found.problems:
        raise _mistakes(path, found)
    warnings = tuple(_lines(path, found.tree, found.warnings, found.secrets))
    return Loaded(found.config, warnings, Path(path), found.directory, found.text, frozenset(found.files))


def load_admin(path: str | Path, environ: Mapping[str, str] = os.environ) -> tuple[Admin, bool]:
    """The block `admin`, and whether all else can be used too: the way to a gateway that runs must outlast a mistake elsewhere.

    Raises ConfigurationError with every mistake when that block has one, or nothing can be read.
    """
    found = _understand(path, environ, None)
    admin: Admin | None = found.draft.blocks.get("admin") if found.draft is not None else None
    if admin is None or any(problem.location[:1] == ("admin",) for problem in found.problems):
        raise _mistakes(path, found)
    return admin, found.config is not None and not found.problems


@dataclass(frozen=True, slots=True)
class _Understood:
    """What the steps came to, mistakes and all."""

    tree: Node
    problems: list[Problem]
    warnings: list[Problem]
    config: Config | None
    draft: Draft | None
    secrets: set[str]
    files: set[Path]
    directory: Path
    text: str


def _understand(path: str | Path, environ: Mapping[str, str], text: str | None) -> _Understood:
    text = _read(path) if text is None else text
    tree, problems, (line, column) = parse(text)
    if tree is None:
        raise ConfigurationError([f"{path}:{line}:{column}: {problem}" for problem in problems])
    directory = Path(path).absolute().parent
    problems += apply_overrides(tree, environ)
    substitution = Substitution(environ, directory)
    substitution.apply(tree)
    problems += substitution.problems
    problems += read_secret_files(tree, directory, substitution.files)
    config, draft, warnings = _judge(tree, problems, directory)
    secrets = substitution.inserted | set(_secrets(tree))
    return _Understood(tree, problems, warnings, config, draft, secrets, substitution.files, directory, text)


def _mistakes(path: str | Path, found: _Understood) -> ConfigurationError:
    warnings = _lines(path, found.tree, found.warnings, found.secrets)
    return ConfigurationError(_lines(path, found.tree, found.problems, found.secrets), warnings)


def place_of(loaded: Loaded, location: Location) -> str:
    """`file:line:column: path` of a key, for a complaint about what it became in the end."""
    tree, _, _ = parse(loaded.text)
    assert tree is not None
    return _lines(loaded.path, tree, [Problem(location, "")], set())[0]


def _judge(tree: Node, problems: list[Problem], directory: Path) -> tuple[Config | None, Draft | None, list[Problem]]:
    """Models and judgements; adds to `problems` what concerns keys that have none yet."""
    data = data_of(tree)
    if not isinstance(data, dict):
        problems.append(Problem((), "must be a mapping of keys"))
        return None, None, []
    config, draft, mistakes = validate(data, directory)
    errors, warnings = judge(draft)
    spoiled = {problem.location for problem in problems if not problem.at_key}
    problems += [mistake for mistake in mistakes if not _is_below(mistake.location, spoiled)]
    spoiled |= {mistake.location for mistake in mistakes if not mistake.at_key}
    problems += [error for error in errors if not _is_below(error.location, spoiled)]
    return config, draft, warnings


def _is_below(location: Location, spoiled: set[Location]) -> bool:
    return any(location[:depth] in spoiled for depth in range(1, len(location) + 1))


def _read(path: str | Path) -> str:
    try:
        with Path(path).open("rb") as opened:
            return opened.read(LARGEST_FILE + 1).decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError([f"{path}: does not exist; name another with -c FILE or $GATEWAY_CONFIG"]) from None
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read ({error.strerror})"]) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: is not text in UTF-8 (byte {error.start})"]) from None


def _secrets(tree: Node) -> Iterator[str]:
    """Whatever stands at a secret key, well-formed or not."""
    names = {path[-1] for path, declared in every_key() if is_secret(declared)}
    pending: list[tuple[Node, bool]] = [(tree, False)]
    while pending:
        node, hidden = pending.pop()
        if hidden and isinstance(node.value, str):
            yield node.value
        pending += [(child, hidden or part in names) for part, child in node.children()]


def _lines(path: str | Path, tree: Node, problems: Iterable[Problem], secrets: set[str]) -> list[str]:
    """Sorted by place; what came from the environment is named by its variable."""
    lines: list[tuple[bool, int, int, str]] = []
    for problem in dict.fromkeys(problems):
        source, line, column = _place(tree, problem)
        place = source or f"{path}:{line}:{column}"
        said = blot_out(f"{problem.what}; {problem.hint}" if problem.hint else problem.what, secrets)
        lines.append((bool(source), line, column, ": ".join(part for part in (place, problem.path, said) if part)))
    return [text for *_, text in sorted(lines)]


def _place(tree: Node, problem: Problem) -> tuple[str, int, int]:
    """Source, line and column: the value itself, or its key where the value is a block, is missing, or is not the point."""
    if problem.source:
        return problem.source, 0, 0
    node, depth = find(tree, problem.location)
    above, levels = find(tree, problem.location[:-1])
    if problem.at_key and levels == len(problem.location) - 1 and problem.location[-1] in above.keys and not node.source:
        return "", *above.keys[str(problem.location[-1])]
    if node.source:
        return node.source, 0, 0
    if depth and isinstance(node.value, dict | list):
        parent, _ = find(tree, problem.location[: depth - 1])
        line, column = parent.keys.get(str(problem.location[depth - 1]), (node.line, node.column))
        return "", line, column
    return "", node.line, node.column
