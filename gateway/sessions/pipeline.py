"""Many commands in one write: for the batches that run beside the requests, never on their way.

Each stands alone; they are no transaction, and in a cluster they may go to several servers.
"""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from gateway.errors import StoreUnavailable
from gateway.store.client import Argument, Store, many_commands
from gateway.store.scripts import Script, run_script


async def run_commands(store: Store, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    """The answers, in order; a command's error answer is the `RedisError` in its place. Raises `StoreUnavailable`: no answer."""
    if not commands:
        return []
    return await many_commands(store, commands)


async def run_script_often(store: Store, script: Script, calls: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
    """One script, with one key each time. Raises `StoreUnavailable` when one of them failed; the others may have been done."""
    commands = [("EVALSHA", script.digest, 1, key, *arguments) for key, arguments in calls]
    answers = await run_commands(store, commands)
    missed = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]  # nothing was done there
    if missed:
        first, *others = missed
        answers[first] = await run_script(store, script, [calls[first][0]], calls[first][1])  # takes the text along
        for at, answer in zip(others, await run_commands(store, [commands[at] for at in others]), strict=True):
            answers[at] = answer
    refuse_errors(answers)
    return answers


def refuse_errors(answers: Sequence[object]) -> None:
    """Raises `StoreUnavailable` for the first answer that is an error."""
    for answer in answers:
        if isinstance(answer, RedisError):
            raise StoreUnavailable(f"{type(answer).__name__}: {answer}"[:200]) from answer
