"""From the parsed tree to models, with every mistake collected and said in the operator's words.

Owns the translation of pydantic's errors, and the `Draft`: what could be understood of a file, so that the judgements across keys
(`check.py`) still run when some keys are wrong. Otherwise the operator would fix one kind of mistake only to meet the next.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.keys import block_at, known_keys
from gateway.config.problems import Location, Problem, did_you_mean
from gateway.config.schema import Block, Config, IssuerConfig, RouteConfig, Upstream

BlockType = TypeVar("BlockType", bound=Block)
_Flaws = dict[Location, set[str | int]]

_SAID: Final[dict[str, str]] = {
    "missing": "is required",
    "string_type": "must be text; put it in quotes",
    "model_type": "must be a mapping of keys",
    "dict_type": "must be a mapping of names",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """What of a configuration is understood. Unusable members are None, at their place.

    `blocks` holds the usable top-level values. `explicit` are the top-level keys that were written. `flawed` are the indexes of
    routes that had mistakes: good for the names they use, not for what they match.
    """

    blocks: Mapping[str, Any]
    issuers: tuple[IssuerConfig | None, ...]
    upstreams: Mapping[str, Upstream | None]
    routes: tuple[RouteConfig | None, ...]
    flawed: frozenset[int]
    explicit: frozenset[str]
    directory: Path


def validate(data: dict[str, Any], directory: Path) -> tuple[Config | None, Draft, list[Problem]]:
    """The configuration (None when anything is wrong), what is understood of it, and the problems."""
    context = {"directory": directory}
    try:
        config = Config.model_validate(data, context=context)
    except ValidationError as error:
        problems = _without_echoes([_told(details, data) for details in error.errors(include_url=False)])
        return None, _salvage(data, problems, directory), problems
    draft = Draft(dict(config), config.issuers, config.upstreams, config.routes, frozenset(), frozenset(data), directory)
    return config, draft, []


def _without_echoes(problems: list[Problem]) -> list[Problem]:
    """A list whose members are all wrong is "empty" to pydantic too: the members' own problems say enough."""
    above = {problem.location[:depth] for problem in problems for depth in range(len(problem.location))}
    return [problem for problem in problems if problem.location not in above]


def _told(error: ErrorDetails, data: Any) -> Problem:
    location: Location = tuple(part for part in error["loc"] if part != "[key]")
    location = _within(data, location, error["type"] == "missing")
    if error["type"] == "extra_forbidden":
        return Problem(location, "unknown key", _where_else(location), at_key=True)
    if error["type"] == "literal_error":
        expected = str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
        return Problem(location, f"must be one of {expected}", did_you_mean(error["input"], expected.split(", ")))
    if error["type"] == "value_error":
        return Problem(location, str(error["ctx"]["error"]), at_key="[key]" in error["loc"])
    return Problem(location, _SAID.get(error["type"], error["msg"]))


def _within(data: Any, location: Location, is_missing: bool) -> Location:
    """Without what the value does not have: the single member of `listen: 127.0.0.1:80` is `listen`, not `listen.0`."""
    for depth, part in enumerate(location):
        if not isinstance(data, dict | list):
            return location[:depth]
        try:
            data = data[part]  # type: ignore[index]
        except (LookupError, TypeError):
            return location[: depth + 1] if is_missing else location
    return location


def _where_else(location: Location) -> str:
    """A guess for an unknown key: a similar one here, or the block where it belongs."""
    name = str(location[-1])
    block = block_at(location[:-1])
    guess = did_you_mean(name, known_keys(block)) if block else ""
    homes = [top for top in Config.model_fields if (inner := block_at((top,))) and name in inner.model_fields]
    return guess or (f"it belongs under '{homes[0]}'" if homes else "")


def _salvage(data: dict[str, Any], problems: list[Problem], directory: Path) -> Draft:
    """Each part for itself, without the keys that are wrong."""
    flaws = _members_by_parent(problem.location for problem in problems)
    blocks = {name: _block(name, data, flaws, directory) for name in Config.model_fields}
    issuers, upstreams, routes = data.get("issuers"), data.get("upstreams"), data.get("routes")
    listed_issuers = issuers if isinstance(issuers, list) else []
    listed_routes = routes if isinstance(routes, list) else []
    named = upstreams if isinstance(upstreams, dict) else {}
    return Draft(
        blocks=blocks,
        issuers=tuple(_part(IssuerConfig, raw, ("issuers", n), flaws, directory) for n, raw in enumerate(listed_issuers)),
        upstreams={name: _part(Upstream, raw, ("upstreams", name), flaws, directory) for name, raw in named.items()},
        routes=tuple(_part(RouteConfig, raw, ("routes", n), flaws, directory) for n, raw in enumerate(listed_routes)),
        flawed=frozenset(int(number) for number in flaws.get(("routes",), ())),
        explicit=frozenset(data),
        directory=directory,
    )


def _members_by_parent(locations: Iterable[Location]) -> _Flaws:
    """What is wrong below each location: a file may have thousands of mistakes, and each part asks for its own."""
    found: _Flaws = {}
    for location in locations:
        for depth, member in enumerate(location):
            found.setdefault(location[:depth], set()).add(member)
    return found


def _block(name: str, data: dict[str, Any], flaws: _Flaws, directory: Path) -> Any:
    """A top-level value: a block without its wrong keys, or the value of `listen` and the like when it is right."""
    block = block_at((name,))
    if block is not None and isinstance(data.get(name, {}), dict):
        return _part(block, data.get(name, {}), (name,), flaws, directory)
    if name not in data or name in flaws.get((), ()):
        return None
    alone = {"admin": {"token": "-" * 32}, name: data[name]}
    try:
        return getattr(Config.model_validate(alone, context={"directory": directory}), name)
    except ValidationError:
        return None


def _part(block: type[BlockType], raw: Any, location: Location, flaws: _Flaws, directory: Path) -> BlockType | None:
    if not isinstance(raw, dict):
        return None
    wrong = flaws.get(location, set())
    try:
        kept = {key: value for key, value in raw.items() if key not in wrong}
        return block.model_validate(kept, context={"directory": directory})
    except ValidationError:
        return None
