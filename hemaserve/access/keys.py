"""API keys: made here, shown once, and known from then on by their digest only.

A key is `hsk_<id>_<secret>`, with 256 random bits in its secret. That is why a plain SHA-256 keeps it: there is nothing
to guess, so a slow hash (bcrypt, Argon2) would protect nothing, and let any stranger burn our time with wrong keys.
"""

import hashlib
import hmac
import re
import secrets
from typing import Final

PREFIX: Final = "hsk_"
ID_FORM: Final = re.compile(r"[0-9a-f]{12}")
DIGEST_FORM: Final = re.compile(r"[0-9a-f]{64}")
_FORM: Final = re.compile(r"hsk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


def make_key() -> tuple[str, str]:
    """A new key: its id, and the key itself."""
    key_id = secrets.token_hex(6)
    return key_id, f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"


def key_id_of(key: str) -> str | None:
    """The id in a key; None when this is no key of ours."""
    found = _FORM.fullmatch(key)
    return None if found is None else found[1]


def digest(key: str) -> str:
    """What is kept of a key: SHA-256, in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def matches(key: str, sha256: str) -> bool:
    """Whether a digest is this key's; takes the same time wherever they differ."""
    return hmac.compare_digest(digest(key), sha256)
