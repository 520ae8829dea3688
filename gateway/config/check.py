"""What one key means for another: the judgements across keys, errors apart from warnings.

Owns the rules of ambiguity: a configuration that a reader could take in two ways is refused, one that is probably not what was
meant is warned about, both by name. It works on a `Draft`, so that it can speak while single keys are still wrong, and
reads nothing but the existence of the files that are named.

An error stops the start. The letters in comments are those of the rules the project holds itself to (T1, T5, B3).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from gateway.config import check_identity
from gateway.config.address import Address
from gateway.config.findings import Refused, Warned, has_accounts, known, needs_file, own_issuer
from gateway.config.problems import Location, Problem, did_you_mean
from gateway.config.schema import Admin, Limits, RouteConfig, Store, Tls, Tokens, Tracing, Upstream, Webhook
from gateway.config.validation import Draft

_RESERVED_ROUTES: Final = {
    "none": "is how metrics call requests without a route",
    "gateway": "is how metrics call the gateway's own endpoints",
}
_OWN_PATHS: Final = ("/auth/", "/.well-known/jwks.json")  # answered by the gateway itself, never by an application
_FEWEST_CHARACTERS: Final = 8  # distinct ones, in a secret


def judge(draft: Draft) -> tuple[list[Problem], list[Problem]]:
    """All errors and all warnings of a configuration."""
    findings = [finding for rule in _RULES for finding in rule(draft)]
    return [found for found in findings if isinstance(found, Refused)], [found for found in findings if isinstance(found, Warned)]


def _listeners(draft: Draft) -> Iterator[Problem]:
    listeners: tuple[Address, ...] = draft.blocks.get("listen") or ()
    for address, count in Counter(listeners).items():
        if count > 1:
            yield Refused(("listen",), f"lists {address} twice")
    admin: Admin | None = draft.blocks.get("admin")
    if admin is None:
        return
    if any(_collide(address, admin.listen) for address in listeners):
        yield Refused(("admin", "listen"), "is the public port", "give the admin listener a port of its own")
    if not admin.listen.is_loopback:
        what = "can be reached from other machines; whoever has the token may revoke from there"
        yield Warned(("admin", "listen"), what, "prefer 127.0.0.1, or a unix socket")


def _collide(one: Address, other: Address) -> bool:
    if one.is_unix or other.is_unix:
        return one.path is not None and one.path == other.path
    return one.port == other.port != 0 and (one.host == other.host or one.is_wildcard or other.is_wildcard)


def _proxies(draft: Draft) -> Iterator[Problem]:
    for index, network in enumerate(draft.blocks.get("trusted_proxies") or ()):
        if network.prefixlen == 0:
            yield Warned(("trusted_proxies", index), "believes X-Forwarded-* of everybody: any client can choose its address")


def _secrets(draft: Draft) -> Iterator[Problem]:
    admin: Admin | None = draft.blocks.get("admin")
    tokens: Tokens | None = draft.blocks.get("tokens")
    webhook: Webhook | None = draft.blocks.get("webhook")
    for location, secrets in (
        (("admin", "token"), admin.tokens if admin else ()),
        (("tokens", "secrets"), tokens.secrets if tokens else ()),
        (("webhook", "secret"), [secret.removeprefix("whsec_") for secret in webhook.secret] if webhook else ()),
    ):
        if len(set(secrets)) < len(secrets):
            yield Refused(location, "lists the same secret twice")
        if any(len(set(secret)) < _FEWEST_CHARACTERS for secret in secrets):
            yield Warned(location, "is long enough but easily guessed", "make one with: openssl rand -hex 32")


def _files(draft: Draft) -> Iterator[Problem]:
    tls: Tls | None = draft.blocks.get("tls")
    if tls is not None:
        yield from needs_file(("tls", "certificate"), tls.certificate)
        yield from needs_file(("tls", "key"), tls.key)
        if tls.key.is_file() and tls.key.stat().st_mode & 0o004:
            yield Warned(("tls", "key"), "can be read by every user of this machine", "chmod 600")
    for name, upstream in draft.upstreams.items():
        if upstream is not None and upstream.tls.ca is not None:
            yield from needs_file(("upstreams", name, "tls", "ca"), upstream.tls.ca)


def _webhook(draft: Draft) -> Iterator[Problem]:
    webhook: Webhook | None = draft.blocks.get("webhook")
    if webhook is None:
        return
    for event, count in Counter(webhook.events).items():
        if count > 1:
            yield Refused(("webhook", "events"), f"lists {event} twice")
    url = urlsplit(webhook.url)
    if url.scheme == "http" and not Address(host=url.hostname, port=1).is_loopback:
        what = "is sent without TLS: whoever is on the way reads who did what"
        yield Warned(("webhook", "url"), what, "use https://")
    if webhook.ca is not None:
        yield from needs_file(("webhook", "ca"), webhook.ca)
        if url.scheme == "http":
            yield Warned(("webhook", "ca"), "has no effect, the URL is not https://")


def _tracing(draft: Draft) -> Iterator[Problem]:
    tracing: Tracing | None = draft.blocks.get("tracing")
    if tracing is None:
        return
    if tracing.sample_ratio == 0.0 and not draft.blocks.get("trusted_proxies"):
        yield Warned(("tracing", "sample_ratio"), "is 0, and there are no trusted_proxies: nothing is ever recorded")
    for name, count in Counter(line.partition(":")[0].lower() for line in tracing.headers).items():
        if count > 1:
            yield Refused(("tracing", "headers"), f"has {name} twice")
    if tracing.ca is not None:
        yield from needs_file(("tracing", "ca"), tracing.ca)
    if tracing.endpoint is None:
        if tracing.headers or tracing.ca is not None:
            yield Warned(("tracing",), "has headers or ca, and no endpoint: nothing is sent", at_key=True)
        return
    here: Location = ("tracing", "endpoint")
    if not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        yield Refused(here, "needs libraries that are not installed", "install the gateway's extra otel")
    url = urlsplit(tracing.endpoint)
    if url.scheme == "http" and tracing.ca is not None:
        yield Warned(("tracing", "ca"), "has no effect, the endpoint is not https://")
    if url.scheme == "http" and not Address(host=url.hostname, port=1).is_loopback:
        yield Warned(here, "is sent spans without TLS: whoever is on the way reads which paths are asked for", "use https://")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _store(draft: Draft) -> Iterator[Problem]:
    store: Store | None = draft.blocks.get("store")
    if store is not None and 0 < store.stale_limit < store.max_staleness:
        yield Refused(
            ("store", "stale_limit"), "must not be shorter than store.max_staleness", "0s makes `stale` the same as `deny`"
        )


def _upstreams(draft: Draft) -> Iterator[Problem]:
    used = {route.upstream for _, route in known(draft.routes)}
    unclear = any(route is None for route in draft.routes)
    for name, upstream in draft.upstreams.items():
        if name not in used and not unclear:
            yield Warned(("upstreams", name), "is used by no route", at_key=True)
        if upstream is not None:
            yield from _urls(("upstreams", name, "url"), upstream)
            yield from _held(("upstreams", name), upstream, draft.blocks.get("limits"))
        if upstream is not None and not upstream.is_tls and "tls" in upstream.model_fields_set and upstream.tls.model_fields_set:
            if upstream.tls != type(upstream.tls)():
                yield Warned(("upstreams", name, "tls"), "has no effect, the URL is not https://", at_key=True)
        elif upstream is not None and not upstream.tls.verify:
            yield Warned(("upstreams", name, "tls", "verify"), "is off: anybody who answers in its place is believed")


def _urls(here: Location, upstream: Upstream) -> Iterator[Problem]:
    """The addresses of one upstream are one application, spoken to in one way."""
    for index, url in enumerate(upstream.url):
        if url in upstream.url[:index]:
            yield Refused((*here, index), "is listed twice")
        if url.startswith("https://") != upstream.is_tls:
            yield Refused((*here, index), "mixes https:// with addresses without TLS", "make it two upstreams")


def _held(here: Location, upstream: Upstream, limits: Limits | None) -> Iterator[Problem]:
    """What an application that hangs holds is nobody else's."""
    most = len(upstream.url) * (upstream.max_connections + upstream.max_waiting)
    if limits is not None and most >= limits.connections:
        what = f"may hold {most} client connections of a worker when it hangs, and limits.connections is {limits.connections}"
        yield Warned(here, what, "lower max_waiting or max_connections, which count for each address", at_key=True)


def _routes(draft: Draft) -> Iterator[Problem]:
    names: dict[str, int] = {}
    for index, route in known(draft.routes):
        here: Location = ("routes", index)
        if route.name in names:
            yield Refused((*here, "name"), f"'{route.name}' is the name of routes.{names[route.name]} too")
        if route.name in _RESERVED_ROUTES:
            yield Refused((*here, "name"), f"'{route.name}' {_RESERVED_ROUTES[route.name]}", "choose another")
        if any(covers(own, route.path) for own in _OWN_PATHS):
            yield Refused(
                (*here, "path"), "belongs to the gateway itself, as do /auth/ and /.well-known/jwks.json", "choose another"
            )
        names.setdefault(route.name, index)
        yield from _references(draft, route, here)
        yield from _access(draft, route, here)
    if not draft.routes:
        yield Warned(("routes",), "there are no routes: every request is answered 404")


def _references(draft: Draft, route: RouteConfig, here: Location) -> Iterator[Problem]:
    if route.upstream not in draft.upstreams:
        hint = did_you_mean(route.upstream, draft.upstreams) or _listed("upstreams are", draft.upstreams)
        yield Refused((*here, "upstream"), f"there is no upstream '{route.upstream}'", hint)
    own = own_issuer(draft)
    names = [issuer.issuer for _, issuer in known(draft.issuers)]
    if len(names) == len(draft.issuers) and own is not None:
        for place, name in enumerate(route.issuers or ()):
            if name not in (*names, own):
                hint = did_you_mean(name, (*names, own)) or _listed("issuers are", (*names, own))
                yield Refused((*here, "issuers", place), f"there is no issuer '{name}'", hint)


def _listed(text: str, names: Iterable[str]) -> str:
    return f"{text}: {', '.join(names)}" if any(names) else "there are none"


def _access(draft: Draft, route: RouteConfig, here: Location) -> Iterator[Problem]:
    sources = len(route.issuers) if route.issuers else len(draft.issuers) + has_accounts(draft)
    if route.access == "public":
        if route.groups:
            yield Refused(
                (*here, "groups"), "cannot be asked of a public route, which asks for no token", "make it access: required"
            )
        if route.token_use == "once":
            yield Refused(
                (*here, "token_use"), "a public route asks for no token, so none can be used once", "make it access: required"
            )
        return
    if route.token_use == "once" and route.on_outage != "deny":
        # T5: whether a token was used before is known to the store alone.
        yield Refused((*here, "on_outage"), "must be deny where token_use is once: without the store nobody knows what was used")
    if route.on_outage == "allow":
        yield Warned((*here, "on_outage"), "allow: during an outage of the store revoked tokens pass here")
    if route.groups and sources > 1:
        what = "groups of several issuers count alike here"
        yield Warned((*here, "groups"), what, "name the one that may grant them in `issuers`")
    if route.groups and route.access == "optional":
        yield Warned(
            (*here, "groups"), "are asked only of those who show a token: who shows none is let in", "make it access: required"
        )
    if route.cache == "shared":
        yield Warned((*here, "cache"), "shared: a cache may give one user's answer to another, unless the application forbids it")


def _nobody_gets_in(draft: Draft) -> Iterator[Problem]:
    own, can_sign_in = own_issuer(draft), has_accounts(draft)
    for index, route in known(draft.routes):
        issuers = [issuer for _, issuer in known(draft.issuers) if route.issuers is None or issuer.issuer in route.issuers]
        has_own = can_sign_in and (route.issuers is None or own in route.issuers)
        if has_own or any(issuer is None for issuer in draft.issuers) or own is None:
            continue
        if route.access == "required" and not issuers:
            what = "is only this gateway, whose built-in accounts are off"
            yield Warned(("routes", index, "issuers"), what, "nobody can pass")
        elif route.groups and not any(issuer.claims.groups for issuer in issuers):
            yield Warned(("routes", index, "groups"), "none of its issuers has claims.groups", "nobody can pass")
    if all(route is not None and route.issuers is not None for route in draft.routes) and draft.routes:
        named = {name for _, route in known(draft.routes) for name in route.issuers or ()}
        for index, issuer in known(draft.issuers):
            if issuer.issuer not in named:
                yield Warned(("issuers", index), "is accepted by no route")


def _shadows(draft: Draft) -> Iterator[Problem]:
    """The first match wins: a route all of whose requests are taken before it can never match."""
    earlier: list[RouteConfig] = []
    for index, route in known(draft.routes):
        if index in draft.flawed:
            continue
        covering = [other for other in earlier if covers(other.path, route.path)]
        taken = {method for other in covering for method in other.methods or ()}
        if any(other.methods is None for other in covering) or (route.methods and set(route.methods) <= taken):
            names = ", ".join(f"'{other.name}'" for other in covering)
            yield Refused(
                ("routes", index, "path"), f"'{route.name}' can never match: {names} above takes all its requests", "move it up"
            )
        earlier.append(route)


def covers(wide: str, narrow: str) -> bool:
    """Does the first route path match everything that the second one matches? A prefix `/a/` matches `/a` too."""
    if wide.endswith("/"):
        return narrow.startswith(wide) or narrow == wide[:-1]
    return narrow == wide


def _weakened(draft: Draft) -> Iterator[Problem]:
    cookies, accounts, csrf = draft.blocks.get("cookies"), draft.blocks.get("accounts"), draft.blocks.get("csrf")
    if cookies is not None and not cookies.secure:
        yield Warned(
            ("cookies", "secure"), "is off: cookies travel unencrypted and lose their __Host- prefix", "for a demonstration only"
        )
    if accounts is not None and accounts.registration == "open":
        yield Warned(("accounts", "registration"), "is open: anyone may register, and pick any free name")
    if csrf is not None and not csrf.enabled:
        yield Warned(("csrf", "enabled"), "is off: other sites can send requests in the name of a signed-in user")


_RULES: Final[tuple[Callable[[Draft], Iterator[Problem]], ...]] = (
    _listeners,
    _proxies,
    _secrets,
    _files,
    _webhook,
    _tracing,
    _store,
    check_identity.own_tokens,
    check_identity.issuers,
    check_identity.sources_of_users,
    check_identity.accounts,
    check_identity.assertion,
    check_identity.files,
    _upstreams,
    _routes,
    _nobody_gets_in,
    _shadows,
    _weakened,
)
