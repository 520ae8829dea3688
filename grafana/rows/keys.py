"""Revocation, last row: are the keys in order? A revocation of a key is enforced like any other, and never expires."""

from typing import Final

from grafana.board import Row
from grafana.charts import lines
from grafana.kinds import ranking
from grafana.panel import CALM, About, Query, red_below
from grafana.query import rate, series

KEYS: Final = Row(
    "Are the keys in order?",
    [
        ranking(
            About(
                "Keys held of each issuer",
                "one or more; told is the worker that holds the fewest.",
                "0: every token of this issuer is refused. See whether the gateway can reach the address of its `jwks`.",
                ("GatewayIssuerWithoutKeys",),
            ),
            Query(f"sort_desc(min by (issuer) ({series('gateway_issuer_keys')}))", "{{issuer}}", is_instant=True),
            "short",
            red_below(1),
            width=8,
        ),
        ranking(
            About(
                "Age of each signing key",
                "the youngest is younger than `tokens.rotate_keys_every`; older ones verify until their tokens are gone.",
                "`gateway keys rotate`; the log says why it did not happen by itself.",
                ("GatewaySigningKeyOld",),
            ),
            Query(f"sort(max by (kid) ({series('gateway_key_age_seconds')}))", "{{kid}}", is_instant=True),
            "s",
            CALM,
            width=8,
        ),
        lines(
            About(
                "Tokens verified, by key",
                "the newest key takes over after a rotation, older ones fade.",
                "use of a key that should be gone: whose tokens are these? `gateway keys retire KID` refuses them.",
            ),
            [Query(rate("gateway_tokens_by_key_total", by="kid"), "{{kid}}")],
            "ops",
            width=8,
        ),
    ],
    heights=(6,),
)
