"""`quansheng token`: tokens of the HTTP API for scripts on this machine: make one, list them, revoke one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from incidents import accounts, api_tokens
from incidents.api_tokens import TokenView
from incidents.installation import Installation, Problem
from incidents.states import Refused


def make(
    home: Installation, login: str, name: str, scopes: Sequence[str], days: int, actor: str, now: datetime
) -> tuple[str, TokenView]:
    """A token in the name of an account. Raises Problem when it may not be had."""
    most = home.settings.api.token_days
    if not 1 <= days <= most:
        raise Problem(f"--days {days}: 1 to {most} expected (api.token_days)")
    if unknown := sorted(set(scopes) - set(api_tokens.SCOPES)):
        raise Problem(f"--scope {', '.join(unknown)}: one of {', '.join(api_tokens.SCOPES)} expected")
    try:
        with home.db.transaction() as session:
            account = accounts.get_by_login(session, login)
            if account is None:
                raise Problem(f"there is no account {login}; the console's page 账号 lists them")
            return api_tokens.make(
                session,
                account,
                name=name,
                scopes=scopes,
                valid=timedelta(days=days),
                actor=actor,
                channel="cli",
                now=now,
            )
    except Refused as refused:
        raise Problem(str(refused)) from refused


def listed(home: Installation, login: str) -> list[TokenView]:
    """Tokens of one account, or of all for an empty login; the newest first."""
    with home.db.reading() as session:
        if not login:
            return api_tokens.list_tokens(session)
        account = accounts.get_by_login(session, login)
        if account is None:
            raise Problem(f"there is no account {login}; the console's page 账号 lists them")
        return api_tokens.list_tokens(session, account.id)


def revoke(home: Installation, token_id: int, actor: str, now: datetime) -> TokenView:
    """End a token at once."""
    with home.db.transaction() as session:
        token = api_tokens.revoke(session, token_id, actor=actor, channel="cli", now=now)
    if token is None:
        raise Problem(f"there is no token {token_id}; `quansheng token list` shows the numbers")
    return token
