"""What the demo's gateways are told: the one that the story plays at, and a stricter house for one of its scenes.

Text, as an operator would write it, because people are invited to read it: it lies in the demo's folder as `gateway.yaml` and
`strict.yaml`.
"""

from dataclasses import dataclass
from typing import Final

from gateway.demo import issuer as idp

WORKERS: Final = 2
PEOPLE: Final = ("alice@example.org", "bob@example.org")


@dataclass(frozen=True, slots=True)
class Times:
    """How long things live; seconds. Real ones are minutes and days: these let a person watch."""

    access_ttl_s: int
    grace_s: int


TO_WATCH: Final = Times(access_ttl_s=15, grace_s=4)
IN_A_HURRY: Final = Times(access_ttl_s=5, grace_s=1)

_MAIN: Final = """\
# Written by `gateway demo`; gone with it.
listen: {listen}
public_url: http://{listen}
# The demo's browsers are at home, in a café, on a train: they tell their addresses in X-Forwarded-For.
trusted_proxies: [127.0.0.0/8]
workers: {workers}
admin: {{listen: '{admin}', token: {admin_token}}}
store: {{url: embedded, directory: store}}
timeouts: {{drain: 1s}}

# Its own accounts and sessions. The lifetimes are short, so that a refresh can be watched; the defaults are 5m and 30s.
accounts: {{database: 'sqlite+aiosqlite:///accounts.db', registration: open}}
cookies: {{secure: false}}  # plain HTTP, on this machine only
tokens: {{access_ttl: {access_ttl_s}s}}
sessions: {{grace: {grace_s}s}}

# Somebody else's tokens, for the second act.
issuers:
  - issuer: {issuer}
    audience: {audience}
    jwks: keys.json
    algorithms: [RS256]
    max_lifetime: {lifetime_s}s
    user_prefix: ""  # its users are called `alice`, ours `alice@example.org`: no name is in both
upstreams:
  legacy: {{url: 'http://{legacy}'}}
routes:
  - {{name: about, path: /about, access: public, upstream: legacy}}
  - {{name: app, path: /, access: required, upstream: legacy}}
"""

_STRICT: Final = """\
# Written by `gateway demo`; gone with it. Another gateway in front of the same application: a house whose people sit in its own
# network, and which therefore ends a session that turns up in another one.
listen: {listen}
public_url: http://{listen}
trusted_proxies: [127.0.0.0/8]
admin: {{listen: '{admin}', token: {admin_token}}}
store: {{url: embedded, directory: strict-store}}
timeouts: {{drain: 1s}}
accounts: {{database: 'sqlite+aiosqlite:///accounts.db'}}
cookies: {{secure: false}}
fingerprint:
  network: {{changed: end_session}}  # the default is alert: phones change networks all day
upstreams:
  legacy: {{url: 'http://{legacy}'}}
routes:
  - {{name: app, path: /, access: required, upstream: legacy}}
"""


def main(times: Times, **addresses: str) -> str:
    """The configuration of the gateway that everything plays at."""
    return _MAIN.format(
        workers=WORKERS,
        access_ttl_s=times.access_ttl_s,
        grace_s=times.grace_s,
        issuer=idp.NAME,
        audience=idp.AUDIENCE,
        lifetime_s=idp.LIFETIME_S,
        **addresses,
    )


def strict(**addresses: str) -> str:
    """The configuration of the stricter house."""
    return _STRICT.format(**addresses)
