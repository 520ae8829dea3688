"""`${NAME}`, `${NAME:-default}` and `${file:PATH}` inside values; `$${` stands for a literal `${`.

Owns the substitution in the parsed tree. What is put in is never looked at again, so a variable cannot smuggle in another
reference, nor YAML. An unquoted value that becomes empty or `null` is null, as it would be if it stood there; everything else
stays text, and the key it belongs to reads it as a number if it is one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.config.keys import field_at, is_secret
from gateway.config.problems import Location, Problem
from gateway.config.strict_yaml import Node

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-)(.*))?", re.DOTALL)
_LARGEST_FILE: Final = 64 << 10
_NULL: Final = frozenset({"", "~", "null"})


@dataclass(slots=True)
class Substitution:
    """One pass over a tree. `inserted` are the texts that came from outside: no message may hold them; `files` where from."""

    environ: Mapping[str, str]
    directory: Path
    problems: list[Problem] = field(default_factory=list)
    inserted: set[str] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)

    def apply(self, node: Node, location: Location = ()) -> None:
        """Substitute in place, below `node`. Values that came from the environment themselves are left as they are."""
        if isinstance(node.value, str) and "${" in node.value and not node.source:
            text = self._substitute(node.value, location)
            node.value = None if node.is_plain and text in _NULL else text
        for part, child in node.children():
            self.apply(child, (*location, part))

    def _substitute(self, text: str, location: Location) -> str:
        return _REFERENCE.sub(lambda found: self._value(found, location), text)

    def _value(self, found: "re.Match[str]", location: Location) -> str:
        inner, end = found[1], found[2]
        if inner is None:
            return "${"
        if not end or "${" in inner:
            return self._refuse(location, "has a '${' without its '}'", "references cannot be nested; write $${ for a literal ${")
        if inner.startswith("file:"):
            return self._file(inner.removeprefix("file:"), location)
        variable = _VARIABLE.fullmatch(inner)
        if variable is None:
            return self._refuse(
                location, "has a reference that cannot be read", "write ${NAME}, ${NAME:-default} or ${file:PATH}"
            )
        name, with_default, default = variable.groups()
        value = self.environ.get(name)
        if with_default and not value:
            return str(default)
        if value is None:
            return self._refuse(location, f"the environment variable {name} is not set", _how_to_set(name, location))
        self.inserted.add(value)
        return value

    def _file(self, spelled: str, location: Location) -> str:
        path = Path(self.directory, spelled)
        self.files.add(path)
        try:
            text = read_small_file(path)
        except ValueError as error:
            return self._refuse(location, f"the file {spelled} {error}", "")
        self.inserted.add(text)
        return text

    def _refuse(self, location: Location, what: str, hint: str) -> str:
        self.problems.append(Problem(location, what, hint))
        return ""


def _how_to_set(name: str, location: Location) -> str:
    if is_secret(field_at(location)):
        return f"export {name}=$(openssl rand -hex 32), or name a file with {location[-1]}_file"
    return f"set it, or write a default as ${{{name}:-...}}"


def read_small_file(path: Path) -> str:
    """The text of a secret's file without its last line ends. Raises ValueError with a reason that fits behind its name."""
    try:
        if not path.is_file():
            raise ValueError("does not exist" if not path.exists() else "is not a file")
        with path.open("rb") as opened:
            raw = opened.read(_LARGEST_FILE + 1)
        text = raw.decode()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError("is not text in UTF-8") from None
    if len(raw) > _LARGEST_FILE:
        raise ValueError(f"is larger than {_LARGEST_FILE >> 10} KiB")
    return text.rstrip("\r\n")
