"""A report reaches each recipient once, wherever the process dies and however long the mail server is down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import alerts.job
from config.bundle import Bundle, load_bundle
from config.keys import Keys
from incidents import outbox, report_runs
from incidents.session import Database
from reports import delivery, job
from tests.fakes.mail import FakeMailServer
from tests.fakes.week import MONDAY, WEEK, Town, at, bundle_in

KEYS = Keys.derive(b"a secret that opens nothing at all")


class Killed(BaseException):
    """The process is gone: nothing of ours catches it."""


@pytest.fixture
def town(db: Database) -> Database:
    town = Town(db)
    for day in (16, 17):
        town.post(at(day), "housing", ("历下区",), "neg")
    town.play()
    return db


def nth(call: Callable[..., Any], number: int) -> Callable[..., Any]:
    """The function, dying at its n-th call before it does anything."""
    calls = 0

    def dying(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise Killed
        return call(*args, **more)

    return dying


@pytest.mark.parametrize(
    ("where", "name", "number"),
    [
        (delivery, "_replace", 1),
        (delivery, "_replace", 7),
        (report_runs, "save_run", 1),
        (outbox, "enqueue", 2),
        (report_runs, "mark_sent", 1),
        (delivery, "record_act", 1),
    ],
)
def test_killed_between_two_steps_it_goes_out_once(
    town: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, number: int
) -> None:
    bundle = bundle_in(tmp_path / "city")
    with monkeypatch.context() as patch:
        patch.setattr(where, name, nth(getattr(where, name), number))
        with pytest.raises(Killed):
            job.run_due(town, bundle, KEYS, MONDAY)
    done = job.run_due(town, bundle, KEYS, MONDAY + timedelta(minutes=5))
    assert done is not None
    assert len(done.queued) == 2
    assert job.run_due(town, bundle, KEYS, MONDAY + timedelta(minutes=10)) is None
    with town.reading() as session:
        assert len([row for row in outbox.latest(session) if row.kind == "report"]) == 2
        acts = session.execute(
            text("SELECT count(*) FROM incident_event WHERE kind = 'report_sent'")
        ).scalar_one()
        assert acts == 1
        assert len(report_runs.runs(session, "weekly", WEEK)) == 1


def later(now: datetime) -> datetime:
    return now


def mailing(folder: Path, port: int) -> Bundle:
    folder.mkdir()
    (folder / "quansheng.toml").write_text("", encoding="utf-8")
    return load_bundle(
        folder / "quansheng.toml",
        reports={"recipients": ("office@example.invalid", "leader@example.invalid")},
        mail={"host": "127.0.0.1", "port": port, "security": "none", "sender": "quansheng@example.invalid"},
    )


def test_a_report_of_the_time_without_a_mail_server_is_sent_once_when_it_is_back(
    town: Database, tmp_path: Path
) -> None:
    server = FakeMailServer()
    bundle = mailing(tmp_path / "mailing", server.port)
    assert job.run_due(town, bundle, KEYS, MONDAY) is not None
    now = MONDAY
    for _ in range(3):
        alerts.job.send(town, bundle, KEYS, partial(later, now))
        now += timedelta(minutes=20)
    with town.reading() as session:
        waiting = [row for row in outbox.latest(session) if row.kind == "report"]
    assert {row.state for row in waiting} == {"pending"}
    with server:
        for _ in range(4):
            now += timedelta(hours=1)
            alerts.job.send(town, bundle, KEYS, partial(later, now))
    assert sorted(server.recipients) == ["leader@example.invalid", "office@example.invalid"]
    for mail in server.received:
        names = [part.get_filename() for part in mail.iter_attachments()]
        assert names == [f"济南市政务舆情周报 {WEEK}.pdf"]
        assert len(mail.as_bytes()) < 1_000_000
        (paper,) = mail.iter_attachments()
        assert paper.get_payload(decode=True)[:5] == b"%PDF-"  # type: ignore[index]
