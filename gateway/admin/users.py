"""Built-in accounts as an operator changes them, and keeping a user out.

The database is the truth about an account, so it is changed first; then the log and the records are told, and the receipt says
who knows. When that fails in between, the answer says how far it came; each act may be repeated.

    add           the database
    passwd        the database (version + 1) · the version in the log · records and known devices
    groups        the database · the records · a touch in the log, by which workers drop what they remember
    block         a fact in the log, until lifted, with or without an account; the sessions stay, and serve again afterwards
"""

from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from gateway.admin.acts import SOURCE, Act
from gateway.admin.answers import Problem, json_answer
from gateway.admin.call import Call, read_limit
from gateway.admin.desk import Desk, receipt_answer
from gateway.admin.office import spellings
from gateway.admin.sessions import account_named, blocks_of
from gateway.audit.event import Action
from gateway.errors import StoreError
from gateway.login.accounts import MOST_PER_PAGE, Account, AccountExists, ordered_groups
from gateway.login.address import normalise
from gateway.login.refused import Refused
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.log import RevocationRefused
from gateway.revocation.receipt import Receipt

USUAL_PAGE: Final = 100


async def list_users(desk: Desk, call: Call) -> web.Response:
    """A page of accounts by name: `{"users": […], "next": name or null}`; the next page comes `after` that name."""
    parameters = call.parameters("after", "limit")
    limit = read_limit(parameters, USUAL_PAGE, MOST_PER_PAGE)
    _refuse_without_accounts(desk)
    found: list[Account] = []
    if desk.office.has_database:
        found = await desk.office.accounts.page(parameters.get("after", ""), limit)
    documents = await _documents(desk, found)
    return json_answer({"users": documents, "next": found[-1].email if len(found) == limit else None})


async def show_user(desk: Desk, call: Call) -> web.Response:
    """One account. Raises Problem 404."""
    return json_answer((await _documents(desk, [await account_named(desk, call.names[0])]))[0])


async def add_user(desk: Desk, call: Call) -> web.Response:
    """`{email, password, groups?}`: 201 and the account. Raises Problem: 409 the name is taken, 422."""
    fields = await call.fields("email", "password", "groups")
    email, password, groups = fields.text("email"), fields.password("password"), fields.texts("groups", [])
    address = normalise(email) if email else ""
    if isinstance(address, Refused):
        fields.errors["email"] = address.text
    elif wrong := _wrong_groups(groups):
        fields.errors.setdefault("groups", wrong)
    fields.finish("The account cannot be made")
    assert isinstance(address, str)
    _refuse_without_accounts(desk)
    hashed = await _hashed(desk, password, address)
    try:
        account = await desk.office.accounts.create(address, hashed, groups)
    except AccountExists:
        raise Problem(409, "There is an account of this name already", address) from None
    desk.acts.tell(call, Act(Action.REGISTERED, address, user=address, text=_listed(account.groups)))
    return json_answer((await _documents(desk, [account]))[0], 201)


async def set_password(desk: Desk, call: Call) -> web.Response:
    """`{password}`: another password, and every session is over at once; the receipt. Raises Problem: 404, 422."""
    fields = await call.fields("password")
    password = fields.password("password")
    fields.finish()
    office = desk.office
    account = await account_named(desk, call.names[0])
    hashed = await _hashed(desk, password, account.email)
    version = await office.accounts.set_password(account.sub, hashed)
    if version is None:
        raise Problem(404, "There is no account of this name", "It was erased a moment ago.")
    call.happened.append(f"the password was changed, and the account's version raised to {version}")
    receipt = await office.log.revoke(office.version_fact(account.sub, version, "password set by an operator", SOURCE))
    await office.accounts.tell(account.sub, version)
    call.happened.append("every session is refused")
    sids = await office.sessions.sids(account.sub)
    await office.forget(sids)
    await office.devices.forget(account.email)
    act = Act(Action.PASSWORD_CHANGED, account.email, ("version",), user=account.email)
    desk.acts.tell(call, act, receipt)
    return receipt_answer(receipt, sessions=len(sids))


async def set_groups(desk: Desk, call: Call) -> web.Response:
    """`{groups}`: these and no others, from the next request on; the receipt. Raises Problem: 404, 422."""
    fields = await call.fields("groups")
    groups = fields.texts("groups")
    if wrong := _wrong_groups(groups):
        fields.errors.setdefault("groups", wrong)
    fields.finish("The groups cannot be set")
    office = desk.office
    account = await account_named(desk, call.names[0])
    changed = await office.accounts.set_groups(account.email, groups)
    if changed is None:
        raise Problem(404, "There is no account of this name", "It was erased a moment ago.")
    call.happened.append("the account has the new groups, and its next login brings them")
    sids = await office.sessions.set_groups(changed.sub, changed.groups)
    call.happened.append(f"the records of {len(sids)} sessions have them")
    receipt = await office.log.touch(desk.config.own_issuer, changed.sub)
    act = Act(Action.GROUPS_CHANGED, changed.email, user=changed.email, text=_listed(changed.groups))
    desk.acts.tell(call, act, receipt)
    return receipt_answer(receipt, groups=list(changed.groups), sessions=len(sids))


async def show_block(desk: Desk, call: Call) -> web.Response:
    """Whether a user of any issuer is kept out. The accounts are not asked."""
    names = spellings(call.names[0])
    said = await desk.office.log.find([fact for name in names for fact in blocks_of(name, desk.config.own_issuer)])
    return json_answer({"user": names[0], "blocked": any(one.value for one in said)})


async def block(desk: Desk, call: Call) -> web.Response:
    """Keep a user of any issuer out until it is lifted; the receipt. The accounts are not asked: it works without them."""
    fields = await call.fields("reason", is_optional=True)
    reason = fields.text("reason", "")
    fields.finish()
    names = spellings(call.names[0])
    facts = [Revocation(Kind.BLOCK, name, "", reason, SOURCE) for name in names]
    receipt = await desk.office.log.revoke(*facts)
    desk.acts.tell(call, Act(Action.BLOCKED, names[0], ("block",), user=names[0], text=reason), receipt)
    return receipt_answer(receipt, 201)


async def unblock(desk: Desk, call: Call) -> web.Response:
    """Let the user in again; the receipt. Raises Problem 404."""
    names = spellings(call.names[0])
    receipts: list[Receipt] = []
    for name in names:
        try:
            receipts.append(await desk.office.log.clear(Revocation(Kind.BLOCK, name)))
            call.happened.append("a block was lifted")
        except RevocationRefused:
            continue
    if not receipts:
        raise Problem(404, "This user is not blocked", names[0])
    receipt = min(receipts, key=lambda one: one.complete)
    desk.acts.tell(call, Act(Action.UNBLOCKED, names[0], ("lift",), user=names[0]), receipt)
    return receipt_answer(receipt)


async def _hashed(desk: Desk, password: str, address: str) -> str:
    """By the same rules as at the login page. Raises Problem 422, LoginBusy."""
    hashed = await desk.office.passwords.choose(password, address, desk.office.services)
    if isinstance(hashed, Refused):
        raise Problem(422, "The password cannot be used", errors={"password": hashed.text})
    return hashed


async def _documents(desk: Desk, accounts: Iterable[Account]) -> list[dict[str, Any]]:
    """Accounts as the API tells them: never a hash. `blocked` is null when the store does not say."""
    listed = list(accounts)
    facts = [fact for account in listed for fact in blocks_of(account.email, desk.config.own_issuer)]
    try:
        said = [bool(answer.value) for answer in await desk.office.log.find(facts)]
        blocked: list[bool | None] = [any(said[at : at + 2]) for at in range(0, len(said), 2)]
    except StoreError:
        blocked = [None] * len(listed)
    return [
        {
            "user": account.email,
            "groups": list(account.groups),
            "blocked": is_blocked,
            "created": int(account.created),
            "version": account.version,
            "version_raised": int(account.changed),
        }
        for account, is_blocked in zip(listed, blocked, strict=True)
    ]


def _wrong_groups(groups: list[str]) -> str:
    try:
        ordered_groups(groups)
    except ValueError as error:
        return str(error)
    return ""


def _refuse_without_accounts(desk: Desk) -> None:
    if not desk.config.has_accounts:
        why = 'The issuer has no user_prefix, so its users might be taken for accounts; "" says that they share their names.'
        raise Problem(409, "The built-in accounts are off", why)


def _listed(groups: Iterable[str]) -> str:
    return f"groups: {', '.join(groups) or 'none'}"
