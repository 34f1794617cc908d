"""Accounts and sessions: locked after five failures, ended when idle, nothing readable stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from incidents import accounts
from incidents.models import LoginSession
from incidents.session import Database

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
IDLE = timedelta(minutes=30)


def make(db: Database) -> accounts.AccountView:
    with db.transaction() as session:
        return accounts.create_account(
            session, login="li-na", display_name="李娜", role="duty", password_hash="hash", now=T0
        )


def test_five_failures_lock_for_half_an_hour(db: Database) -> None:
    account = make(db)
    with db.transaction() as session:
        for _ in range(4):
            assert accounts.record_failure(session, account.id, T0) is None
        assert accounts.record_failure(session, account.id, T0) == T0 + timedelta(minutes=30)
        accounts.record_success(session, account.id)
        found = accounts.get_by_login(session, "li-na")
        assert found is not None
        assert (found.failures, found.locked_until) == (0, None)


def test_a_session_ends_by_idleness_age_and_logout(db: Database) -> None:
    account = make(db)
    with db.transaction() as session:
        token, csrf = accounts.open_session(session, account.id, T0, valid=timedelta(hours=12))
        live = accounts.get_session(session, token, T0 + timedelta(minutes=29), idle=IDLE)
        assert live is not None
        assert live.csrf == csrf
        assert accounts.get_session(session, token, T0 + timedelta(minutes=30), idle=IDLE) is None
        accounts.touch_session(session, token, T0 + timedelta(hours=11, minutes=50))
        assert (
            accounts.get_session(session, token, T0 + timedelta(hours=11, minutes=59), idle=IDLE) is not None
        )
        assert accounts.get_session(session, token, T0 + timedelta(hours=12), idle=IDLE) is None
        accounts.close_session(session, token)
        assert accounts.get_session(session, token, T0, idle=IDLE) is None


def test_the_cookie_s_value_is_not_in_the_database(db: Database) -> None:
    account = make(db)
    with db.transaction() as session:
        token, _ = accounts.open_session(session, account.id, T0, valid=timedelta(hours=1))
        assert session.get(LoginSession, token) is None


def test_a_new_password_ends_every_session(db: Database) -> None:
    account = make(db)
    with db.transaction() as session:
        token, _ = accounts.open_session(session, account.id, T0, valid=timedelta(hours=1))
        accounts.set_password(session, account.id, "other")
        assert accounts.get_session(session, token, T0, idle=IDLE) is None


def test_logins_are_unique_and_roles_known(db: Database) -> None:
    make(db)
    with db.transaction() as session:
        with pytest.raises(ValueError, match="is taken"):
            accounts.create_account(
                session, login="li-na", display_name="x", role="duty", password_hash="x", now=T0
            )
        with pytest.raises(ValueError, match="one of duty"):
            accounts.create_account(
                session, login="x", display_name="x", role="king", password_hash="x", now=T0
            )
