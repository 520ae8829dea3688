"""What a refusal means to somebody who does not know what a token is, and what to do next. Programs read `reasons.py` instead.

By reason (`TOLD`); by status (`TOLD_BY_STATUS`) where no reason is known, or where the status says more than the reason.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from gateway.portal.words import NBSP, Text
from gateway.reasons import REFUSALS, Reason


class Action(StrEnum):
    """What a refused person can do next."""

    SIGN_IN = "sign-in"
    RETRY = "retry"
    START = "start"
    NONE = "none"


class Told(NamedTuple):
    """A refusal in the words of its page."""

    title: Text
    advice: Text
    action: Action


_AGAIN: Final = Text("Please sign in again", "Reconnectez-vous")
_NOT_ACCEPTED: Final = Text("Your sign-in was not accepted", "Votre connexion n’a pas été acceptée")
_SAFETY: Final = Text("You were signed out for your safety", "Votre session a été fermée par sécurité")

TOLD: Final[dict[Reason, Told]] = {
    Reason.BAD_REQUEST: Told(
        Text("This request cannot be read", "Cette demande est illisible"),
        Text(
            "Your browser sent something that this site does not understand. Starting again from the first page often helps.",
            "Votre navigateur a envoyé quelque chose que ce site ne comprend pas. Repartir de la page d’accueil suffit souvent.",
        ),
        Action.START,
    ),
    Reason.TOO_LARGE: Told(
        Text("Your browser sent too much at once", "Votre navigateur a trop envoyé d’un coup"),
        Text(
            "Often these are old cookies. Delete those of this site in your browser, then try again.",
            "Il s’agit souvent d’anciens cookies. Supprimez ceux de ce site dans votre navigateur, puis réessayez.",
        ),
        Action.RETRY,
    ),
    Reason.NO_ROUTE: Told(
        Text("There is nothing at this address", "Il n’y a rien à cette adresse"),
        Text("Please check it for a typing mistake.", "Vérifiez qu’elle ne contient pas de faute de frappe."),
        Action.START,
    ),
    Reason.STORE_UNAVAILABLE: Told(
        Text("We cannot check your sign-in right now", "Nous ne pouvons pas vérifier votre connexion"),
        Text(
            "Nothing is wrong with it, and you stay signed in. Please try again in a moment.",
            "Elle n’est pas en cause, et votre session reste ouverte. Réessayez dans un instant.",
        ),
        Action.RETRY,
    ),
    Reason.NO_TOKEN: Told(
        Text("Please sign in", "Connectez-vous"),
        Text("This page is for people who are signed in.", "Cette page est réservée aux personnes connectées."),
        Action.SIGN_IN,
    ),
    Reason.MALFORMED_TOKEN: Told(
        _NOT_ACCEPTED,
        Text("It cannot be read. Signing in again repairs that.", "Elle est illisible. Se reconnecter règle le problème."),
        Action.SIGN_IN,
    ),
    Reason.BAD_SIGNATURE: Told(
        _NOT_ACCEPTED,
        Text(
            "Its signature does not match. If signing in again does not help, tell the people who run this site.",
            "Sa signature ne correspond pas. Si se reconnecter ne suffit pas, prévenez les responsables de ce site.",
        ),
        Action.SIGN_IN,
    ),
    Reason.UNKNOWN_KEY: Told(
        _NOT_ACCEPTED,
        Text(
            "It was signed with a key that this site does not know. Signing in again usually helps.",
            "Elle a été signée avec une clé que ce site ne connaît pas. Se reconnecter suffit en général.",
        ),
        Action.SIGN_IN,
    ),
    Reason.WRONG_ISSUER: Told(
        _NOT_ACCEPTED,
        Text("It comes from a service that has no say here.", "Elle vient d’un service qui n’est pas reconnu ici."),
        Action.SIGN_IN,
    ),
    Reason.WRONG_AUDIENCE: Told(
        _NOT_ACCEPTED,
        Text("It was made for another site.", "Elle a été établie pour un autre site."),
        Action.SIGN_IN,
    ),
    Reason.RETIRED_KEY: Told(
        _AGAIN,
        Text(
            "This site has retired the key that your sign-in was signed with.",
            "Ce site a retiré la clé avec laquelle votre connexion avait été signée.",
        ),
        Action.SIGN_IN,
    ),
    Reason.EXPIRED_TOKEN: Told(
        _AGAIN,
        Text("Your sign-in has run out.", "Votre connexion a expiré."),
        Action.SIGN_IN,
    ),
    Reason.NOT_YET_VALID: Told(
        Text("Your sign-in is not valid yet", "Votre connexion n’est pas encore valable"),
        Text("Two clocks disagree. Please try again in a minute.", "Deux horloges se contredisent. Réessayez dans une minute."),
        Action.RETRY,
    ),
    Reason.LIFETIME_TOO_LONG: Told(
        _NOT_ACCEPTED,
        Text("It would last longer than this site allows.", "Elle durerait plus longtemps que ce site ne le permet."),
        Action.SIGN_IN,
    ),
    Reason.REVOKED_TOKEN: Told(
        _AGAIN,
        Text("Your sign-in was withdrawn.", "Votre connexion a été retirée."),
        Action.SIGN_IN,
    ),
    Reason.OLD_VERSION: Told(
        _AGAIN,
        Text(
            "Every device was signed out, or the password was changed.",
            "Tous les appareils ont été déconnectés, ou le mot de passe a été changé.",
        ),
        Action.SIGN_IN,
    ),
    Reason.REVOKED_SESSION: Told(
        Text("This device was signed out", "Cet appareil a été déconnecté"),
        Text(
            "By you, from another device, by the people who run this site, or because your sign-in was used elsewhere.",
            "Par vous, depuis un autre appareil, par les responsables de ce site, ou parce que votre connexion a servi ailleurs.",
        ),
        Action.SIGN_IN,
    ),
    Reason.UNKNOWN_SESSION: Told(
        _AGAIN,
        Text("Your session is over, or this site has lost it.", "Votre session est terminée, ou ce site l’a perdue."),
        Action.SIGN_IN,
    ),
    Reason.REFRESH_REUSED: Told(
        _SAFETY,
        Text(
            "Your sign-in was used a second time, perhaps by somebody else. "
            "If you cannot explain it, change your password after signing in.",
            "Votre connexion a servi une seconde fois, peut-être entre d’autres mains. "
            "Si vous ne savez pas pourquoi, reconnectez-vous et changez de mot de passe.",
        ),
        Action.SIGN_IN,
    ),
    Reason.DEVICE_CHANGED: Told(
        _SAFETY,
        Text(
            "Your sign-in was used from another device or browser than the one that made it.",
            "Votre connexion a été utilisée depuis un autre appareil ou navigateur que celui d’origine.",
        ),
        Action.SIGN_IN,
    ),
    Reason.NETWORK_CHANGED: Told(
        _SAFETY,
        Text(
            "Your sign-in was used from another network than the one it was made on.",
            "Votre connexion a été utilisée depuis un autre réseau que celui d’origine.",
        ),
        Action.SIGN_IN,
    ),
    Reason.COUNTRY_CHANGED: Told(
        _SAFETY,
        Text(
            "Your sign-in was used from another country than the one it was made in.",
            "Votre connexion a été utilisée depuis un autre pays que celui d’origine.",
        ),
        Action.SIGN_IN,
    ),
    Reason.BLOCKED_USER: Told(
        Text("This account is blocked", "Ce compte est bloqué"),
        Text(
            "The people who run this site can tell you why, and lift it.",
            "Les responsables de ce site peuvent vous dire pourquoi, et le débloquer.",
        ),
        Action.NONE,
    ),
    Reason.CSRF: Told(
        Text("That came from another site", "Cela venait d’un autre site"),
        Text(
            "For your safety, nothing was done. If it was you, open the page here and do it again.",
            "Par sécurité, rien n’a été fait. Si c’était vous, ouvrez la page ici et recommencez.",
        ),
        Action.START,
    ),
    Reason.FORBIDDEN: Told(
        Text("You do not have access to this", "Vous n’y avez pas accès"),
        Text(
            "You are signed in, but your account may not do that. The people who run this site can change it.",
            "Votre compte est reconnu, mais n’y est pas autorisé. Les responsables de ce site peuvent y remédier.",
        ),
        Action.START,
    ),
    Reason.REPLAYED_TOKEN: Told(
        Text("This was used before", "Cela a déjà servi"),
        Text(
            "It works only once. Please start again from the beginning.",
            "Cela ne fonctionne qu’une fois. Recommencez depuis le début.",
        ),
        Action.START,
    ),
    Reason.UPSTREAM_UNREACHABLE: Told(
        Text("The application is not running", "L’application n’est pas en service"),
        Text(
            "Nothing is wrong with your sign-in. Please try again in a minute.",
            "Votre connexion n’est pas en cause. Réessayez dans une minute.",
        ),
        Action.RETRY,
    ),
    Reason.UPSTREAM_TIMEOUT: Told(
        Text("The application is slow to answer", "L’application tarde à répondre"),
        Text(
            "Your request may have been carried out all the same: look before you send it again.",
            f"Votre demande a peut-être abouti malgré tout{NBSP}: vérifiez avant de la renvoyer.",
        ),
        Action.RETRY,
    ),
}

_OURS: Final = Told(
    Text("Something went wrong on our side", "Une erreur s’est produite de notre côté"),
    Text(
        "Please try again in a moment. If it stays so, tell the people who run this site the reference below.",
        "Réessayez dans un instant. Si cela persiste, transmettez la référence ci-dessous aux responsables de ce site.",
    ),
    Action.RETRY,
)

TOLD_BY_STATUS: Final[dict[int, Told]] = {
    400: TOLD[Reason.BAD_REQUEST],
    401: TOLD[Reason.NO_TOKEN],
    403: TOLD[Reason.FORBIDDEN],
    404: TOLD[Reason.NO_ROUTE],
    405: Told(
        Text("That cannot be done here", "Cela n’est pas possible ici"),
        Text(
            "The page exists, but it does not answer to what your browser asked of it.",
            "La page existe, mais elle ne répond pas à ce que votre navigateur lui a demandé.",
        ),
        Action.START,
    ),
    413: Told(
        Text("That is too large to send", "C’est trop volumineux"),
        Text("Please choose a smaller file.", "Choisissez un fichier plus petit."),
        Action.NONE,
    ),
    414: Told(
        Text("The address is too long", "L’adresse est trop longue"),
        Text(
            "Part of it may have been pasted twice. Please check it.",
            "Une partie a peut-être été collée deux fois. Vérifiez-la.",
        ),
        Action.START,
    ),
    429: Told(
        Text("Too many requests", "Trop de demandes"),
        Text("Please wait a minute, then try again.", "Patientez une minute, puis réessayez."),
        Action.RETRY,
    ),
    431: TOLD[Reason.TOO_LARGE],
    500: _OURS,
    502: TOLD[Reason.UPSTREAM_UNREACHABLE],
    503: Told(
        Text("That is not possible at the moment", "C’est impossible pour le moment"),
        Text("Please try again in a minute.", "Réessayez dans une minute."),
        Action.RETRY,
    ),
    504: TOLD[Reason.UPSTREAM_TIMEOUT],
}


def told(reason: Reason | None, status: int) -> Told:
    """What to tell a person. A status that is not the reason's own says more (413 of `too-large`)."""
    if reason in TOLD and (status == REFUSALS[reason].status or status not in TOLD_BY_STATUS):
        return TOLD[reason]
    return TOLD_BY_STATUS.get(status) or TOLD_BY_STATUS[500 if status >= 500 else 400]
