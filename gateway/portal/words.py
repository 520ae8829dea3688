"""Every word that a person reads, in English and French, side by side: a text cannot lack a language.

Two tables: the texts of the pages (`TEXTS`), and what is said after a redirect (`SAID`). The refusals, a third table, are in
`refusal_words.py`.

`NBSP` stands where French typography wants a space that does not break, because nobody sees it in a source.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from gateway.login.refused import Refused
from gateway.portal.language import Language

NBSP: Final = "\u00a0"


class Text(NamedTuple):
    """One text in every language."""

    en: str
    fr: str

    def to(self, language: Language) -> str:
        """The text in this language."""
        return self.fr if language is Language.FR else self.en


class Kind(StrEnum):
    """What a message is; also its class in the stylesheet."""

    DONE = "done"
    NOTE = "note"
    PROBLEM = "problem"


class Said(NamedTuple):
    """What a page says after a redirect. `field` is the input at fault."""

    kind: Kind
    text: Text
    field: str = ""


TEXTS: Final[dict[str, Text]] = {
    "email": Text("E-mail address", "Adresse e-mail"),
    "password": Text("Password", "Mot de passe"),
    "password.show": Text("Show", "Afficher"),
    "password.hide": Text("Hide", "Masquer"),
    "password.rule": Text(
        "At least 8 characters. A few words in a row are easy to remember and hard to guess.",
        "Au moins 8 caractères. Quelques mots à la suite sont faciles à retenir et difficiles à deviner.",
    ),
    "problem": Text("Problem", "Problème"),
    "sign-in": Text("Sign in", "Se connecter"),
    "sign-in.no-account": Text("No account yet?", f"Pas encore de compte{NBSP}?"),
    "sign-out": Text("Sign out", "Se déconnecter"),
    "register": Text("Create an account", "Créer un compte"),
    "register.has-account": Text("Already have an account?", f"Vous avez déjà un compte{NBSP}?"),
    "devices": Text("Your devices", "Vos appareils"),
    "devices.lead": Text(
        "Where this account is signed in. Sign out whatever you do not recognise.",
        "Là où ce compte est connecté. Déconnectez ce que vous ne reconnaissez pas.",
    ),
    "devices.this": Text("This device", "Cet appareil"),
    "devices.now": Text("Active now", "Actif en ce moment"),
    "devices.seen": Text("Last seen", "Actif"),
    "devices.since": Text("Signed in", "Connexion"),
    "devices.name": Text("{browser} on {system}", "{browser} sur {system}"),
    "devices.unknown": Text("Unknown browser", "Navigateur inconnu"),
    "devices.end": Text("Sign out", "Déconnecter"),
    "devices.only": Text("No other device is signed in.", "Aucun autre appareil n’est connecté."),
    "devices.ended": Text("The device is signed out.", "L’appareil est déconnecté."),
    "devices.failed": Text(
        "That did not work. Please try again in a moment.", "Cela n’a pas fonctionné. Réessayez dans un instant."
    ),
    "everywhere": Text("Sign out everywhere", "Se déconnecter partout"),
    "everywhere.lead": Text(
        "Ends every session at once, this one too. The right thing when a device is lost.",
        "Met fin à toutes les sessions d’un coup, celle-ci comprise. À faire si un appareil est perdu.",
    ),
    "change": Text("Change the password", "Changer le mot de passe"),
    "change.lead": Text("Every other device will be signed out.", "Tous les autres appareils seront déconnectés."),
    "change.current": Text("Current password", "Mot de passe actuel"),
    "change.new": Text("New password", "Nouveau mot de passe"),
    "onward": Text("You are signed in", "C’est fait, la session est ouverte"),
    "onward.button": Text("Continue", "Continuer"),
    "retry": Text("Try again", "Réessayer"),
    "start": Text("Go to the start page", "Aller à la page d’accueil"),
    "reference": Text("Reference", "Référence"),
}


# ---------------------------------------------------------------------------------------------------------------------
# What is said after a redirect: the query carries the code (`?said=signed-out`), never a text, and a code that the page
# does not know says nothing.

_LIMITED: Final = Said(
    Kind.PROBLEM,
    Text("Too many attempts. Please wait a minute, then try again.", "Trop d’essais. Patientez une minute, puis réessayez."),
)
_UNAVAILABLE: Final = Said(
    Kind.PROBLEM,
    Text(
        "That is not possible at the moment, and nothing was changed. Please try again shortly.",
        "C’est impossible pour le moment, et rien n’a été modifié. Réessayez sous peu.",
    ),
)
_OTHER_SITE: Final = Said(
    Kind.PROBLEM,
    Text(
        "The form did not come from this site, so nothing was done. Please fill it in here.",
        "Le formulaire ne venait pas de ce site, rien n’a donc été fait. Remplissez-le ici.",
    ),
)


_REFUSED: Final[dict[Refused, Text]] = {
    Refused.ADDRESS_TOO_LONG: Text(
        "The e-mail address is too long: at most 254 characters.",
        f"L’adresse e-mail est trop longue{NBSP}: 254 caractères au plus.",
    ),
    Refused.ADDRESS_WITHOUT_AT: Text(
        "An e-mail address has exactly one @ in it.", "Une adresse e-mail contient un @, et un seul."
    ),
    Refused.ADDRESS_LOCAL_PART: Text(
        "Before the @ is something that cannot be used here. Letters without accents, digits and single dots are fine.",
        "Ce qui précède le @ est impossible ici. Lettres sans accent, chiffres et points isolés conviennent.",
    ),
    Refused.ADDRESS_DOMAIN: Text(
        "What follows the @ is not a domain such as example.org.",
        "Ce qui suit le @ n’est pas un domaine tel que exemple.org.",
    ),
    Refused.PASSWORD_TOO_SHORT: Text(
        "The password is too short: at least 8 characters.", f"Le mot de passe est trop court{NBSP}: au moins 8 caractères."
    ),
    Refused.PASSWORD_TOO_LONG: Text(
        "The password is too long: at most 256 characters.", f"Le mot de passe est trop long{NBSP}: 256 caractères au plus."
    ),
    Refused.PASSWORD_CONTROL_CHARACTERS: Text(
        "The password holds characters that cannot be typed. Please choose another.",
        "Le mot de passe contient des caractères que l’on ne peut pas saisir. Choisissez-en un autre.",
    ),
    Refused.PASSWORD_COMMON: Text(
        "This password is among the first that are tried: it is on a list of common ones. Please choose another.",
        f"Ce mot de passe est parmi les premiers essayés{NBSP}: il est sur une liste des plus courants. Choisissez-en un autre.",
    ),
    Refused.PASSWORD_RUN: Text(
        "The password repeats one character, or is a run such as abcdefgh. Please choose another.",
        "Le mot de passe répète un seul caractère, ou est une suite telle que abcdefgh. Choisissez-en un autre.",
    ),
    Refused.PASSWORD_LIKE_ADDRESS: Text(
        "The password is too close to your e-mail address. Please choose another.",
        "Le mot de passe est trop proche de votre adresse e-mail. Choisissez-en un autre.",
    ),
    Refused.PASSWORD_LIKE_SERVICE: Text(
        "The password is too close to the name of this site. Please choose another.",
        "Le mot de passe est trop proche du nom de ce site. Choisissez-en un autre.",
    ),
}


def _refused(kind: str, field: str) -> dict[str, Said]:
    """What was typed into this field and is not accepted, under the words of `login/refused.py`."""
    return {why.word: Said(Kind.PROBLEM, text, field) for why, text in _REFUSED.items() if why.word.startswith(kind)}


_EVERYWHERE: Final = {"limited": _LIMITED, "unavailable": _UNAVAILABLE, "other-site": _OTHER_SITE}

SAID: Final[dict[str, dict[str, Said]]] = {
    "login": {
        **_EVERYWHERE,
        "signed-out": Said(Kind.DONE, Text("You are signed out.", "Votre session est fermée.")),
        "signed-out-everywhere": Said(
            Kind.DONE, Text("You are signed out on all devices.", "Vos sessions sont fermées sur tous les appareils.")
        ),
        "leaving": Said(
            Kind.NOTE,
            Text(
                "You are being signed out. It may take a moment until that holds everywhere.",
                "La déconnexion est en cours. Il faut parfois un instant pour qu’elle vaille partout.",
            ),
        ),
        "registered": Said(
            Kind.DONE, Text("Your account is ready. Sign in to use it.", "Votre compte est prêt. Connectez-vous pour l’utiliser.")
        ),
        "sign-in": Said(Kind.NOTE, Text("Please sign in to see that page.", "Connectez-vous pour voir cette page.")),
        "expired": Said(
            Kind.NOTE,
            Text("Your sign-in has run out. Please sign in again.", "Votre connexion a expiré. Reconnectez-vous."),
        ),
        "ended": Said(
            Kind.NOTE,
            Text("This device was signed out. Please sign in again.", "Cet appareil a été déconnecté. Reconnectez-vous."),
        ),
        "wrong": Said(
            Kind.PROBLEM,
            Text(
                "The address and the password do not belong together.",
                "L’adresse et le mot de passe ne correspondent pas.",
            ),
            "password",
        ),
        "blocked": Said(
            Kind.PROBLEM,
            Text(
                "This account is blocked. The people who run this site can tell you why.",
                "Ce compte est bloqué. Les responsables de ce site peuvent vous dire pourquoi.",
            ),
        ),
    },
    "register": {
        **_EVERYWHERE,
        "taken": Said(
            Kind.PROBLEM,
            Text("There is an account with this address already.", "Un compte existe déjà avec cette adresse."),
            "email",
        ),
        **_refused("address-", "email"),
        **_refused("password-", "password"),
    },
    "devices": {
        **_EVERYWHERE,
        "session-ended": Said(Kind.DONE, TEXTS["devices.ended"]),
        "session-unknown": Said(Kind.NOTE, Text("That device was signed out already.", "Cet appareil était déjà déconnecté.")),
        "password-changed": Said(
            Kind.DONE,
            Text(
                "Your password is changed, and every other device is signed out.",
                "Votre mot de passe est changé, et tous les autres appareils sont déconnectés.",
            ),
        ),
        "password-wrong": Said(
            Kind.PROBLEM, Text("The current password is not right.", "Le mot de passe actuel n’est pas le bon."), "current"
        ),
        **_refused("password-", "new"),
    },
}
