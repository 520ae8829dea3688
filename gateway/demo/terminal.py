"""What `gateway demo` prints: where the page is, where everything else is, and act two as lines to type into a second terminal.

`SCENES` is data, so that the test types every line of it into a shell and compares what comes back with what is promised.
`{name}` is filled in from the stage.
"""

from dataclasses import dataclass
from typing import Final

from gateway.demo import issuer as idp
from gateway.demo.commands import preparation
from gateway.demo.issuer import MintingDesk
from gateway.demo.paper import Paper
from gateway.demo.stage import HOLDERS, WORKERS, Stage


@dataclass(frozen=True, slots=True)
class Step:
    """A line to type, and what it brings: a piece of its output, word by word. `meaning` is said after it, in brackets."""

    command: str
    brings: str
    meaning: str = ""


SCENES: Final[tuple[tuple[str, tuple[Step, ...]], ...]] = (
    (
        "let through",
        (
            Step("curl -sS {app}/", '"reason":"no-token"'),
            Step("curl -sS -H @alice-phone {app}/", "Hello alice"),
            Step("curl -sS -H @bob -H 'X-User: root' -H 'X_User: root' {app}/", "Hello bob"),
            Step("curl -sS -H @thief {app}/", "Hello root"),
        ),
    ),
    (
        "revoke, and be refused with its own reason",
        (
            Step("gateway revoke --token-id {phone_id} --issuer {issuer} --reason 'left on a train'", "by 2 of 2 workers"),
            Step("curl -sS -H @alice-phone {app}/", '"reason":"revoked-token"'),
            Step("gateway revoke --user bob", "by 2 of 2 workers"),
            Step("curl -sS -H @bob {app}/", '"reason":"old-version"'),
            Step("gateway revoke --key leaked", "by 2 of 2 workers"),
            Step("curl -sS -H @thief {app}/", '"reason":"retired-key"'),
        ),
    ),
    (
        "what is open ends with its session (the first line in a third terminal, or in the background as here)",
        (
            Step("curl -sSN -H @alice-laptop {app}/ticks & sleep 1", "tick 3 for alice"),
            Step(
                "gateway revoke --session laptop; wait",
                "curl: (",
                "the stream of the line above is torn off, and its curl complains",
            ),
            Step("curl -sS -H @alice-laptop {app}/", '"reason":"revoked-session"'),
        ),
    ),
    (
        "who tried",
        (
            Step("grep -h 'Token revoked rejected' gateway.log", "sub=alice jti={phone_id}"),
            Step("curl -sS {admin}/metrics | grep revoked_use", 'gateway_revoked_use_total{{age="tail",kind="token"}} 1.0'),
            Step("gateway status", "ready: true"),
        ),
    ),
    (
        "undo, and sign in again",
        (
            Step("id=$(gateway revoke --session desktop --json | grep -o '[0-9a-f]\\{{32\\}}')", ""),
            Step("gateway revoke --undo $id", "by 2 of 2 workers"),
            Step("curl -sS -o bob {desk}/bob/desktop && curl -sS -H @bob {app}/", "Hello bob"),
        ),
    ),
)


def show(stage: Stage, paper: Paper, url: str) -> None:
    """Print the page. From here on the issuer mints for whoever asks."""
    names = _names(stage)
    paper.heading("gateway demo: a legacy application that believes X-User, and the gateway in front of it")
    paper.heading(paper.styled("act one, in your browser: a stolen session, click by click", "cyan"))
    paper.line(f"\n  {paper.styled(url, 'bold')}")
    paper.heading("where everything is")
    paper.facts(
        ("gateway", f"{names['app']}   {WORKERS} workers, ready after {stage.ready_after_s:.1f} s, store included"),
        ("people", ", ".join(f"{person} (password {password})" for person, password in stage.passwords.items())),
        ("application", f"http://{stage.legacy}   says hello to whoever X-User names; /headers shows what arrived"),
        ("issuer", f"{names['desk']}/USER/SESSION   a fresh token, without a password"),
        ("admin", f"{names['admin']}   /metrics /readyz?verbose; /v1/status with the token in gateway.yaml"),
        ("log", str(stage.log)),
        ("tokens", ", ".join(f"{name} ({user}, session {session})" for name, user, session, _ in HOLDERS)),
    )
    paper.heading(paper.styled("act two, in a second terminal: revoking the tokens of another issuer", "cyan"))
    paper.line("")
    paper.line(f"    {preparation(stage)}")
    for title, steps in SCENES:
        paper.heading(title)
        for step in steps:
            paper.line(f"    {step.command.format(**names)}")
            if step.brings:
                meaning = f"   [{step.meaning}]" if step.meaning else ""
                paper.line(paper.styled(f"      → {step.brings.format(**names)}{meaning}", "dim"))
    paper.line("\nCtrl-C ends everything.")


def _names(stage: Stage) -> dict[str, str]:
    return {
        "app": f"http://{stage.listen}",
        "admin": f"http://{stage.admin}",
        "issuer": idp.NAME,
        "desk": MintingDesk(stage.issuer).url,
        "phone_id": idp.token_id(stage.tokens["alice-phone"]),
    }
