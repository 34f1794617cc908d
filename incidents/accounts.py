"""Accounts of the people who work with the console, and their sessions. Passwords arrive here hashed."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from incidents.models import Account, LoginSession

#: failures in a row until an account is locked, and for how long (等保 2.0 practice)
MAX_FAILURES = 5
LOCK = timedelta(minutes=30)

ROLES = ("duty", "analyst", "department", "supervisor", "leader", "administrator", "auditor")


@dataclass(frozen=True)
class AccountView:
    """One account; `password_hash` never leaves the server."""

    id: int
    login: str
    display_name: str
    role: str
    department: str
    password_hash: str
    must_change: bool
    failures: int
    locked_until: datetime | None
    disabled: bool


@dataclass(frozen=True)
class SessionView:
    """A live session and whose it is."""

    account: AccountView
    csrf: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


def _view(row: Account) -> AccountView:
    return AccountView(
        id=row.id,
        login=row.login,
        display_name=row.display_name,
        role=row.role,
        department=row.department,
        password_hash=row.password_hash,
        must_change=row.must_change,
        failures=row.failures,
        locked_until=row.locked_until,
        disabled=row.disabled,
    )


def count_accounts(session: Session) -> int:
    """How many accounts there are; none means that the first one has to be made."""
    return session.scalar(select(func.count()).select_from(Account)) or 0


def create_account(
    session: Session,
    *,
    login: str,
    display_name: str,
    role: str,
    password_hash: str,
    now: datetime,
    department: str = "",
    must_change: bool = True,
) -> AccountView:
    """Add an account. Raises ValueError for an unknown role or a login that is taken."""
    if role not in ROLES:
        raise ValueError(f"role {role!r}: one of {', '.join(ROLES)} expected")
    if get_by_login(session, login) is not None:
        raise ValueError(f"login {login!r} is taken; choose another one")
    row = Account(
        login=login,
        display_name=display_name,
        role=role,
        department=department,
        password_hash=password_hash,
        must_change=must_change,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return _view(row)


def get_by_login(session: Session, login: str) -> AccountView | None:
    """The account with this login name, or None."""
    row = session.scalar(select(Account).where(Account.login == login))
    return _view(row) if row else None


def get_account(session: Session, account_id: int) -> AccountView | None:
    """The account with this number, or None."""
    row = session.get(Account, account_id)
    return _view(row) if row else None


def list_accounts(session: Session) -> list[AccountView]:
    """All accounts by login name."""
    return [_view(row) for row in session.scalars(select(Account).order_by(Account.login))]


def record_failure(session: Session, account_id: int, now: datetime) -> datetime | None:
    """Count a wrong password; returns until when the account is locked now, or None."""
    row = session.get_one(Account, account_id)
    row.failures += 1
    if row.failures >= MAX_FAILURES:
        row.failures, row.locked_until = 0, now + LOCK
    return row.locked_until if row.locked_until and row.locked_until > now else None


def record_success(session: Session, account_id: int) -> None:
    """Forget earlier failures."""
    row = session.get_one(Account, account_id)
    row.failures, row.locked_until = 0, None


def set_password(session: Session, account_id: int, password_hash: str, *, must_change: bool = False) -> None:
    """Store a new password hash and end every session of the account."""
    row = session.get_one(Account, account_id)
    row.password_hash, row.must_change = password_hash, must_change
    session.execute(delete(LoginSession).where(LoginSession.account_id == account_id))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def open_session(session: Session, account_id: int, now: datetime, *, valid: timedelta) -> tuple[str, str]:
    """Start a session; returns the cookie's value (stored nowhere) and the CSRF token."""
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    session.execute(delete(LoginSession).where(LoginSession.expires_at < now))
    session.add(
        LoginSession(
            token_sha256=_digest(token),
            account_id=account_id,
            csrf=csrf,
            created_at=now,
            last_seen_at=now,
            expires_at=now + valid,
        )
    )
    session.flush()
    return token, csrf


def get_session(session: Session, token: str, now: datetime, *, idle: timedelta) -> SessionView | None:
    """The live session of a cookie, or None when unknown, expired, idle too long or of a disabled account."""
    row = session.get(LoginSession, _digest(token))
    if row is None or row.expires_at <= now or row.last_seen_at + idle <= now:
        return None
    account = session.get_one(Account, row.account_id)
    if account.disabled:
        return None
    return SessionView(_view(account), row.csrf, row.created_at, row.last_seen_at, row.expires_at)


def touch_session(session: Session, token: str, now: datetime) -> None:
    """Note that the person is still there."""
    row = session.get(LoginSession, _digest(token))
    if row is not None:
        row.last_seen_at = now


def close_session(session: Session, token: str) -> None:
    """Log out."""
    session.execute(delete(LoginSession).where(LoginSession.token_sha256 == _digest(token)))
