"""The JSON Schema of the configuration, as editors want it.

Owns the difference between what pydantic describes (the values after reading) and what an operator may write: `${NAME}` in any
place, and `NAME_file` instead of a secret. Committed as `config/gateway.schema.json`; its sample points there.
"""

import json
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from gateway.config.keys import FILE_SUFFIX
from gateway.config.schema import Config

_REFERENCE: Final = {"type": "string", "pattern": r"\$\{"}
_OURS: Final = "x-"


class _Untitled(GenerateJsonSchema):
    """Without pydantic's titles, which only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def described() -> dict[str, Any]:
    """What pydantic knows, with our own words (`x-kind`, `x-secret`, `x-minimum`, `x-maximum`): the documentation's source."""
    return Config.model_json_schema(schema_generator=_Untitled)


def json_schema() -> dict[str, Any]:
    """The schema for editors."""
    schema = described()
    definitions: dict[str, Any] = schema.pop("$defs")
    for block in (schema, *definitions.values()):
        block.pop("title", None)
        _add_secret_files(block)
        block["properties"] = {name: _writable(described) for name, described in block["properties"].items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gateway configuration",
        **schema,
        "$defs": definitions,
    }


def as_text() -> str:
    """The committed form."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _add_secret_files(block: dict[str, Any]) -> None:
    properties: dict[str, Any] = block["properties"]
    for name in [name for name, described in properties.items() if described.get("x-secret")]:
        twin = name + FILE_SUFFIX
        properties[twin] = {"type": "string", "description": f"A file that holds `{name}`, instead of it."}
        if name in block.get("required", ()):
            block["required"].remove(name)
            block["anyOf"] = [{"required": [name]}, {"required": [twin]}]
    if not block.get("required", True):
        del block["required"]


def _writable(described: Any) -> Any:
    """A leaf that is not any text accepts a `${…}` too; our own words are left out."""
    if not isinstance(described, dict):
        return described
    plain = {key: value for key, value in described.items() if not key.startswith(_OURS)}
    if plain.get("type") == "integer":
        plain.update({bound[len(_OURS) :]: described[bound] for bound in ("x-minimum", "x-maximum") if bound in described})
    if "patternProperties" in plain:
        plain = {key: value for key, value in plain.items() if key != "propertyNames"} | {"additionalProperties": False}
    if "items" in plain:
        plain["items"] = _writable(plain["items"])
    if "anyOf" in plain:
        plain["anyOf"] = [_writable(choice) for choice in plain["anyOf"]]
        return plain
    if "enum" in plain or "pattern" in plain or plain.get("type") in ("integer", "boolean"):
        about = {key: plain.pop(key) for key in ("default", "description", "examples") if key in plain}
        return {"anyOf": [plain, _REFERENCE], **about}
    return plain
