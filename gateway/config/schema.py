"""The configuration: every key, its type, its default and its reason. One file, for the reader of a key wants its neighbours.

Owns the shape; a loaded `Config` is frozen and shared by everybody below the command line. It does not judge what one key
means for another (`check.py`), nor find files (`load.py`). Durations are seconds, sizes are bytes, paths are absolute.

Defaults are written as an operator would write them and validated like one; the descriptions are the reference
documentation and what an editor shows (`config/gateway.schema.json`).
"""

import os
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from gateway.config.address import Address
from gateway.config.fields import (
    Count,
    DatabaseUrl,
    Duration,
    FilePath,
    Folder,
    HeaderLine,
    KeySecret,
    KeySetPlace,
    ListenAddress,
    Method,
    Name,
    NetworkRange,
    OneOrMany,
    Origin,
    Prefix,
    Ratio,
    RoutePath,
    Secret,
    Size,
    SpansEndpoint,
    StoreUrl,
    Text,
    Truth,
    UpstreamUrl,
    WebhookSecret,
    WebhookUrl,
    Within,
    Workers,
    needed,
    setting,
)

Algorithm: TypeAlias = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
]
Access: TypeAlias = Literal["public", "optional", "required"]
Outage: TypeAlias = Literal["deny", "stale", "allow"]
Action: TypeAlias = Literal["ignore", "alert", "deny", "end_session"]
AuditAction: TypeAlias = Literal[
    "login", "login-failed", "login-flood", "logout", "refresh", "refusal", "replay", "refresh-after-revocation", "refresh-reuse",
    "expired-loop", "signature-failure", "fingerprint", "fingerprint-calmed", "revocation", "undo", "session-ended",
    "session-corrupt", "registered", "password-changed", "groups-changed", "blocked", "unblocked", "erased", "key-rotated",
    "key-retired", "purge", "admin", "admitted-although-revoked", "events-lost",
]  # fmt: skip
Preset: TypeAlias = Literal["x-user", "remote-user", "x-forwarded-user", "x-auth-request", "x-webauth"]


class Block(BaseModel):
    """What all parts have in common: nothing unknown gets in, nothing changes later, defaults are validated too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Tls(Block):
    certificate: FilePath = needed("PEM file: the certificate, then its intermediates.", example="tls/fullchain.pem")
    key: FilePath = needed(
        "PEM file: the private key. Nobody but the gateway's user should be able to read it.", example="tls/privkey.pem"
    )


class Admin(Block):
    listen: ListenAddress = setting(
        "127.0.0.1:9090",
        "Where metrics, health and the admin API are served. Never the public port; best a loopback address or `unix:PATH`.",
    )
    token: Annotated[tuple[Secret, ...], OneOrMany(most=2)] = needed(
        "Who presents it may revoke. At least 32 bytes; one, or a list of two while it is being exchanged. Without it the "
        "gateway does not start.",
        secret=True,
        example="${GATEWAY_ADMIN_TOKEN}",
    )
    allowed_hosts: tuple[Text, ...] = setting(
        [],
        "Further `Host` names under which the admin port may be addressed (a defence against DNS rebinding). Loopback "
        "names and the address of "
        "`admin.listen` always are; `/metrics`, `/livez` and `/readyz` answer under any name.",
    )

    @property
    def tokens(self) -> tuple[str, ...]:
        """The live admin tokens: one, or two while one is being replaced."""
        return self.token


class Store(Block):
    url: StoreUrl = setting(
        "embedded",
        "Where revocations are recorded: `embedded` (a Valkey server that the gateway starts itself), `redis://`, "
        "`rediss://` or `unix://`; `redis+sentinel://host:26379,host:26379/service` (the master that sentinels name) or "
        "`redis+cluster://host:6379,host:6379`, and with TLS `rediss+sentinel://`, `rediss+cluster://`. "
        "Gateways that shall know each other's revocations share one store.",
        secret=True,
    )
    directory: Folder = setting(
        "var", "Where the embedded store keeps its data, and each gateway what it must not forget. Created with mode 0700."
    )
    max_staleness: Annotated[Duration, Within("200ms", "1m")] = setting(
        "2s",
        "A replica that has had no proof of freshness for so long is not trusted any more. It bounds how long a revocation "
        "can go "
        "unnoticed by a worker that is cut off, and with it how long a receipt waits for such a worker.",
    )
    stale_limit: Annotated[Duration, Within("0s", "1d")] = setting(
        "5m", "How long routes with `on_outage: stale` may go on with a replica that is not trusted."
    )
    max_entries: Annotated[Count, Within(1000, 50_000_000)] = setting(
        5_000_000,
        "Bound of each worker's replica. Beyond it a user's entries fold into one not-before: it over-refuses, it never forgets.",
    )


class Tokens(Block):
    issuer: Origin | None = setting(None, "`iss` of the tokens this gateway issues. Null: `public_url`.")
    audience: Text = setting("gateway", "Their `aud`.")
    secrets: tuple[KeySecret, ...] = setting(
        [],
        "Encrypt the signing keys in the store, newest first: 32 bytes each, base64url without padding. Gateways on one "
        "store share them. "
        "Empty: generated, and kept with mode 0600 in `store.directory`.",
        secret=True,
    )
    access_ttl: Annotated[Duration, Within("1s", "1d")] = setting("5m", "Life of an access token. Their `exp` has no leeway.")
    refresh_ttl: Annotated[Duration, Within("1s", "365d")] = setting("7d", "A session that is not used for so long ends.")
    session_ttl: Annotated[Duration, Within("1s", "3650d")] = setting(
        "30d", "A session ends after so long in any case; it is never extended."
    )
    algorithm: Literal["ES256", "RS256", "EdDSA", "HS256"] = setting("ES256", "Signature algorithm of new keys.")
    rotate_keys_every: Annotated[Duration, Within("1h", "365d")] = setting("7d", "A new signing key takes over at this pace.")


class Claims(Block):
    user: Text = setting(
        "sub", "The claim that names the user, as backends and `gateway revoke --user` know them. Required in every token."
    )
    groups: Text | None = setting(
        "groups", "The claim that lists the user's groups. Null: none; routes with `groups` then refuse this issuer's users."
    )
    session: Text | None = setting("sid", "The claim that names the session, for `gateway revoke --session`.")
    version: Text | None = setting(None, "The claim that holds the user's version, a whole number. Null: not judged.")
    name: Text | None = setting("name", "The claim with the name for people, for the presets that forward one.")
    email: Text | None = setting("email", "The claim with the e-mail address, for the presets that forward one.")


class IssuerConfig(Block):
    issuer: Text = needed("The exact `iss` of its tokens, compared byte by byte.", example="https://idp.example/realms/shop")
    audience: Annotated[tuple[Text, ...], OneOrMany()] = needed(
        "The `aud` a token must carry; of a list, one of them.", example="shop"
    )
    jwks: KeySetPlace = needed(
        "Its key set: a URL (cached 10 minutes, refreshed ahead, asked again at most every 30 s for an unknown `kid`) or a "
        "file (read again when it changes).",
        example="https://idp.example/realms/shop/certs",
    )
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = setting(
        ["RS256"], "The algorithms its keys may use. A token never chooses: its algorithm comes from the key."
    )
    claims: Claims = setting({}, "What its claims mean.")
    user_prefix: Prefix = setting(
        "",
        "Put before every user name of this issuer, as in `shop|alice`. Must be written when there is more than one source "
        'of users; "" then says that the '
        "names are shared on purpose.",
    )
    max_lifetime: Annotated[Duration, Within("1s", "365d")] = setting(
        "1h", "Tokens that live longer (`exp - iat`) are refused. Denials of its tokens are kept for so long."
    )
    session_lifetime: Annotated[Duration, Within("1s", "3650d")] = setting(
        "30d", "How long one `sid` of this issuer may live: for so long the denial of a session is kept."
    )
    leeway: Annotated[Duration, Within("0s", "5m")] = setting("30s", "Difference of clocks forgiven in `exp`, `nbf` and `iat`.")
    skew: Annotated[Duration, Within("0s", "5m")] = setting(
        "0s", "Added to a user's not-before when this issuer's clock runs ahead, so that no older token slips through."
    )
    types: Annotated[tuple[Text | None, ...], Field(min_length=1)] = setting(
        ["at+jwt", "JWT", None],
        "Accepted `typ` of the token's head; null accepts a token without one. Leave out what your issuer does not use.",
    )


class Sessions(Block):
    per_user: Annotated[Count, Within(1, 10_000)] = setting(
        10, "Sessions one user may have at a time; a further login ends the oldest."
    )
    grace: Annotated[Duration, Within("0s", "5m")] = setting(
        "30s", "How long the predecessor of a refresh token still gets the same successor: many tabs refresh at once."
    )


class Device(Block):
    changed: Action = setting("end_session", "What happens when a token comes from another kind of device.")


class NetworkFingerprint(Block):
    ipv4: Annotated[Count, Within(0, 32)] = setting(24, "Bits of an IPv4 address that make the network.")
    ipv6: Annotated[Count, Within(0, 128)] = setting(48, "Bits of an IPv6 address that make the network.")
    changed: Action = setting("alert", "What happens when a token comes from another network. Phones change theirs all day.")


class Country(Block):
    database: FilePath | None = setting(None, "A MaxMind database (`.mmdb`). Null: the country is not judged.")
    changed: Action = setting("end_session", "What happens when a token comes from another country.")


class Fingerprint(Block):
    mode: Literal["enforce", "observe"] = setting("enforce", "`observe` only counts what would have happened.")
    foreign: Action = setting(
        "alert", "The most that may happen to tokens of other issuers, whose first use is all we know of their login."
    )
    device: Device = setting({}, "The kind of device.")
    network: NetworkFingerprint = setting({}, "The network it connects from.")
    country: Country = setting({}, "The country of the address.")


class Cookies(Block):
    secure: Truth = setting(True, "`Secure` and the `__Host-` prefix. False only for a demonstration over plain HTTP.")
    same_site: Literal["lax", "strict"] = setting("lax", "`SameSite`. With `strict` a link from elsewhere arrives signed out.")


class Csrf(Block):
    enabled: Truth = setting(True, "Judge where a request comes from when its token travels in a cookie.")
    trusted_origins: tuple[Origin, ...] = setting([], "Other origins whose pages may send such requests.")


class Accounts(Block):
    database: DatabaseUrl = setting("sqlite+aiosqlite:///var/accounts.db", "Where the built-in accounts are kept.", secret=True)
    registration: Literal["closed", "open"] = setting("closed", "`open`: anyone may register, and pick any free name.")


class UpstreamTls(Block):
    ca: FilePath | None = setting(None, "PEM file with the authorities to trust. Null: the system's.")
    verify: Truth = setting(True, "Verify certificate and name. False accepts anybody who answers in the upstream's place.")
    server_name: Text | None = setting(None, "The name asked for and verified. Null: the URL's host.")


class Ejection(Block):
    failures: Annotated[Count, Within(1, 1000)] = setting(
        5, "So many connects, or answers, that fail in a row at one address, and it is not used for a time."
    )
    longest: Annotated[Duration, Within("1s", "1h")] = setting(
        "1m", "Bound of that time after bad answers; it begins with a second, and doubles. After connects the bound is 5 seconds."
    )


class HealthCheck(Block):
    path: RoutePath | None = setting(
        None, "What each worker asks each address for, with GET and without a user. Null: addresses are judged by requests alone."
    )
    every: Annotated[Duration, Within("100ms", "1h")] = setting("5s", "Pause between two checks of an address, about.")
    timeout: Annotated[Duration, Within("10ms", "1m")] = setting("2s", "For the whole check.")
    status: tuple[Annotated[Count, Within(100, 599)], ...] = setting(
        [], "The statuses of an application that is well. Empty: all from 200 to 399."
    )


class Upstream(Block):
    url: Annotated[tuple[UpstreamUrl, ...], OneOrMany(most=64)] = needed(
        "`http://host:port`, `https://host:port` or `unix:PATH`; no path, the request's own is forwarded. A list: the same "
        "application at several addresses, which share the requests.",
        example="http://127.0.0.1:8000",
    )
    connect_timeout: Annotated[Duration, Within("10ms", "5m")] = setting("2s", "For a new connection, TLS included. Then 502.")
    read_timeout: Annotated[Duration, Within("10ms", "1d")] = setting(
        "60s", "For the first byte of the answer, and between two pieces of it. Then 504, or the connection is closed."
    )
    queue_timeout: Annotated[Duration, Within("0s", "5m")] = setting("5s", "For a free connection when all are in use. Then 502.")
    max_waiting: Annotated[Count, Within(0, 1_000_000)] = setting(
        1024, "Requests that wait for a free connection to an address, per worker. Beyond: 502 at once."
    )
    idle_timeout: Annotated[Duration, Within("0s", "1h")] = setting(
        "60s", "An unused connection is kept so long. Choose it shorter than the application's own."
    )
    max_connections: Annotated[Count, Within(1, 65_535)] = setting(256, "Connections to each address, per worker.")
    retries: Annotated[Count, Within(0, 5)] = setting(
        1,
        "Further addresses tried when one cannot be connected to. Not 0: a request without a body that is safe to repeat is also "
        "repeated, once, when a kept connection turns out to be closed.",
    )
    resolve_every: Annotated[Duration, Within("1s", "1d")] = setting(
        "30s", "A host name in `url` is looked up so often, and sooner after a failed connect. All its addresses are used."
    )
    ejection: Ejection = setting({}, "When an address is left out.")
    health: HealthCheck = setting({}, "Checks of the addresses besides the requests.")
    tls: UpstreamTls = setting({}, "For `https://`.")

    @property
    def is_tls(self) -> bool:
        return self.url[0].startswith("https://")

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where to connect: hosts and ports, or paths of sockets."""
        return tuple(_address_of(url) for url in self.url)


def _address_of(url: str) -> Address:
    if url.startswith("unix:"):
        return Address(path=url.removeprefix("unix:"))
    parts = urlsplit(url)
    return Address(host=parts.hostname, port=parts.port or (443 if parts.scheme == "https" else 80))


class RouteConfig(Block):
    name: Name = needed("In metrics, logs and messages.", example="app")
    path: RoutePath = needed(
        "Ends in `/`: a prefix, which also matches itself without the slash. Anything else matches exactly.", example="/"
    )
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] | None = setting(None, "Only these. Null: all.")
    access: Access = setting(
        "required",
        "`required`: a good token or a refusal. `optional`: without a token anonymous, with one it must be good. `public`: "
        "nobody is asked.",
    )
    groups: tuple[Text, ...] = setting([], "The user must be in one of these. Empty: any user.")
    issuers: Annotated[tuple[Text, ...], Field(min_length=1)] | None = setting(
        None, "Only tokens of these issuers. Null: of all."
    )
    upstream: Name = needed("Which of `upstreams` answers.", example="app")
    on_outage: Outage = setting(
        "deny",
        "While the replica is not trusted: `deny` answers 503, `stale` goes on with what was last known for "
        "`store.stale_limit`, "
        "`allow` goes on for as long as it takes.",
    )
    token_use: Literal["many", "once"] = setting(
        "many", "`once`: each token is good for one request here; asks the store each time. Needs `on_outage: deny`."
    )
    forward_authorization: Truth = setting(
        False, "Let the judged `Authorization` header of another issuer's token through to the backend."
    )
    forward_token: Literal["authorization", "x-access-token"] | None = setting(
        None, "Put the access token where the backend wants it: `Authorization: Bearer` or `X-Access-Token`."
    )
    cache: Literal["private", "shared"] = setting(
        "private",
        "`private` marks answers to requests with a token as not for shared caches. `shared` leaves `Cache-Control` alone.",
    )
    service_worker: Truth = setting(
        False, "Let `Service-Worker: script` requests through: such a script sees every later request of its scope."
    )


class Identity(Block):
    preset: Preset = setting(
        "x-user", "Which headers tell the backend who it is. Those of every preset are stripped from what the client sent."
    )
    assertion: Text | None = setting(None, "Also send a short signed assertion in this header, `X-Gateway-…`. Null: none.")


class Audit(Block):
    keep: Annotated[Duration, Within("1h", "3650d")] = setting("30d", "Audit events older than this are dropped.")
    max_length: Annotated[Count, Within(1000, 1_000_000_000)] = setting(
        1_000_000, "Audit events beyond this number are dropped, oldest first."
    )


class Webhook(Block):
    url: WebhookUrl = needed(
        "Who is told, by POST: `https://…`, or `http://…` for a receiver on this machine. No redirect is followed.",
        secret=True,
        example="https://siem.example/hooks/gateway",
    )
    secret: Annotated[tuple[WebhookSecret, ...], OneOrMany(most=2)] = needed(
        "Signs what is sent, as Standard Webhooks does: `whsec_` and 24 to 64 bytes in base64. A list of two while one is being "
        "exchanged: each message is signed with both.",
        secret=True,
        example="${GATEWAY_WEBHOOK_SECRET}",
    )
    events: Annotated[tuple[AuditAction, ...], Field(min_length=1)] = setting(
        [
            "replay",
            "expired-loop",
            "refresh-after-revocation",
            "fingerprint",
            "fingerprint-calmed",
            "login-flood",
            "signature-failure",
            "refresh-reuse",
        ],
        "Which actions of the audit trail are sent. With `fingerprint` every phone that changes its network is told, unless "
        "`fingerprint.network.changed` is `ignore`.",
    )
    ca: FilePath | None = setting(None, "PEM file with the authorities to trust. Null: the system's.")


class Tracing(Block):
    endpoint: SpansEndpoint | None = setting(
        None,
        "Where spans are sent, by OTLP over HTTP: a collector, Tempo, Jaeger; without a path, to `/v1/traces` there. Needs the "
        "extra `otel`. Null: none are sent, and applications are only told what to sample.",
        example="http://127.0.0.1:4318",
    )
    headers: tuple[HeaderLine, ...] = setting(
        [], "Sent along, each as `Name: value`.", secret=True, example=["Authorization: Bearer ${TRACES_TOKEN}"]
    )
    ca: FilePath | None = setting(None, "PEM file with the authorities to trust. Null: the system's.")
    timeout: Annotated[Duration, Within("100ms", "1m")] = setting(
        "10s", "For the receiver to take what is sent to it, attempts after a failure included."
    )
    service_name: Text = setting("gateway", "How the spans call this gateway (`service.name`).")
    sample_ratio: Ratio = setting(
        0.1, "The part of all traces that is recorded, 1 being all. A trace that a trusted proxy began is as that decided."
    )
    continue_from: Literal["anyone", "trusted_proxies"] = setting(
        "anyone",
        "Whose trace goes on. `anyone`: a stranger's too, though whether it is recorded is decided here. `trusted_proxies`: any "
        "other request begins a trace of its own.",
    )


class Purge(Block):
    every: Annotated[Duration, Within("1m", "30d")] = setting("1h", "How often expired records leave the store.")


class Pages(Block):
    templates: Folder | None = setting(
        None, "A folder with templates of your own, file by file in the place of the gateway's: login.html, devices.html."
    )


class Limits(Block):
    head: Annotated[Size, Within("1KiB", "1MiB")] = setting("32KiB", "Request line and headers together. Beyond: 431.")
    headers: Annotated[Count, Within(1, 10_000)] = setting(100, "Number of headers. Beyond: 431.")
    uri: Annotated[Size, Within("64B", "1MiB")] = setting("8KiB", "Request target. Beyond: 414.")
    body: Size | None = setting(None, "Request body. Beyond: 413. Null: unlimited; bodies are streamed and cost no memory.")
    connections: Annotated[Count, Within(1, 1_000_000)] = setting(
        10_000, "Client connections per worker; further ones are closed at once."
    )
    per_client: Annotated[Count, Within(0, 1_000_000)] = setting(
        0,
        "Connections of one client per worker: an IPv4 address, or a /64 of IPv6. Further ones are closed at once. Trusted "
        "proxies are not limited. 0: nobody is.",
    )
    worker_memory: Size | None = setting(
        None,
        "Resident memory of one worker. Beyond: all workers are replaced, without a failed request, at most once a minute. Null: "
        "unlimited.",
    )


class Timeouts(Block):
    head: Annotated[Duration, Within("100ms", "10m")] = setting(
        "10s", "For a request's head, from its first byte (the first request: from the connection)."
    )
    body: Annotated[Duration, Within("100ms", "1h")] = setting("30s", "Between two pieces of a request's body.")
    write: Annotated[Duration, Within("100ms", "1h")] = setting("30s", "For a client that does not read its answer.")
    keep_alive: Annotated[Duration, Within("0s", "1d")] = setting("75s", "Between two requests of a connection.")
    tunnel: Annotated[Duration, Within("1s", "7d")] = setting("15m", "After an upgrade, without a byte in either direction.")
    tls_handshake: Annotated[Duration, Within("100ms", "5m")] = setting("10s", "For a client's TLS handshake.")
    drain: Annotated[Duration, Within("0s", "1h")] = setting("30s", "For requests in flight when a worker stops.")


class Log(Block):
    level: Literal["debug", "info", "warning", "error"] = setting("info", "The least important message that is written.")
    format: Literal["json", "text"] = setting("json", "`json`: one object per line. `text`: for people.")


class Config(Block):
    """The whole configuration."""

    listen: Annotated[tuple[ListenAddress, ...], OneOrMany()] = setting(
        "127.0.0.1:8080", "Where clients connect: `host:port`, `[v6]:port` or `unix:PATH`, or a list of them."
    )
    tls: Tls | None = setting(None, "Speak TLS on `listen` (unix sockets excepted). Null: plain HTTP.")
    public_url: Origin = setting(
        "http://localhost:8080", "How people reach the gateway. Redirects are built from it, never from `Host`."
    )
    trusted_proxies: tuple[NetworkRange, ...] = setting(
        [], "Proxies in front whose `X-Forwarded-*` is believed. Empty: nobody's."
    )
    workers: Workers = setting(1, "Worker processes; `auto`: one per processor.")
    admin: Admin = needed("The operator's side.")
    store: Store = setting({}, "Where revocations are recorded, and how far a replica of them is trusted.")
    tokens: Tokens = setting({}, "Tokens this gateway issues.")
    issuers: tuple[IssuerConfig, ...] = setting([], "Others whose tokens are accepted too.")
    sessions: Sessions = setting({}, "Sessions of this gateway's own users.")
    fingerprint: Fingerprint = setting({}, "What is compared between a session's login and its later use.")
    cookies: Cookies = setting({}, "The gateway's own cookies.")
    csrf: Csrf = setting({}, "Requests that another site makes the browser send.")
    accounts: Accounts = setting(
        {}, "The built-in accounts: used when this block is written, or when every issuer's `user_prefix` is."
    )
    upstreams: dict[Name, Upstream] = setting({}, "The applications behind the gateway, by name.")
    routes: tuple[RouteConfig, ...] = setting(
        [], "Which request goes where, and who may send it. The first match wins; no match is 404."
    )
    identity: Identity = setting({}, "What the backend is told about the user.")
    audit: Audit = setting({}, "The audit trail.")
    webhook: Webhook | None = setting(None, "Send security events to a receiver of your own. Null: nobody is told.")
    tracing: Tracing | None = setting(
        None, "Decide which traces are recorded, and record the gateway's part of them. Null: a trace goes on as it came."
    )
    purge: Purge = setting({}, "The scheduled purge.")
    pages: Pages = setting({}, "What people see of the gateway.")
    limits: Limits = setting({}, "What a request may measure.")
    timeouts: Timeouts = setting({}, "How long each phase of a request may take.")
    log: Log = setting({}, "The application's log, on standard error.")

    @property
    def worker_count(self) -> int:
        """Worker processes, with `auto` resolved to the processors this process may use."""
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def has_accounts(self) -> bool:
        """Whether people can sign in here. Not when other issuers' users might be taken for ours: two sources of users share
        their names only when the configuration says so [T1], by `accounts`, or by a `user_prefix` for every issuer.
        """
        return "accounts" in self.model_fields_set or all("user_prefix" in issuer.model_fields_set for issuer in self.issuers)

    @property
    def own_issuer(self) -> str:
        """`iss` of the tokens this gateway issues."""
        return self.tokens.issuer or self.public_url
