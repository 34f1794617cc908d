"""Secret keys of one installation, all derived from one file that never enters the database."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from config.settings import ConfigError


@dataclass(frozen=True)
class Keys:
    """One key for each purpose, 32 bytes each."""

    pseudonym: bytes = field(repr=False)  # HMAC of authors
    audit: bytes = field(repr=False)  # chain of events
    links: bytes = field(repr=False)  # signed acknowledgement links
    sessions: bytes = field(repr=False)  # CSRF tokens and cookies
    evidence: bytes = field(repr=False)  # encrypts the originals of posts (incidents.vault)

    @classmethod
    def derive(cls, secret: bytes) -> Keys:
        """Derive all keys from one secret of at least 32 bytes."""
        if len(secret) < 32:
            raise ConfigError([f"the secret has {len(secret)} bytes; at least 32 are needed"])
        return cls(
            *(
                hmac.digest(secret, f"quansheng/{use}/1".encode(), hashlib.sha256)
                for use in ("pseudonym", "audit", "links", "sessions", "evidence")
            )
        )


def load_keys(data_path: Path) -> Keys:
    """Read `secret.key` in the data folder; make it once, readable by its owner only.

    Losing this file breaks old links, pseudonyms and the proof of the event chain, and nobody can read the evidence any more:
    back it up apart from the database.
    """
    file = data_path / "secret.key"
    try:
        return Keys.derive(_secret(file))
    except OSError as exc:
        raise ConfigError(
            [
                f"{file}: cannot be read or made: {exc.strerror}; give this account the right to, or choose another data_dir"
            ]
        ) from exc


def _secret(file: Path) -> bytes:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        # whole content in one write, then fsync: a crash must not leave half a key
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_hex(32).encode())
            stream.flush()
            os.fsync(stream.fileno())
    try:
        secret = bytes.fromhex(file.read_text("ascii").strip())
    except ValueError as exc:
        raise ConfigError(
            [f"{file}: not a key (hexadecimal digits expected); restore it from your backup"]
        ) from exc
    if len(secret) < 32:
        raise ConfigError(
            [
                f"{file}: {len(secret)} bytes; 32 expected; restore it from your backup, or delete it if it never was in use"
            ]
        )
    return secret
