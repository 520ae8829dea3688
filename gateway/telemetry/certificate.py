"""Until when the certificate is good that clients are shown: asked by each worker of the file from which it has just loaded it.

So what is told is what is in force: a file that was replaced since says nothing until a worker has loaded it.
"""

import logging
from pathlib import Path
from typing import Final

from cryptography import x509

logger: Final = logging.getLogger("gateway.worker")


def expiry_of(chain: Path) -> float:
    """The `notAfter` of the first certificate in a PEM file, seconds since 1970; 0: it cannot be read, which is told."""
    try:
        return x509.load_pem_x509_certificate(chain.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError) as error:  # OpenSSL may take what this library refuses
        logger.warning("until when the certificate %s is good cannot be told: %s", chain, type(error).__name__)
        return 0.0
