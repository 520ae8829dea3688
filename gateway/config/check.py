"""What one key means for another: the judgements across keys, errors apart from warnings.

Owns the rules of ambiguity: a configuration that a reader could take in two ways is refused, one that is probably not what was
meant is warned about, both by name. It works on a `Draft`, so that it can speak while single keys are still wrong, and
reads nothing but the existence of the files that are named.

An error stops the start. The letters in comments are those of the rules the project holds itself to (T1, T5, B3).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from gateway.config.address import Address
from gateway.config.problems import Location, Problem, did_you_mean
from gateway.config.schema import Admin, Identity, IssuerConfig, RouteConfig, Store, Tls, Tokens
from gateway.config.validation import Draft

NOT_BUILT_YET: Final = ("tokens", "sessions", "fingerprint", "cookies", "csrf", "accounts", "audit", "purge")
Member = TypeVar("Member")

_RESERVED_ROUTE: Final = "none"  # the label of requests that match no route
_OWN_PATHS: Final = ("/auth/", "/.well-known/jwks.json")  # answered by the gateway itself, never by an application
_FEWEST_CHARACTERS: Final = 8  # distinct ones, in a secret


class Refused(Problem):
    """Stops the start."""


class Warned(Problem):
    """Is told at the start."""


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
    for location, secrets in (
        (("admin", "token"), admin.tokens if admin else ()),
        (("tokens", "secrets"), tokens.secrets if tokens else ()),
    ):
        if len(set(secrets)) < len(secrets):
            yield Refused(location, "lists the same secret twice")
        if any(len(set(secret)) < _FEWEST_CHARACTERS for secret in secrets):
            yield Warned(location, "is long enough but easily guessed", "make one with: openssl rand -hex 32")


def _files(draft: Draft) -> Iterator[Problem]:
    tls: Tls | None = draft.blocks.get("tls")
    if tls is not None:
        yield from _needs_file(("tls", "certificate"), tls.certificate)
        yield from _needs_file(("tls", "key"), tls.key)
        if tls.key.is_file() and tls.key.stat().st_mode & 0o004:
            yield Warned(("tls", "key"), "can be read by every user of this machine", "chmod 600")
    for name, upstream in draft.upstreams.items():
        if upstream is not None and upstream.tls.ca is not None:
            yield from _needs_file(("upstreams", name, "tls", "ca"), upstream.tls.ca)


def _needs_file(location: Location, path: Path) -> Iterator[Problem]:
    if not path.is_file():
        yield Refused(location, f"there is no file {path}")


def _store(draft: Draft) -> Iterator[Problem]:
    store: Store | None = draft.blocks.get("store")
    if store is not None and 0 < store.stale_limit < store.max_staleness:
        yield Refused(
            ("store", "stale_limit"), "must not be shorter than store.max_staleness", "0s makes `stale` the same as `deny`"
        )


def _own_tokens(draft: Draft) -> Iterator[Problem]:
    tokens: Tokens | None = draft.blocks.get("tokens")
    if tokens is not None and not tokens.access_ttl <= tokens.refresh_ttl <= tokens.session_ttl:
        yield Refused(("tokens",), "access_ttl, refresh_ttl and session_ttl must not become shorter in this order")


def _issuers(draft: Draft) -> Iterator[Problem]:
    tokens: Tokens | None = draft.blocks.get("tokens")
    own = (tokens.issuer if tokens else None) or draft.blocks.get("public_url")
    seen: dict[str, int] = {own: -1} if own else {}
    for index, issuer in _known(draft.issuers):
        if issuer.issuer in seen:
            which = "this gateway's own (tokens.issuer)" if seen[issuer.issuer] < 0 else f"that of issuers.{seen[issuer.issuer]}"
            yield Refused(("issuers", index, "issuer"), f"is the same as {which}")
        seen.setdefault(issuer.issuer, index)
        yield from _key_set(issuer, ("issuers", index))
        if issuer.session_lifetime < issuer.max_lifetime:
            yield Refused(
                ("issuers", index, "session_lifetime"),
                "must not be shorter than max_lifetime",
                "a denied session would come back",
            )


def _key_set(issuer: IssuerConfig, location: Location) -> Iterator[Problem]:
    symmetric = [name for name in issuer.algorithms if name.startswith("HS")]
    is_url = "://" in issuer.jwks
    if symmetric and len(symmetric) < len(issuer.algorithms):
        what = "mixes shared secrets (HS…) with public keys: a public key could be taken for a secret"
        yield Refused((*location, "algorithms"), what, "make two issuers of it, or drop one kind")
    if symmetric and is_url:
        yield Refused(
            (*location, "jwks"),
            f"{symmetric[0]} needs a shared secret, which is never published",
            "name a file with the `oct` key",
        )
    if is_url:
        address = urlsplit(issuer.jwks)
        if address.scheme == "http" and not Address(host=address.hostname, port=1).is_loopback:
            yield Warned((*location, "jwks"), "is fetched without TLS: whoever is on the way can make tokens", "use https://")
    elif not Path(issuer.jwks).is_file():
        yield Warned(
            (*location, "jwks"), f"there is no file {issuer.jwks} yet; until there is, every token of this issuer is refused"
        )


def _sources_of_users(draft: Draft) -> Iterator[Problem]:
    """T1: two sources share user names only when the configuration says so."""
    known = list(_known(draft.issuers))
    if len(draft.issuers) + ("accounts" in draft.explicit) > 1:
        for index, issuer in known:
            if "user_prefix" not in issuer.model_fields_set:
                what = "must be written, because there is more than one source of users"
                yield Refused(("issuers", index, "user_prefix"), what, '"" says that they share their names on purpose')
    for index, issuer in known:
        for _, other in known:
            mine, theirs = issuer.user_prefix, other.user_prefix
            if mine != theirs and mine.startswith(theirs):
                both = f"'{mine[len(theirs) :]}x' of {other.issuer} and 'x' of this one"
                what = f"begins like that of another issuer: users {both} are the same to the backend"
                yield Warned(("issuers", index, "user_prefix"), what)


def _upstreams(draft: Draft) -> Iterator[Problem]:
    used = {route.upstream for _, route in _known(draft.routes)}
    unclear = any(route is None for route in draft.routes)
    for name, upstream in draft.upstreams.items():
        if name not in used and not unclear:
            yield Warned(("upstreams", name), "is used by no route", at_key=True)
        if upstream is not None and not upstream.is_tls and "tls" in upstream.model_fields_set and upstream.tls.model_fields_set:
            if upstream.tls != type(upstream.tls)():
                yield Warned(("upstreams", name, "tls"), "has no effect, the URL is not https://", at_key=True)
        elif upstream is not None and not upstream.tls.verify:
            yield Warned(("upstreams", name, "tls", "verify"), "is off: anybody who answers in its place is believed")


def _routes(draft: Draft) -> Iterator[Problem]:
    names: dict[str, int] = {}
    for index, route in _known(draft.routes):
        here: Location = ("routes", index)
        if route.name in names:
            yield Refused((*here, "name"), f"'{route.name}' is the name of routes.{names[route.name]} too")
        if route.name == _RESERVED_ROUTE:
            yield Refused((*here, "name"), f"'{_RESERVED_ROUTE}' is how metrics call requests without a route", "choose another")
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
    known = [issuer.issuer for _, issuer in _known(draft.issuers)]
    if len(known) == len(draft.issuers):
        for name in route.issuers or ():
            if name not in known:
                hint = did_you_mean(name, known) or _listed("issuers are", known)
                yield Refused((*here, "issuers", (route.issuers or ()).index(name)), f"there is no issuer '{name}'", hint)


def _listed(text: str, names: Iterable[str]) -> str:
    return f"{text}: {', '.join(names)}" if any(names) else "there are none"


def _access(draft: Draft, route: RouteConfig, here: Location) -> Iterator[Problem]:
    several = len(route.issuers or draft.issuers) > 1
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
    if route.groups and several:
        what = "groups of several issuers count alike here"
        yield Warned((*here, "groups"), what, "name the one that may grant them in `issuers`")
    if route.groups and route.access == "optional":
        yield Warned(
            (*here, "groups"), "are asked only of those who show a token: who shows none is let in", "make it access: required"
        )
    if route.cache == "shared":
        yield Warned((*here, "cache"), "shared: a cache may give one user's answer to another, unless the application forbids it")


def _nobody_gets_in(draft: Draft) -> Iterator[Problem]:
    names = [route.name for _, route in _known(draft.routes) if route.access == "required"]
    if names and not draft.issuers:
        yield Warned(("routes",), f"{', '.join(names)} ask for a token, but no issuers are configured", "nobody can pass")
    for index, route in _known(draft.routes):
        grants = [i for _, i in _known(draft.issuers) if (route.issuers is None or i.issuer in route.issuers) and i.claims.groups]
        if route.groups and draft.issuers and not grants and not any(issuer is None for issuer in draft.issuers):
            yield Warned(("routes", index, "groups"), "none of its issuers has claims.groups", "nobody can pass")
    if all(route is not None and route.issuers is not None for route in draft.routes) and draft.routes:
        named = {name for _, route in _known(draft.routes) for name in route.issuers or ()}
        for index, issuer in _known(draft.issuers):
            if issuer.issuer not in named:
                yield Warned(("issuers", index), "is accepted by no route")


def _shadows(draft: Draft) -> Iterator[Problem]:
    """The first match wins: a route all of whose requests are taken before it can never match."""
    earlier: list[RouteConfig] = []
    for index, route in _known(draft.routes):
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


def _not_built_yet(draft: Draft) -> Iterator[Problem]:
    for name in NOT_BUILT_YET:
        if name in draft.explicit:
            yield Warned((name,), "accepted, not built yet", at_key=True)
    identity: Identity | None = draft.blocks.get("identity")
    if identity is not None and identity.assertion is not None:
        yield Warned(("identity", "assertion"), "accepted, not built yet", at_key=True)


def _known(members: Iterable[Member | None]) -> Iterator[tuple[int, Member]]:
    return ((index, member) for index, member in enumerate(members) if member is not None)


_RULES: Final[tuple[Callable[[Draft], Iterator[Problem]], ...]] = (
    _listeners,
    _proxies,
    _secrets,
    _files,
    _store,
    _own_tokens,
    _issuers,
    _sources_of_users,
    _upstreams,
    _routes,
    _nobody_gets_in,
    _shadows,
    _weakened,
    _not_built_yet,
)
