"""Why an address or a new password is not accepted: a closed list, one sentence each.

The word is for programs and for whoever translates; the sentence is for the person who typed. None repeats what was typed.
"""

from enum import Enum


class Refused(Enum):
    """`word` and `text` of one refusal. Not a str, so that nobody takes it for an accepted address."""

    ADDRESS_TOO_LONG = "address-too-long", "The e-mail address is longer than 254 characters."
    ADDRESS_WITHOUT_AT = "address-without-at", "An e-mail address has exactly one @."
    ADDRESS_LOCAL_PART = (
        "address-local-part",
        "Before the @ there may be at most 64 characters: letters from a to z, digits, single dots between them, "
        "and !#$%&'*+-/=?^_`{|}~.",
    )
    ADDRESS_DOMAIN = "address-domain", "What follows the @ is not a domain name."
    PASSWORD_TOO_SHORT = "password-too-short", "The password needs at least 8 characters."
    PASSWORD_TOO_LONG = "password-too-long", "The password may have at most 256 characters."
    PASSWORD_CONTROL_CHARACTERS = "password-control-characters", "The password holds characters that cannot be typed."
    PASSWORD_COMMON = "password-common", "The password is one of those that are tried first: it is on a list of common passwords."
    PASSWORD_RUN = "password-run", "The password is one character again and again, or a run such as abcdefgh."
    PASSWORD_LIKE_ADDRESS = "password-like-address", "The password is your e-mail address, or little more than a part of it."
    PASSWORD_LIKE_SERVICE = "password-like-service", "The password is the name of this service, or little more than that."

    @property
    def word(self) -> str:
        """For programs: `password-too-short`."""
        return self.value[0]

    @property
    def text(self) -> str:
        """One English sentence for the person who typed."""
        return self.value[1]
