"""Writes what is generated and committed: the JSON Schema, and the reference of the configuration.

    python -m docs.generate

Owns the layout of `docs/reference/configuration.md`; its words are the descriptions in `gateway/config/schema.py`. A test
compares the committed files with what this would write.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.config import json_schema

ROOT: Final = Path(__file__).resolve().parent.parent

_INTRODUCTION: Final = """\
# Configuration

*Generated from `gateway/config/schema.py` by `make schema`; the commented example is
[`config/gateway.yaml`](../../config/gateway.yaml).*

One YAML file: `-c FILE`, else `$GATEWAY_CONFIG`, else `config/gateway.yaml`. `gateway check` lists every mistake at once, as
`file:line:column: path: what; hint`.

- **Syntax.** YAML 1.2, read strictly: `no` is a word (write `false`), `010` is ten, `12:30:00` is text. Unknown and duplicate
  keys, tags and merge keys (`<<`) are errors; what aliases multiply is bounded.
- **Interpolation** anywhere in a value: `${NAME}`, `${NAME:-default}` (also when `NAME` is empty), `${file:/path}`; `$${` is
  a literal `${`. What is put in is not interpreted again. Inside `{ }` and `[ ]` write `"${NAME}"` in quotes. An unset
  variable without a default is an error.
- **Environment.** Any key by its path in capitals: `GATEWAY_STORE__URL=redis://db`, `GATEWAY_ROUTES__0__PATH=/`, an index one
  past the end appends. It wins over the file. Lists and mappings are written `[a, b]`, `{a: b}`; `null` is null; in a name of
  `upstreams`, `_` also stands for `-`.
- **Secrets** (marked **secret**) also from a file: `token_file: /run/secrets/token` instead of `token`; where a list is
  taken, one per line. They are never repeated in a message.
- **Durations** have a unit: `500ms`, `30s`, `5m`, `1h30m`, `7d`, `2w`. **Sizes**: `512B`, `8KiB`, `1MiB`, `2GiB`. Relative
  paths start from the file's folder.

What is refused or warned about beyond single keys: see [Judgements](#judgements).
"""

_JUDGEMENTS: Final = """\
## Judgements

Refused, because it could be read in two ways or cannot work:

- a route that can never match, since earlier ones take all its requests; a route below `/auth/` or at
  `/.well-known/jwks.json`, which are the gateway's own
- a route that names an unknown upstream or issuer (the gateway's own, `tokens.issuer`, is a known one); two routes, issuers or
  upstreams of one name; the route names `none` and `gateway`
- `token_use: once` with another `on_outage` than `deny`; `groups` or `token_use: once` on a public route
- more than one source of users (issuers, and the built-in accounts when their block is written) without a written
  `user_prefix`
- `identity.assertion` with a name that does not begin with `X-Gateway-`, since clients could send any other; or together with
  `tokens.algorithm: HS256`, which no backend could verify, or with a route named like `tokens.audience`
- an `accounts.database` in memory or of another kind than SQLite and PostgreSQL; what needs an extra that is not installed
  (`postgres`, `geoip`, `otel`)
- no admin token, one under 32 bytes, the same one twice; the admin listener on the public port
- an issuer that mixes HS… with public-key algorithms, or whose HS… secret would come from a URL
- a `store.url` that names no service (Sentinel), or a database (Cluster)
- files of `tls`, `webhook` and `tracing`, and the folder of `pages`, that are not there
- the same secret or the same event of `webhook`, or the same header of `tracing`, twice

Warned about, because it is probably not what was meant, or opens something:

- an upstream or issuer that no route uses; no routes; routes that nobody can pass; an upstream for which as many clients may wait
  as a worker has connections
- an admin listener that other machines can reach; `trusted_proxies` that believes everybody; an easily guessed secret; a TLS
  key that everybody can read
- `on_outage: allow`; `cache: shared`; `groups` where several issuers (or one and the accounts) grant them, where none does, or
  where a token is optional
- user prefixes of which one begins with another; a key set without TLS, or whose file is not there yet; a database of
  countries that is not there;
  `upstreams.*.tls.verify: false`; a `webhook` or a `tracing.endpoint` of another machine without TLS
- `tracing` that never records anything; headers or authorities of `tracing` that are used for nothing
- `cookies.secure: false`; `csrf.enabled: false`; `accounts.registration: open`
"""


def main() -> None:
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


def pages() -> dict[Path, str]:
    """Every generated file with its text."""
    return {
        ROOT / "config" / "gateway.schema.json": json_schema.as_text(),
        ROOT / "docs" / "reference" / "configuration.md": configuration_page(),
    }


def configuration_page() -> str:
    schema = json_schema.described()
    sections = [_section("", schema, schema["$defs"]), *_blocks("", schema, schema["$defs"])]
    return "\n".join([_INTRODUCTION, *sections, _JUDGEMENTS])


def _blocks(above: str, block: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    """The sections of the blocks inside a block, depth first."""
    for name, described in block["properties"].items():
        inner, suffix = _inner(described)
        if inner:
            path = f"{above}{name}{suffix}"
            yield _section(path, definitions[inner], definitions, described["description"])
            yield from _blocks(f"{path}.", definitions[inner], definitions)


def _section(path: str, block: dict[str, Any], definitions: dict[str, Any], introduction: str = "") -> str:
    heading = f"## `{path}`" if path else "## Top level"
    lines = [heading, "", *([introduction, ""] if introduction else []), "| key | type | default | |", "|---|---|---|---|"]
    lines += [_row(path, name, described, name in block.get("required", ())) for name, described in block["properties"].items()]
    return "\n".join([*lines, ""])


def _row(above: str, name: str, described: dict[str, Any], is_required: bool) -> str:
    path = f"{above}.{name}" if above else name
    inner, suffix = _inner(described)
    text = described["description"] + _bounds(described)
    if inner:
        text += f" See [`{path}{suffix}`](#{_anchor(path + suffix)})."
    default = "required" if is_required else f"`{_yaml(described['default'])}`"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{path}`", _kind(described), default, text)) + " |"


def _inner(described: dict[str, Any]) -> tuple[str, str]:
    """The block a key holds, and how its members are addressed (`.*` for lists and names)."""
    if "$ref" in described:
        return described["$ref"].rsplit("/", 1)[1], ""
    for choice in described.get("anyOf", ()):
        if "$ref" in choice:
            return choice["$ref"].rsplit("/", 1)[1], ""
    for members in (described.get("items"), *described.get("patternProperties", {}).values()):
        if isinstance(members, dict) and "$ref" in members:
            return members["$ref"].rsplit("/", 1)[1], ".*"
    return "", ""


def _kind(described: dict[str, Any]) -> str:
    kind = _bare_kind(described)
    return f"{kind}, **secret**" if described.get("x-secret") else kind


def _bare_kind(described: dict[str, Any]) -> str:
    if "x-kind" in described:
        return str(described["x-kind"])
    if "enum" in described or "const" in described:
        return ", ".join(f"`{word}`" for word in described.get("enum", [described.get("const")]))
    if "anyOf" in described:
        kinds = [_bare_kind(choice) for choice in described["anyOf"]]
        return " or ".join(kinds) if "null" in kinds or len(kinds) < 2 else f"{kinds[0]}, or a list"
    if described.get("type") == "array":
        return "list" if "$ref" in described["items"] else f"list of {_bare_kind(described['items'])}"
    return {"object": "by name", "null": "null"}.get(described.get("type", ""), "block")


def _bounds(described: dict[str, Any]) -> str:
    choices = [described, *described.get("anyOf", ())]
    low = next((choice["x-minimum"] for choice in choices if "x-minimum" in choice), None)
    high = next((choice["x-maximum"] for choice in choices if "x-maximum" in choice), None)
    return f" ({low} to {high})" if low is not None and high is not None else ""


def _yaml(value: Any) -> str:
    """A default as it is written in YAML."""
    if isinstance(value, list):
        return f"[{', '.join(_yaml(member) for member in value)}]"
    if value == "" or not isinstance(value, str):
        return json.dumps(value)
    return value


def _anchor(path: str) -> str:
    return path.lower().replace(".", "").replace("*", "")


if __name__ == "__main__":
    main()
