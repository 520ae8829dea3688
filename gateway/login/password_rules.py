"""What may be a password (NIST SP 800-63B section 3.1.1): long enough, not too long, typeable, and not what is tried first.

No rules of composition: they make passwords worse. Length is counted in characters after NFKC, so a password is the same
on every keyboard; bytes are counted before anything else is done, so nobody makes us normalise a megabyte [L04].

The list of common passwords is zxcvbn's: 30 000, of which 11 600 are long enough to get this far. It is loaded by the first
`load_common_passwords` (12 ms), which whoever has an event loop calls in a thread.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from typing import Final

from gateway.login.refused import Refused

FEWEST_CHARACTERS: Final = 8
MOST_CHARACTERS: Final = 256
MOST_BYTES: Final = 1024
_FEWEST_OF_ITS_OWN: Final = 5
"""A password that has fewer characters besides the address or the service's name is that name: alice2024."""

_SHORTEST_NAME: Final = 3  # a part of the address that is shorter is found in anything
_UNTYPEABLE: Final = frozenset({"Cc", "Cs"})


def prepare(typed: str) -> str | Refused:
    """The password as it is hashed and verified. Refused is what no account can have."""
    try:
        size = len(typed) if len(typed) > MOST_BYTES else len(typed.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return Refused.PASSWORD_CONTROL_CHARACTERS
    if size > MOST_BYTES:
        return Refused.PASSWORD_TOO_LONG
    password = unicodedata.normalize("NFKC", typed)
    if len(password) > MOST_CHARACTERS:
        return Refused.PASSWORD_TOO_LONG
    if any(unicodedata.category(character) in _UNTYPEABLE for character in password):
        return Refused.PASSWORD_CONTROL_CHARACTERS
    return password


def refuse_new(password: str, address: str, services: Iterable[str]) -> Refused | None:
    """Why this prepared password cannot be chosen by this account; None: it can. `services`: names and hosts of ours."""
    if len(password) < FEWEST_CHARACTERS:
        return Refused.PASSWORD_TOO_SHORT
    plain = password.lower()
    if plain in load_common_passwords():
        return Refused.PASSWORD_COMMON
    if _is_a_run(plain):
        return Refused.PASSWORD_RUN
    if any(_is_little_more_than(plain, name) for name in _names_of_address(address)):
        return Refused.PASSWORD_LIKE_ADDRESS
    if any(_is_little_more_than(plain, name.lower()) for name in services):
        return Refused.PASSWORD_LIKE_SERVICE
    return None


@cache
def load_common_passwords() -> frozenset[str]:
    """Those of the list that are long enough to be chosen at all, in lower case."""
    # The file alone, outside sys.modules, so that it is gone afterwards: 5 MiB stay. Importing it by its name would load all of
    # zxcvbn, which keeps 13 MiB of dictionaries for an estimate that is not wanted here.
    package = find_spec("zxcvbn")
    assert package is not None
    assert package.submodule_search_locations
    spec = spec_from_file_location("frequency_lists", Path(package.submodule_search_locations[0]) / "frequency_lists.py")
    assert spec is not None
    assert spec.loader is not None
    lists = module_from_spec(spec)
    spec.loader.exec_module(lists)
    return frozenset(entry for entry in lists.FREQUENCY_LISTS["passwords"] if len(entry) >= FEWEST_CHARACTERS)


def _is_a_run(password: str) -> bool:
    """aaaaaaaa, abcdefgh, 98765432: zxcvbn finds these by their pattern, so its list has few of them."""
    steps = {ord(after) - ord(before) for before, after in pairwise(password)}
    return len(steps) == 1 and steps <= {-1, 0, 1}


def _names_of_address(address: str) -> Iterable[str]:
    """The address, its local part, its domain, and the words these are made of."""
    local_part, _, domain = address.partition("@")
    return {address, local_part, domain, *re.split(r"[^a-z0-9]+", local_part), *domain.split(".")}


def _is_little_more_than(password: str, name: str) -> bool:
    if len(name) < _SHORTEST_NAME or name not in password:
        return False
    return len(password.replace(name, "")) < _FEWEST_OF_ITS_OWN
