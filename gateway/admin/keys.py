"""Our own signing keys: which there are, another one, one that is refused, and what to do after a leak."""

from typing import Any

from aiohttp import web

from gateway.admin.acts import Act
from gateway.admin.answers import Problem, json_answer
from gateway.admin.call import Call
from gateway.admin.desk import Desk, receipt_answer
from gateway.admin.office import asking
from gateway.audit.event import Action
from gateway.errors import KeyUnknown, StoreError
from gateway.tokens.material import SYMMETRIC
from gateway.tokens.ring import Ring, SigningKey


async def list_keys(desk: Desk, call: Call) -> web.Response:
    """`{"revision", "keys": […]}`, oldest first. Nothing secret. Raises StoreError, KeySetError."""
    ring = await desk.office.rotation.ring()
    return json_answer({"revision": ring.revision, "keys": key_documents(ring)})


async def rotate(desk: Desk, call: Call) -> web.Response:
    """`{compromised?}`: a new key signs; the receipt.

    `compromised`: every other key is refused, and when that is enforced the records of all sessions go. Raises StoreError,
    KeySetError.
    """
    fields = await call.fields("compromised", is_optional=True)
    is_compromised = fields.flag("compromised")
    fields.finish()
    asking.set(call.by)
    receipt = await desk.office.rotation.rotate(compromised=is_compromised)
    if not is_compromised:
        return receipt_answer(receipt, signing=await _signing(desk))
    desk.acts.log(call, "key", "every key but the new one", receipt)
    # Not complete: the key that signs is condemned, and refused as soon as the new one may sign. The sessions go all the same.
    rest = "" if receipt.complete else ", but for the one that signs until all workers have its successor"
    call.happened.append(f"every old key is refused{rest}")
    sessions = await desk.office.sessions.everyone.remove_all()
    told = Act(Action.SESSION_ENDED, "everybody's", reason="compromised", text=f"all {sessions} sessions of everybody")
    desk.acts.tell(call, told)
    return receipt_answer(receipt, signing=await _signing(desk), sessions=sessions)


async def retire(desk: Desk, call: Call) -> web.Response:
    """Refuse what one key signed; the one that signs is succeeded first [L7]. The receipt. Raises Problem 404, StoreError."""
    asking.set(call.by)
    try:
        receipt = await desk.office.rotation.retire(call.names[0])
    except KeyUnknown as error:
        raise Problem(404, "There is no such key", str(error)) from None
    desk.acts.log(call, "key", call.names[0], receipt)
    return receipt_answer(receipt, signing=await _signing(desk))


def key_documents(ring: Ring) -> list[dict[str, Any]]:
    """Keys as the API tells them; times are whole seconds since 1970."""
    return [_document(key) for key in ring.keys]


def _document(key: SigningKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": key.state.value,
        "created": int(key.created),
        "since": int(key.since),
        "thumbprint": None if key.algorithm == SYMMETRIC else key.thumbprint,  # of a secret it would be a hash of the secret
    }


async def _signing(desk: Desk) -> str | None:
    """The key that signs now. The act is done whether or not this can be said."""
    try:
        key = (await desk.office.rotation.ring()).signing
    except StoreError:
        return None
    return None if key is None else key.kid
