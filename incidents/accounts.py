"""Accounts of the people who work with the console, and their sessions. Passwords arrive here hashed."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from config.accounts import ROLES
from incidents.models import Account, LoginSession, RecoveryCode, UsedPassword

#: failures in a row until an account is locked, and for how long (等保 2.0 practice)
MAX_FAILURES = 5
LOCK = timedelta(minutes=30)


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
    created_at: datetime
    password_set_at: datetime | None
    #: which sign-in service answers for the person, and the name there
    origin: str = "local"
    subject: str = ""
    totp_sealed: str = ""
    totp_on: bool = False

    def password_age(self, now: datetime) -> timedelta:
        """How long the password has been in use."""
        return now - (self.password_set_at or self.created_at)


@dataclass(frozen=True)
class SessionView:
    """A live session and whose it is."""

    account: AccountView
    csrf: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    handle: str = ""
    device: str = ""
    origin: str = "local"
    #: what is still missing before it counts: "" nothing | code | enrol
    pending: str = ""


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
        created_at=row.created_at,
        password_set_at=row.password_set_at,
        origin=row.origin,
        subject=row.subject,
        totp_sealed=row.totp_sealed,
        totp_on=row.totp_on,
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
    origin: str = "local",
    subject: str = "",
) -> AccountView:
    """Add an account. `password_hash` is empty for people whom another service knows. Raises ValueError for an unknown role or a login that is taken."""
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
        password_set_at=now,
        origin=origin,
        subject=subject,
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


def get_by_subject(session: Session, origin: str, subject: str) -> AccountView | None:
    """The account of a person whom another sign-in service knows by this name, or None."""
    row = session.scalar(select(Account).where(Account.origin == origin, Account.subject == subject))
    return _view(row) if row else None


def record_failure(
    session: Session, account_id: int, now: datetime, *, most: int = MAX_FAILURES, lock: timedelta = LOCK
) -> datetime | None:
    """Count a wrong password or code; returns until when the account is locked now, or None."""
    # the row is locked: of many tries at once each one counts
    row = session.scalars(select(Account).where(Account.id == account_id).with_for_update()).one()
    row.failures += 1
    if row.failures >= most:
        row.failures, row.locked_until = 0, now + lock
    return row.locked_until if row.locked_until and row.locked_until > now else None


def record_success(session: Session, account_id: int) -> None:
    """Forget earlier failures."""
    row = session.get_one(Account, account_id)
    row.failures, row.locked_until = 0, None


def set_password(
    session: Session,
    account_id: int,
    password_hash: str,
    *,
    must_change: bool = False,
    now: datetime | None = None,
    keep: int = 0,
) -> None:
    """Store a new password hash, remember the last `keep` ones before it, and end every session of the account."""
    row = session.get_one(Account, account_id)
    if keep and row.password_hash:
        session.add(
            UsedPassword(
                account_id=account_id,
                password_hash=row.password_hash,
                set_at=row.password_set_at or row.created_at,
            )
        )
        session.flush()
    old = list(
        session.scalars(
            select(UsedPassword.id)
            .where(UsedPassword.account_id == account_id)
            .order_by(UsedPassword.id.desc())
            .offset(keep)
        )
    )
    session.execute(delete(UsedPassword).where(UsedPassword.id.in_(old)))
    row.password_hash, row.must_change = password_hash, must_change
    row.password_set_at = now or row.password_set_at
    end_sessions(session, account_id)


def used_hashes(session: Session, account_id: int, limit: int) -> list[str]:
    """Hashes of the last `limit` passwords, the present one first."""
    row = session.get_one(Account, account_id)
    earlier = session.scalars(
        select(UsedPassword.password_hash)
        .where(UsedPassword.account_id == account_id)
        .order_by(UsedPassword.id.desc())
        .limit(max(0, limit - 1))
    )
    return [row.password_hash, *earlier][:limit]


def change(
    session: Session,
    account_id: int,
    *,
    display_name: str | None = None,
    role: str | None = None,
    department: str | None = None,
    disabled: bool | None = None,
) -> AccountView:
    """Change what a person may do. A new role or department and disabling end every session of the account."""
    row = session.get_one(Account, account_id)
    if role is not None and role not in ROLES:
        raise ValueError(f"role {role!r}: one of {', '.join(ROLES)} expected")
    before = (row.role, row.department, row.disabled)
    row.display_name = row.display_name if display_name is None else display_name
    row.role = row.role if role is None else role
    row.department = row.department if department is None else department
    row.disabled = row.disabled if disabled is None else disabled
    if before != (row.role, row.department, row.disabled):
        end_sessions(session, account_id)
    session.flush()
    return _view(row)


# --- one-time codes --------------------------------------------------------------------------------------------


def set_totp(session: Session, account_id: int, sealed: str, *, on: bool) -> None:
    """Store a sealed secret; `on` once the person has typed a code made from it. An empty one ends the second factor."""
    row = session.get_one(Account, account_id)
    row.totp_sealed, row.totp_on, row.totp_step = sealed, on, 0
    if not sealed:
        session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))


def take_step(session: Session, account_id: int, step: int) -> bool:
    """Use up the code of one time step; False when it or a later one was used already."""
    done = session.execute(
        update(Account).where(Account.id == account_id, Account.totp_step < step).values(totp_step=step)
    )
    return bool(getattr(done, "rowcount", 0))


def put_recovery(session: Session, account_id: int, hashes: Iterable[str]) -> None:
    """Replace the recovery codes of an account."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
    session.add_all([RecoveryCode(account_id=account_id, code_sha256=one) for one in hashes])
    session.flush()


def use_recovery(session: Session, account_id: int, code_hash: str) -> bool:
    """Use up one recovery code; False when there is no such code any more."""
    done = session.execute(
        delete(RecoveryCode).where(
            RecoveryCode.account_id == account_id, RecoveryCode.code_sha256 == code_hash
        )
    )
    return bool(getattr(done, "rowcount", 0))


def count_recovery(session: Session, account_id: int) -> int:
    """How many recovery codes are left."""
    query = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.account_id == account_id)
    return session.scalar(query) or 0


# --- sessions --------------------------------------------------------------------------------------------------


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def open_session(
    session: Session,
    account_id: int,
    now: datetime,
    *,
    valid: timedelta,
    device: str = "",
    origin: str = "local",
    pending: str = "",
    most: int = 0,
) -> tuple[str, str]:
    """Start a session; returns the cookie's value (stored nowhere) and the CSRF token.

    `most` (0: no limit): of more sessions of the account than this the oldest end.
    """
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
            handle=secrets.token_hex(8),
            device=device[:160],
            origin=origin,
            pending=pending,
        )
    )
    session.flush()
    if most and not pending:
        rows = session.scalars(
            select(LoginSession)
            .where(LoginSession.account_id == account_id, LoginSession.pending == "")
            .order_by(LoginSession.created_at.desc(), LoginSession.last_seen_at.desc())
        ).all()
        mine = _digest(token)
        for row in [row for row in rows if row.token_sha256 != mine][most - 1 :]:
            session.delete(row)
        session.flush()
    return token, csrf


def _session_view(session: Session, row: LoginSession, account: Account) -> SessionView:
    return SessionView(
        _view(account),
        row.csrf,
        row.created_at,
        row.last_seen_at,
        row.expires_at,
        row.handle,
        row.device,
        row.origin,
        row.pending,
    )


def get_session(session: Session, token: str, now: datetime, *, idle: timedelta) -> SessionView | None:
    """The live session of a cookie, or None when unknown, expired, idle too long or of a disabled account."""
    row = session.get(LoginSession, _digest(token))
    if row is None or row.expires_at <= now or row.last_seen_at + idle <= now:
        return None
    account = session.get_one(Account, row.account_id)
    return None if account.disabled else _session_view(session, row, account)


def list_sessions(session: Session, account_id: int, now: datetime, *, idle: timedelta) -> list[SessionView]:
    """Live sessions of one account, the last used first."""
    account = session.get_one(Account, account_id)
    rows = session.scalars(
        select(LoginSession)
        .where(
            LoginSession.account_id == account_id, LoginSession.expires_at > now, LoginSession.pending == ""
        )
        .order_by(LoginSession.last_seen_at.desc())
    )
    return [_session_view(session, row, account) for row in rows if row.last_seen_at + idle > now]


def touch_session(session: Session, token: str, now: datetime) -> None:
    """Note that the person is still there."""
    row = session.get(LoginSession, _digest(token))
    if row is not None:
        row.last_seen_at = now


def close_session(session: Session, token: str) -> None:
    """Log out."""
    session.execute(delete(LoginSession).where(LoginSession.token_sha256 == _digest(token)))


def end_session(session: Session, account_id: int, handle: str) -> bool:
    """End one session of this account by its handle; False when it has ended already."""
    done = session.execute(
        delete(LoginSession).where(LoginSession.account_id == account_id, LoginSession.handle == handle)
    )
    return bool(handle) and bool(getattr(done, "rowcount", 0))


def end_sessions(session: Session, account_id: int, *, but: str = "") -> int:
    """End every session of the account but the one with this handle; returns how many."""
    query = delete(LoginSession).where(LoginSession.account_id == account_id)
    if but:
        query = query.where(LoginSession.handle != but)
    return int(getattr(session.execute(query), "rowcount", 0))
