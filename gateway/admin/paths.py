"""Which endpoint a path names. A table of templates in, a template and the names out; pure.

    /v1/users/{user}/groups     matches as many segments as it has, each as it is written or any name

The paths are few and exact: `//metrics`, `/v1/../metrics`, `/metrics/` and an escaped letter in a fixed part are nothing. Of two
templates that match, the one with fewer names wins (`/v1/keys/rotate` before `/v1/keys/{kid}`).
"""

from collections.abc import Iterable


class Paths:
    """The templates, by their number of segments."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._templates: dict[int, list[tuple[str, tuple[str, ...]]]] = {}
        for template in sorted(templates, key=lambda text: text.count("{")):
            parts = tuple(template.split("/"))
            self._templates.setdefault(len(parts), []).append((template, parts))

    def find(self, path: str) -> tuple[str, tuple[str, ...]] | None:
        """The template and, in order, the segments that stand for its names, as they are written. None: nothing is there."""
        segments = path.split("/")
        for template, parts in self._templates.get(len(segments), ()):
            if all((segment and is_name(part)) or segment == part for part, segment in zip(parts, segments, strict=True)):
                return template, tuple(segment for part, segment in zip(parts, segments, strict=True) if is_name(part))
        return None


def is_name(part: str) -> bool:
    """Whether a part of a template stands for a name."""
    return part.startswith("{")
