"""A revocation-aware reverse proxy: the doorman in front of applications that know nothing about tokens."""

__version__ = "0.1.0"
