"""Public keys that anybody could sign for: what makes an RSA or Ed25519 key worthless although it parses.

It owns nothing: numbers in, `KeySetError` out. Lengths and labels are judged in `jwk.py`; points on the NIST curves by
the library that loads them.
"""

from math import gcd, prod
from typing import Final

from gateway.errors import KeySetError

_MIN_RSA_BITS: Final = 2048  # NIST SP 800-131A
_MAX_RSA_BITS: Final = 8192  # beyond it one verification costs more than 0.5 ms, and a key set could slow everybody
_SMALL_PRIMES: Final = tuple(n for n in range(3, 168, 2) if all(n % d for d in range(3, n, 2)))


def refuse_weak_rsa(modulus: int, exponent: int) -> None:
    """Raise for a modulus that can be factored, and for an exponent that makes every signature valid (1) or none (even)."""
    bits = modulus.bit_length()
    if not _MIN_RSA_BITS <= bits <= _MAX_RSA_BITS:
        raise KeySetError(f"an RSA key of {bits} bits: {_MIN_RSA_BITS} to {_MAX_RSA_BITS} are accepted")
    if exponent % 2 == 0 or not 65537 <= exponent < 2**64:  # FIPS 186-5 section 5.4; 3 invites padding forgeries
        raise KeySetError("an RSA key whose public exponent is even, below 65537 or above 64 bits")
    if modulus % 2 == 0 or gcd(modulus, prod(_SMALL_PRIMES)) != 1:
        raise KeySetError("an RSA key whose modulus has a small factor")
    if all(modulus % prime in residues for prime, residues in _ROCA_RESIDUES):
        raise KeySetError("an RSA key with the ROCA fingerprint (CVE-2017-15361): its private half can be computed")


def _powers(base: int, modulus: int) -> frozenset[int]:
    return frozenset(pow(base, exponent, modulus) for exponent in range(modulus))


# CVE-2017-15361: the flawed chips chose primes of the form k·M + (65537^a mod M), where M is the product of the first
# primes. So the modulus is a power of 65537 modulo each of them. A good key is so for all 38 with a chance of 2^-27.
_ROCA_RESIDUES: Final = tuple((prime, _powers(65537, prime)) for prime in _SMALL_PRIMES)

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ORDER_EIGHT_Y: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7  # y of the points of order 8
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _ORDER_EIGHT_Y, _P - _ORDER_EIGHT_Y})


def refuse_weak_ed25519(public: bytes) -> None:
    """Raise for 32 bytes that are no point, spell one in a second way, or are a point of small order.

    Under a key of small order one and the same signature fits every message (RFC 8032 leaves this to the caller, and the
    library loads any 32 bytes).
    """
    y = int.from_bytes(public, "little") & (2**255 - 1)
    if y >= _P or not _is_square((y * y - 1) * pow(_D * y * y + 1, -1, _P)):
        raise KeySetError("an Ed25519 key that is not a point of the curve")
    if y in _SMALL_ORDER_Y:
        raise KeySetError("an Ed25519 key of small order: one signature would fit every message")


def _is_square(number: int) -> bool:
    return pow(number, (_P - 1) // 2, _P) in (0, 1)
