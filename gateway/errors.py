"""The tree of errors. Ours in, theirs out: a foreign exception is wrapped where it enters.

    GatewayError
    ├── ConfigurationError        the operator's file or environment; carries every problem found
    ├── ClientError               the client broke HTTP; nothing was forwarded
    │   ├── BadRequest            400: malformed, ambiguous, or a form that backends read differently
    │   └── TooLarge              413 or 431: over a configured limit
    ├── ClientGone                the client left, or was too slow; there is nobody to answer
    ├── UpstreamError             the application's fault, or the way to it
    │   ├── UpstreamUnreachable   no connection; nothing was sent, so a retry is safe
    │   ├── UpstreamBroken        it answered something that is not HTTP, or stopped in the middle
    │   └── UpstreamTimeout       it did not answer in time
    ├── StoreError                the store, or the way to it
    │   ├── StoreUnavailable      no answer; what was asked may or may not have happened
    │   ├── StoreUnfit            it answers, but its settings let it lose or hide revocations (store/fitness.py)
    │   ├── StoreLost             it answers, but it is not the store we knew (emptied, rolled back, forked)
    │   └── StoreConflict         somebody else wrote what was to be changed; read it again and decide anew
    ├── AccountsError             the accounts' database, or the way to it
    │   ├── AccountsUnavailable   no answer; what was asked may or may not have happened
    │   └── AccountsUnfit         it answers, but cannot be used: made by a newer gateway, or not by a gateway at all
    ├── KeySetError               a key set that cannot be read, or must not be trusted
    ├── KeyUnknown                no signing key of ours has this name
    └── CountriesUnavailable      the database of countries is missing, broken, or there is no library to read it

A refusal (a revoked token, no token…) is not an error: it has a reason from `reasons.py`.
"""

from collections.abc import Sequence


class GatewayError(Exception):
    """Anything that this program raises on purpose."""

    source = "us"
    is_retry_safe = False


class ConfigurationError(GatewayError):
    """The configuration cannot be used. `problems` holds one printable line per mistake, `warnings` what else was found."""

    source = "operator"

    def __init__(self, problems: list[str], warnings: Sequence[str] = ()) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.warnings = tuple(warnings)


class ClientError(GatewayError):
    """The client broke HTTP. The text is ours and fixed: it never repeats what the client sent."""

    source = "client"
    status = 400


class BadRequest(ClientError):
    """Malformed or ambiguous: answered 400, connection closed, nothing behind it is read."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


class TooLarge(ClientError):
    """Over a limit: 431 for the head, 413 for the body, 414 for the target."""

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


class ClientGone(GatewayError):
    """The client closed its connection, or stopped reading or sending for too long."""

    source = "client"


class UpstreamError(GatewayError):
    """The application, or the way to it, failed."""

    source = "upstream"


class UpstreamUnreachable(UpstreamError):
    """No connection could be had in time. Nothing was sent."""

    is_retry_safe = True


class UpstreamBroken(UpstreamError):
    """The upstream's answer is not HTTP, or ended in the middle."""


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer, or stopped answering, in time."""


class StoreError(GatewayError):
    """The store, or the way to it, failed."""

    source = "store"


class StoreUnavailable(StoreError):
    """No answer from the store. What was asked may or may not have happened."""


class StoreUnfit(StoreError):
    """The store answers, but its settings let it lose or hide revocations; see `store/fitness.py`."""


class StoreLost(StoreError):
    """The store answers but is not the one we knew: emptied, rolled back or forked. Its silence is not "not revoked"."""


class StoreConflict(StoreError):
    """Somebody else wrote what was to be changed. Nothing was written; read it again and decide anew."""

    is_retry_safe = True


class AccountsError(GatewayError):
    """The accounts' database, or the way to it, failed."""

    source = "accounts"


class AccountsUnavailable(AccountsError):
    """No answer from the accounts' database. What was asked may or may not have happened."""


class AccountsUnfit(AccountsError):
    """The accounts' database answers, but cannot be used: made by a newer gateway, or not by a gateway at all."""


class KeySetError(GatewayError):
    """A key set that cannot be read, or that holds what must not be trusted."""

    source = "issuer"


class KeyUnknown(GatewayError):
    """No signing key of ours has this name."""

    source = "client"


class CountriesUnavailable(GatewayError):
    """The database of countries cannot be used. Whoever has an older one open keeps it; without one no country is known."""

    source = "operator"
