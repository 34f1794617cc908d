"""Passwords: argon2id hashes, what a new one must look like, and the first account of an installation."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from incidents import accounts, lifecycle
from incidents.session import Database

#: OWASP's smallest recommended cost: 19 MiB, 2 passes; the library's default takes most of a second on 2 cores
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
#: how many passwords are checked at once: a flood of log-ins must not starve the desk
_TURNS = threading.BoundedSemaphore(2)
#: compared against when the login name is unknown, so that both answers take equally long
_NOBODY = _HASHER.hash(secrets.token_hex(16))
MIN_LENGTH = 8
#: what everybody tries first, in small letters; only those that meet the other rules
_COMMON = frozenset(
    [
        "admin@123",
        "admin@1234",
        "admin@12345",
        "admin@123456",
        "admin123!",
        "admin#123",
        "admin_123",
        "admin-123",
        "administrator1!",
        "password1!",
        "password@1",
        "password@123",
        "password123!",
        "passw0rd!",
        "p@ssw0rd",
        "p@ssw0rd1",
        "p@ssw0rd123",
        "p@ssword1",
        "qwer1234!",
        "qwer@1234",
        "qwerty@123",
        "qwerty123!",
        "1qaz@wsx",
        "1qaz!qaz",
        "1qaz2wsx!",
        "!qaz2wsx",
        "zaq1@wsx",
        "abc@1234",
        "abc@12345",
        "abc123456!",
        "abcd@1234",
        "abcd1234!",
        "aa@123456",
        "aa123456!",
        "aa123456",
        "aa12345678",
        "a1234567",
        "a12345678",
        "a123456789",
        "asdf@1234",
        "zxcv@1234",
        "welcome1",
        "welcome@1",
        "welcome@123",
        "welcome123",
        "huawei@123",
        "huawei123",
        "root@123",
        "root@1234",
        "test@123",
        "test@1234",
        "changeme1",
        "changeme@123",
        "woaini1314",
        "woaini@1314",
        "woaini520",
        "jinan@123",
        "jinan@2024",
        "jinan@2025",
        "jinan@2026",
        "quansheng@123",
        "quansheng123",
        "iloveyou1",
        "letmein1!",
        "passw0rd1",
        "password1",
        "password123",
        "qwerty123",
        "abc123456",
        "abcd12345",
    ]
)
FIRST_LOGIN = "admin"
#: no characters that look alike on a printout
_ALPHABET = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789"


def hash_password(password: str) -> str:
    """The argon2id hash to store."""
    with _TURNS:
        return _HASHER.hash(password)


def verify_password(stored: str | None, password: str) -> bool:
    """Whether the password is right; False, after the same time, when there is no such account."""
    with _TURNS:
        try:
            return _HASHER.verify(stored or _NOBODY, password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


def weakness(password: str, login: str, *, length: int = MIN_LENGTH, classes: int = 3) -> str:
    """Why a new password is refused (a msgid with `{length}` and `{classes}`), or an empty text. Rule: 等保 2.0 practice."""
    if len(password) < length:
        return "新密码至少 {length} 位。"
    if len(password) > 200:
        return "新密码不能超过 200 位。"
    kinds = (str.islower, str.isupper, str.isdigit, lambda char: not char.isalnum())
    if sum(any(kind(char) for char in password) for kind in kinds) < classes:
        return "新密码须含大写字母、小写字母、数字、符号中的至少 {classes} 类。"
    if login and login.lower() in password.lower():
        return "新密码不能包含登录名。"
    if password.lower() in _COMMON:
        return "新密码太常见，请换一个。"
    return ""


def used_before(stored: Iterable[str], password: str) -> bool:
    """Whether it is one of these earlier passwords."""
    return any(one and verify_password(one, password) for one in stored)


def generate_password() -> str:
    """Four groups of four letters and digits: 90 bits, can be typed from paper."""
    while True:
        groups = ["".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4)]
        password = "-".join(groups)
        if not weakness(password, FIRST_LOGIN):
            return password


def ensure_first_account(
    db: Database, data_path: Path, now: datetime, *, must_change: bool = True
) -> str | None:
    """Make the first account when there is none; returns its password once, None when accounts exist.

    The password is also written to `first-password.txt` (0600) in the data folder, because a service's
    output is easily lost; the file is removed when the password is changed.
    """
    with db.reading() as session:
        if accounts.count_accounts(session):
            return None
    password = generate_password()
    hashed = hash_password(password)
    with db.transaction() as session:
        if accounts.count_accounts(session):
            return None  # another process was faster
        accounts.create_account(
            session,
            login=FIRST_LOGIN,
            display_name="管理员",
            role="administrator",
            password_hash=hashed,
            must_change=must_change,
            now=now,
        )
        lifecycle.record_act(
            session, "account_created", {"login": FIRST_LOGIN}, actor="system", channel="system", now=now
        )
    data_path.mkdir(parents=True, exist_ok=True)
    file = first_password_file(data_path)
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(f"{FIRST_LOGIN}\n{password}\n")
    return password


def first_password_file(data_path: Path) -> Path:
    """Where the generated first password lies until it is changed."""
    return data_path / "first-password.txt"
