"""Passwords are masked wherever text leaves the program: messages, logs, records, exports."""

import re
from urllib.parse import quote, quote_plus

_CREDENTIALS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://[^\s:/]*):[^\s/]*@", re.IGNORECASE)
_KEYWORD_PASSWORD = re.compile(r"""(password\s*=\s*)('[^']*'|"[^"]*"|[^\s&"]+)""", re.IGNORECASE)
_SHORTEST = 6  # a shorter password would mask pieces of innocent words
_known: set[str] = set()


def remember_secret(secret: str | None) -> None:
    """Mask this password from now on wherever it appears, also cut out of its address by a library."""
    if secret and len(secret) >= _SHORTEST:
        _known.update((secret, quote(secret, safe=""), quote_plus(secret)))


def mask(text: str) -> str:
    """`text` without the passwords of URLs and of `password=...`, nor any that was remembered.

    In a URL everything between the user's colon and the last @ of its server part is the password.
    """
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _CREDENTIALS.sub(r"\g<scheme>:***@", text)
    return _KEYWORD_PASSWORD.sub(r"\1***", text)
