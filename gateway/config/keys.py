"""What the schema says about a key: which block it belongs to, whether it is a secret, which names are known there.

Owns the walk from a location (`routes`, 0, `path`) through the models of `schema.py`. Used for overrides, `NAME_file`,
"did you mean" and the documentation, so that each of them follows the schema by itself.
"""

import types
from collections.abc import Iterator
from typing import Any, Final, get_args, get_origin

from pydantic.fields import FieldInfo

from gateway.config.problems import Location
from gateway.config.schema import Block, Config

FILE_SUFFIX: Final = "_file"


def block_at(location: Location) -> type[Block] | None:
    """The model of the mapping at the location; None when no block is there (a scalar, a list, a name of `upstreams`)."""
    kind: Any = Config
    for part in location:
        if isinstance(kind, type) and issubclass(kind, Block):
            declared = kind.model_fields.get(str(part))
            kind = _bare(declared.annotation) if declared else None
        elif get_origin(kind) in (tuple, dict):
            kind = _bare(_member(kind))
        else:
            return None
    return kind if isinstance(kind, type) and issubclass(kind, Block) else None


def field_at(location: Location) -> FieldInfo | None:
    """The declaration of the key at the location."""
    block = block_at(location[:-1]) if location else None
    return block.model_fields.get(str(location[-1])) if block else None


def is_secret(declared: FieldInfo | None) -> bool:
    extra = declared.json_schema_extra if declared else None
    return isinstance(extra, dict) and bool(extra.get("x-secret"))


def is_list(declared: FieldInfo) -> bool:
    return get_origin(_bare(declared.annotation)) is tuple


def known_keys(block: type[Block]) -> list[str]:
    """Every key a mapping of this block may have, the `NAME_file` twins of its secrets included."""
    twins = [name + FILE_SUFFIX for name, declared in block.model_fields.items() if is_secret(declared)]
    return [*block.model_fields, *twins]


def every_key(block: type[Block] = Config, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """All keys with their declarations, depth first. Members of a list or of names stand as `*`."""
    for name, declared in block.model_fields.items():
        path = (*above, name)
        yield path, declared
        inner = _bare(declared.annotation)
        if get_origin(inner) in (tuple, dict):
            inner, path = _bare(_member(inner)), (*path, "*")
        if isinstance(inner, type) and issubclass(inner, Block):
            yield from every_key(inner, path)


def _bare(annotation: Any) -> Any:
    """Without `| None` and `Annotated`."""
    if get_origin(annotation) is types.UnionType or str(get_origin(annotation)) == "typing.Union":
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _bare(members[0]) if len(members) == 1 else annotation
    return _bare(get_args(annotation)[0]) if hasattr(annotation, "__metadata__") else annotation


def _member(container: Any) -> Any:
    return get_args(container)[1] if get_origin(container) is dict else get_args(container)[0]
