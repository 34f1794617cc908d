"""Tokens of the HTTP API: made and revoked by acts that stand in the record, found by their hash, never more than their owner."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incidents import events
from incidents.accounts import AccountView, get_account
from incidents.models import ApiToken
from incidents.states import Refused

#: scope -> roles that may have it; what a role may see beyond that is decided anew at every request
SCOPES: dict[str, frozenset[str]] = {
    "read:incidents": frozenset(
        {"duty", "analyst", "department", "supervisor", "leader", "administrator", "auditor"}
    ),
    # whoever keeps the accounts or audits reads no words of posts (docs/decisions/0021)
    "read:posts": frozenset({"duty", "analyst", "supervisor", "leader"}),
    "read:sources": frozenset(
        {"duty", "analyst", "department", "supervisor", "leader", "administrator", "auditor"}
    ),
    "read:reports": frozenset({"duty", "analyst", "supervisor", "leader", "administrator", "auditor"}),
    "sql": frozenset({"analyst", "supervisor", "leader"}),
}
#: by which a secret scanner and a person know one of ours
PREFIX = "qst_"
#: live tokens of one person; more are forgotten keys
MOST = 20
#: the time of the last use is written at most this often
TOUCH_EVERY = timedelta(minutes=5)


@dataclass(frozen=True)
class TokenView:
    """One token and whose it is; its value is stored nowhere."""

    id: int
    account: AccountView
    name: str
    hint: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str

    def state(self, now: datetime) -> str:
        """live | revoked | expired."""
        if self.revoked_at is not None:
            return "revoked"
        return "live" if now < self.expires_at else "expired"


def allowed(role: str) -> tuple[str, ...]:
    """The scopes that a role may give to a token."""
    return tuple(scope for scope, roles in SCOPES.items() if role in roles)


def make(
    session: Session,
    account: AccountView,
    *,
    name: str,
    scopes: Collection[str],
    valid: timedelta,
    actor: str,
    channel: str,
    now: datetime,
) -> tuple[str, TokenView]:
    """A new token: its value, told this once, and what is stored of it. Raises Refused with a sentence."""
    if account.disabled:
        raise Refused(f"账号 {account.login} 已停用。", f"the account {account.login} is switched off")
    if not name.strip():
        raise Refused(
            "请写明令牌的用途，用完时才知道该吊销哪一个。",
            "say what the token is for, so that it can be revoked when that is over",
        )
    if not scopes:
        raise Refused(
            f"请至少选择一项范围：{'、'.join(allowed(account.role))}。",
            f"name at least one scope of {', '.join(allowed(account.role))}",
        )
    if barred := sorted(set(scopes) - set(allowed(account.role))):
        raise Refused(
            f"{'、'.join(barred)} 不在该角色可授权的范围内；可选：{'、'.join(allowed(account.role))}。",
            f"{', '.join(barred)}: not for the role {account.role}, which may have {', '.join(allowed(account.role))}",
        )
    live = session.scalar(
        select(func.count())
        .select_from(ApiToken)
        .where(ApiToken.account_id == account.id, ApiToken.revoked_at.is_(None), ApiToken.expires_at > now)
    )
    if (live or 0) >= MOST:
        raise Refused(
            f"{account.login} 已有 {live} 个有效令牌，请先吊销不用的。",
            f"{account.login} has {live} tokens; revoke those not in use first",
        )
    value = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        account_id=account.id,
        name=name.strip()[:80],
        hint=value[:10],
        token_sha256=_digest(value),
        scopes=[scope for scope in SCOPES if scope in scopes],
        created_at=now,
        expires_at=now + valid,
        revoked_by="",
    )
    session.add(row)
    session.flush()
    _record(session, "token_made", row, account, actor, channel, now)
    return value, _view(row, account)


def revoke(session: Session, token_id: int, *, actor: str, channel: str, now: datetime) -> TokenView | None:
    """End a token at once; None when there is no such token. Twice is once."""
    row = session.get(ApiToken, token_id)
    account = get_account(session, row.account_id) if row is not None else None
    if row is None or account is None:
        return None
    if row.revoked_at is None:
        row.revoked_at, row.revoked_by = now, actor
        session.flush()
        _record(session, "token_revoked", row, account, actor, channel, now)
    return _view(row, account)


def find(session: Session, value: str) -> TokenView | None:
    """The token of this value, whatever its state; None when it is none of ours."""
    if not value.startswith(PREFIX):
        return None
    row = session.scalar(select(ApiToken).where(ApiToken.token_sha256 == _digest(value)))
    account = get_account(session, row.account_id) if row is not None else None
    return _view(row, account) if row is not None and account is not None else None


def touch(session: Session, token_id: int, now: datetime) -> None:
    """Note that the token was used."""
    row = session.get(ApiToken, token_id)
    if row is not None:
        row.last_used_at = now


def get_token(session: Session, token_id: int) -> TokenView | None:
    """The token with this number."""
    row = session.get(ApiToken, token_id)
    account = get_account(session, row.account_id) if row is not None else None
    return _view(row, account) if row is not None and account is not None else None


def list_tokens(session: Session, account_id: int | None = None) -> list[TokenView]:
    """Tokens of one person, or everybody's; the newest first."""
    query = select(ApiToken).order_by(ApiToken.id.desc())
    if account_id is not None:
        query = query.where(ApiToken.account_id == account_id)
    found = []
    for row in session.scalars(query):
        account = get_account(session, row.account_id)
        if account is not None:
            found.append(_view(row, account))
    return found


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _view(row: ApiToken, account: AccountView) -> TokenView:
    return TokenView(
        id=row.id,
        account=account,
        name=row.name,
        hint=row.hint,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
    )


def _record(
    session: Session,
    kind: str,
    row: ApiToken,
    account: AccountView,
    actor: str,
    channel: str,
    now: datetime,
) -> None:
    events.append(
        session,
        session.info["audit_key"],
        kind=kind,
        actor=actor,
        channel=channel,
        now=now,
        payload={
            "token": row.id,
            "login": account.login,
            "name": row.name,
            "scopes": list(row.scopes),
            "until": row.expires_at.isoformat(),
        },
    )
