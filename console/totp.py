"""One-time codes (RFC 6238) as second factor: secrets sealed with a key outside the database, each code taken once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime

import pyotp
import segno
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: seconds of one code; the code before and after are taken too, because telephones' clocks differ
PERIOD = 30
DRIFT = 1
RECOVERY_CODES = 10
#: no characters that look alike on paper
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def _key(sessions: bytes, use: str) -> bytes:
    return hmac.digest(sessions, f"totp/{use}/1".encode(), hashlib.sha256)


def new_secret() -> str:
    """160 random bits, as an authenticator app takes them."""
    return pyotp.random_base32()


def seal(sessions: bytes, secret: str, login: str) -> str:
    """The secret as it may lie in the database: readable with the installation's key and for this account only."""
    nonce = secrets.token_bytes(12)
    return (nonce + AESGCM(_key(sessions, "seal")).encrypt(nonce, secret.encode(), login.encode())).hex()


def unseal(sessions: bytes, sealed: str, login: str) -> str:
    """The secret again. Raises ValueError when it is another account's or was sealed with another key."""
    raw = bytes.fromhex(sealed)
    try:
        return AESGCM(_key(sessions, "seal")).decrypt(raw[:12], raw[12:], login.encode()).decode()
    except InvalidTag as exc:
        raise ValueError("the secret of the one-time codes cannot be read with this key") from exc


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step whose code this is, or None. Which one is used up is for incidents.accounts.take_step."""
    totp, present = pyotp.TOTP(secret, interval=PERIOD), int(now.timestamp()) // PERIOD
    given = code.replace(" ", "")
    found = None
    for step in range(present - DRIFT, present + DRIFT + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), given.encode()):
            found = step
    return found


def address(secret: str, login: str, issuer: str) -> str:
    """What an authenticator app reads from the picture."""
    return pyotp.TOTP(secret, interval=PERIOD).provisioning_uri(name=login, issuer_name=issuer)


def picture(text: str) -> str:
    """A QR code as SVG: no script, no style, nothing from outside."""
    return str(
        segno.make(text, error="m").svg_inline(scale=5, border=4, dark="#000", light="#fff", omitsize=False)
    )


def new_recovery() -> list[str]:
    """Codes for the day on which the telephone is lost, once each."""
    return [
        "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(2))
        for _ in range(RECOVERY_CODES)
    ]


def recovery_hash(sessions: bytes, code: str) -> str:
    """What is stored of one: useless without the installation's key."""
    return hmac.new(_key(sessions, "recovery"), code.strip().lower().encode(), hashlib.sha256).hexdigest()
