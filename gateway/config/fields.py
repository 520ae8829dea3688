"""The kinds of value a key can have: how each is read from YAML, and how the JSON Schema describes it.

Owns the annotated types that `schema.py` is written in. A validator gets the configuration's folder through pydantic's context
(`{"directory": Path}`), because relative paths are resolved against the file and not against wherever the command was
started. Messages never repeat a value: it may be a secret in the wrong place.
"""

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from gateway.config.address import Address, parse_address
from gateway.config.store_url import SPELLINGS, parse_store_url
from gateway.config.units import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    parse_count,
    parse_duration,
    parse_ratio,
    parse_size,
    parse_truth,
)

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

SHORTEST_SECRET: Final = 32  # bytes; RFC 8725 §3.5, and below it a dictionary is enough
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_METHOD: Final = re.compile(r"[A-Z][A-Z0-9!#$%&'*+.^_`|~-]{0,31}")
_REFUSED_METHODS: Final = frozenset({"TRACE", "TRACK", "CONNECT"})
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,=:@/\[\]{}|^`]|%[0-9A-F]{2})*")
_NEVER_ESCAPED: Final = re.compile(r"%(2D|2E|2F|5C|5F|7E|7F|3[0-9]|[46][1-9A-F]|[57][0-9A]|[01][0-9A-F])")


def setting(default: Any, description: str, *, secret: bool = False, example: Any = None) -> Any:
    """A key with its default *as an operator would write it* (it is validated like one), and its reason."""
    extra: dict[str, Any] = {"x-secret": True} if secret else {}
    if example is not None:
        extra["examples"] = [example]
    return Field(default=default, description=description, repr=not secret, json_schema_extra=extra or None)


def needed(description: str, *, secret: bool = False, example: Any = None) -> Any:
    """A key without a default."""
    extra: dict[str, Any] = {"x-secret": True} if secret else {}
    if example is not None:
        extra["examples"] = [example]
    return Field(description=description, repr=not secret, json_schema_extra=extra or None)


@dataclass(frozen=True, slots=True)
class Within:
    """Bounds of a quantity, in its own spelling: `Annotated[Duration, Within("100ms", "1m")]`."""

    low: str | int | None = None
    high: str | int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.judge, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        bounds = {"x-minimum": self.low, "x-maximum": self.high}
        described.update({name: bound for name, bound in bounds.items() if bound is not None})
        return described

    def judge(self, value: float | None) -> float | None:
        if value is not None and self.low is not None and value < _quantity(self.low):
            raise ValueError(f"must be at least {self.low}")
        if value is not None and self.high is not None and value > _quantity(self.high):
            raise ValueError(f"must be at most {self.high}")
        return value


def _quantity(spelled: str | int) -> float:
    if isinstance(spelled, int):
        return spelled
    return parse_size(spelled) if spelled.endswith("B") else parse_duration(spelled)


def directory_of(info: ValidationInfo) -> Path:
    """The configuration's folder; the working folder when models are built by hand."""
    context = info.context or {}
    return Path(context.get("directory", Path.cwd()))


@dataclass(frozen=True, slots=True)
class OneOrMany:
    """A single value is a list of one; at least one, at most `most`."""

    most: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        many = {**handler(schema), "minItems": 1, **({"maxItems": self.most} if self.most else {})}
        return {"anyOf": [many["items"], many]}

    def read(self, value: Any) -> list[Any]:
        listed = list(value) if isinstance(value, list | tuple) else [] if value in (None, "") else [value]
        if not listed:
            raise ValueError("is empty")
        if self.most is not None and len(listed) > self.most:
            raise ValueError(f"may list at most {self.most}")
        return listed


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("must be text; put numbers and words like true or null in quotes")
    return value


def _prefix(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError('must be text; "" means that this source shares the names of the others')
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("must be a name of at most 63 letters, digits, '-', '_' or '.'")
    return value


def _method(value: Any) -> str:
    if isinstance(value, str) and value.upper() in _REFUSED_METHODS:
        raise ValueError("TRACE, TRACK and CONNECT are always answered 405 and cannot be routed")
    if isinstance(value, str) and value != value.upper():
        raise ValueError(
            f"methods are case-sensitive (RFC 9110 §9.1); write {value.upper()}" if value.isalpha() else "is not a method"
        )
    if not isinstance(value, str) or not _METHOD.fullmatch(value):
        raise ValueError("must be an HTTP method such as GET or POST")
    return value


def _route_path(value: Any) -> str:
    """The one form in which requests are matched (`wire/path`): a path spelled otherwise could never match."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError("must be a path that begins with '/'")
    if not _PATH.fullmatch(value):
        raise ValueError(
            "holds a character that no path has; percent-encode it in capitals (%20), and leave out '?', '#', ';', '\\'"
        )
    if _NEVER_ESCAPED.search(value):
        raise ValueError(
            "percent-encodes a letter, a digit, a separator or a control character; a request never arrives like that"
        )
    if "//" in value or any(segment in {".", ".."} for segment in value.split("/")):
        raise ValueError("must be normalised: no '//', no '.' or '..' segments")
    try:
        unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise ValueError("percent-encodes bytes that are not UTF-8") from None
    return value


def _secret(value: Any) -> str:
    if value is None or value == "":
        raise ValueError("is empty")
    if not isinstance(value, str):
        raise ValueError("must be text; put it in quotes")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without spaces")
    if len(value) < SHORTEST_SECRET:
        raise ValueError(f"is too short ({len(value)} bytes, at least {SHORTEST_SECRET}); make one with: openssl rand -hex 32")
    return value


def _key_secret(value: Any) -> str:
    try:
        if (
            isinstance(value, str)
            and "=" not in value
            and len(base64.b64decode(value + "=", altchars=b"-_", validate=True)) == 32
        ):
            return value
    except (binascii.Error, ValueError):
        pass
    raise ValueError(
        "must be 32 random bytes, base64url without padding; make one with: openssl rand -base64 32 | tr '+/' '-_' | tr -d '='"
    )


def _path(value: Any, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("must be the path of a file or folder")
    return Path(directory_of(info), value)


def _address(value: Any, info: ValidationInfo) -> Address:
    if isinstance(value, Address):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("must be host:port, [v6]:port or unix:PATH")
    return parse_address(value, directory_of(info))


def _network(value: Any) -> Network:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(value) if isinstance(value, str) else _not_a_network()
    except ValueError:
        loose = _loose_network(value)
        hint = f"has bits behind its prefix; write {loose}" if loose else "must be a network such as 10.0.0.0/8, or one address"
        raise ValueError(hint) from None


def _not_a_network() -> Network:
    raise ValueError


def _loose_network(value: Any) -> Network | None:
    try:
        return ipaddress.ip_network(value, strict=False) if isinstance(value, str) else None
    except ValueError:
        return None


def split_url(value: Any, schemes: tuple[str, ...]) -> SplitResult:
    """Take a URL apart; it must have one of the schemes, a host, a sane port and no credentials. Raises ValueError."""
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError(f"must be a URL that begins with {wanted}")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or port cannot be read") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"must be a URL that begins with {wanted}")
    if port == 0:
        raise ValueError("is not a URL: its host or port cannot be read")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user or password")
    return parts


def _origin(value: Any) -> str:
    parts = split_url(value, ("http", "https"))
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("must end after the host or port: no path, no query")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _upstream_url(value: Any, info: ValidationInfo) -> str:
    if isinstance(value, str) and value.startswith("unix:"):
        spelled = value.removeprefix("unix:")
        return str(parse_address(f"unix:{'/' + spelled.lstrip('/') if spelled.startswith('/') else spelled}", directory_of(info)))
    parts = split_url(value, ("http", "https"))
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("must end after the host or port; the request's own path is forwarded as it is")
    return f"{parts.scheme}://{parts.netloc}"


def _key_set(value: Any, info: ValidationInfo) -> str:
    if isinstance(value, str) and "://" in value:
        split_url(value, ("https", "http"))
        return value
    return str(_path(value, info))


def _webhook_url(value: Any) -> str:
    parts = split_url(value, ("https", "http"))
    if parts.fragment:
        raise ValueError("must end before '#': a fragment is never sent")
    return str(value)


_WEBHOOK_SECRET: Final = "whsec_"


def _webhook_secret(value: Any) -> str:
    """As Standard Webhooks writes it: 24 to 64 bytes."""
    try:
        if isinstance(value, str) and value.startswith(_WEBHOOK_SECRET):
            raw = base64.b64decode(value.removeprefix(_WEBHOOK_SECRET), validate=True)
            if 24 <= len(raw) <= 64:
                return value
    except (binascii.Error, ValueError):
        pass
    raise ValueError("must be whsec_ and 24 to 64 random bytes in base64; make one with: echo whsec_$(openssl rand -base64 32)")


def _spans_endpoint(value: Any) -> str:
    """As OTLP has it: the address of a collector alone means its usual path."""
    parts = split_url(value, ("http", "https"))
    if parts.query or parts.fragment:
        raise ValueError("must end after the path; a credential belongs in `headers`")
    return f"{parts.scheme}://{parts.netloc}{parts.path if parts.path not in {'', '/'} else '/v1/traces'}"


_HEADER_LINE: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}):[ \t]*([!-~](?:[ -~]{0,4094}[!-~])?)")
_HEADERS_OF_THE_MESSAGE: Final = frozenset({"host", "connection", "content-length", "content-type", "transfer-encoding"})


def _header_line(value: Any) -> str:
    found = _HEADER_LINE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a header as it is sent: 'Name: value', in quotes")
    if found[1].lower() in _HEADERS_OF_THE_MESSAGE:
        raise ValueError("names a header that belongs to the message itself")
    return f"{found[1]}: {found[2]}"


def _store_url(value: Any) -> str:
    if value == "embedded":
        return "embedded"
    if not isinstance(value, str):
        raise ValueError(f"must be embedded, or a URL that begins with {SPELLINGS}")
    parse_store_url(value)
    return value


def _database(value: Any, info: ValidationInfo) -> str:
    if not isinstance(value, str) or "://" not in value:
        raise ValueError("must be a database URL such as sqlite+aiosqlite:///var/accounts.db")
    scheme, _, rest = value.partition("://")
    if scheme.startswith("sqlite") and rest.startswith("/") and not rest.startswith("//"):
        return f"{scheme}:////{str(directory_of(info) / rest[1:]).lstrip('/')}"
    return value


def _workers(value: Any) -> int:
    if value == "auto":
        return 0
    count = parse_count(value)
    if not 1 <= count <= 256:
        raise ValueError("must be from 1 to 256, or auto")
    return count


def _schema(kind: str, type_: str | list[str] = "string", **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": type_, "x-kind": kind, **more})


Duration = Annotated[float, BeforeValidator(parse_duration), _schema("duration", ["string", "integer"], pattern=DURATION_PATTERN)]
Size = Annotated[int, BeforeValidator(parse_size), _schema("size", ["string", "integer"], pattern=SIZE_PATTERN)]
Count = Annotated[int, BeforeValidator(parse_count), _schema("number", "integer")]
Ratio = Annotated[float, BeforeValidator(parse_ratio), _schema("ratio", ["number", "string"], minimum=0, maximum=1)]
Truth = Annotated[bool, BeforeValidator(parse_truth), _schema("true or false", "boolean")]
Text = Annotated[str, PlainValidator(_text), _schema("text")]
Prefix = Annotated[str, PlainValidator(_prefix), _schema("text")]
Name = Annotated[str, PlainValidator(_name), _schema("name", pattern=rf"^{_NAME.pattern}$")]
Method = Annotated[str, PlainValidator(_method), _schema("method", pattern="^[A-Z][A-Z0-9-]*$")]
RoutePath = Annotated[str, PlainValidator(_route_path), _schema("path", pattern="^/")]
Secret = Annotated[str, PlainValidator(_secret), _schema("text")]
KeySecret = Annotated[str, PlainValidator(_key_secret), _schema("key")]
FilePath = Annotated[Path, PlainValidator(_path), _schema("file")]
Folder = Annotated[Path, PlainValidator(_path), _schema("folder")]
ListenAddress = Annotated[Address, PlainValidator(_address), _schema("address")]
NetworkRange = Annotated[Network, PlainValidator(_network), _schema("network")]
Origin = Annotated[str, PlainValidator(_origin), _schema("URL", pattern="^(https?://|.*\\$\\{)")]
UpstreamUrl = Annotated[str, PlainValidator(_upstream_url), _schema("URL")]
KeySetPlace = Annotated[str, PlainValidator(_key_set), _schema("URL or file")]
WebhookUrl = Annotated[str, PlainValidator(_webhook_url), _schema("URL")]
WebhookSecret = Annotated[str, PlainValidator(_webhook_secret), _schema("secret")]
SpansEndpoint = Annotated[str, PlainValidator(_spans_endpoint), _schema("URL")]
HeaderLine = Annotated[str, PlainValidator(_header_line), _schema("header")]
StoreUrl = Annotated[str, PlainValidator(_store_url), _schema("`embedded` or URL")]
DatabaseUrl = Annotated[str, PlainValidator(_database), _schema("URL")]
Workers = Annotated[
    int,
    PlainValidator(_workers),
    WithJsonSchema({"type": ["integer", "string"], "x-kind": "number or `auto`", "minimum": 1, "pattern": "^(auto|[0-9]+)$"}),
]
