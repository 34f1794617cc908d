"""A crash at any commit, before or after it, loses no page and shows no officer the same one twice unmarked."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.fake_slack import FakeSlack
from incidents import events
from incidents.posts import NewPost
from incidents.session import Database, Session
from incidents.states import Acknowledge
from tests.alert_office import Office, bundle_for
from tests.conftest import AUDIT_KEY
from tests.fakes.mail import FakeMailServer


class PowerCut(Exception):
    """The process is gone."""


class Fragile(Database):
    """Dies at one of its transactions: `before` its commit or just after it."""

    count = 0
    dies_at = -1
    before = True

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """As usual, but for one."""
        self.count += 1
        mine = self.count
        with super().transaction() as session:
            yield session
            if mine == self.dies_at and self.before:
                raise PowerCut
        if mine == self.dies_at:
            raise PowerCut


def day(office: Office) -> None:
    """Two rungs, an acknowledgement and a clock that runs out; after a crash the same work is begun again."""

    def step(action: Callable[[], object]) -> None:
        try:
            action()
        except PowerCut:
            # the new process begins when leases of the old one have run out
            office.later(seconds=90)
            action()

    for _ in range(2):
        step(office.tick)
        step(office.send)
        office.later(minutes=15)
    step(lambda: office.do(Acknowledge(epoch=1), actor="he", channel="link"))
    step(office.tick)
    step(office.send)
    office.later(hours=50)
    step(office.tick)
    step(office.send)
    office.later(minutes=5)
    step(office.send)


@pytest.mark.slow
def test_a_crash_at_every_commit_loses_nothing_and_doubles_nothing(
    migrated_sqlite: Path, tmp_path: Path, post: Callable[..., NewPost]
) -> None:
    number = 0
    total = 1
    with FakeMailServer() as mail:
        while number <= total:
            for before in (True, False):
                folder = tmp_path / f"{number}-{before}"
                folder.mkdir()
                shutil.copyfile(migrated_sqlite, folder / "q.db")
                db = Fragile(f"sqlite:///{folder / 'q.db'}", audit_key=AUDIT_KEY)
                mail.received.clear()
                with FakeSlack() as slack:
                    office = Office(db, bundle_for(folder, slack=slack.base_url, mail_port=mail.port)).detect(
                        post
                    )
                    db.count, db.dies_at, db.before = 0, number, before
                    day(office)
                    check(office, slack, mail)
                total = max(total, db.count)
                db.close()
            number += 1
    assert total > 20


def check(office: Office, slack: FakeSlack, mail: FakeMailServer) -> None:
    """What must hold after any such day."""
    rows = office.messages()
    assert {row.state for row in rows} <= {"sent", "superseded"}
    assert {step for step, _ in office.paged("sent")} == {1, 2}
    assert len(office.history("deadline_missed")) == 1
    # asked again later, because nothing was done after the acknowledgement: an epoch of its own
    rungs = [(e.epoch, e.payload["step"]) for e in office.history("rung_fired")]
    assert rungs == [(1, 1), (1, 2), (2, 1)]
    on_slack = Counter(m["metadata"]["event_payload"]["outbox_id"] for m in slack.messages)
    assert set(on_slack.values()) == {1}
    assert set(on_slack) == {
        row.id
        for row in rows
        if row.channel == "slack" and row.state == "sent" and row.kind != "edit" and not row.bundled_in
    }
    about = {f"<{row.id}@jinan.example>" for row in rows}  # hand-over and register have mails of their own
    mailed = Counter(str(got["Message-ID"]) for got in mail.received if str(got["Message-ID"]) in about)
    single = [row for row in rows if row.channel == "email" and row.state == "sent" and not row.bundled_in]
    assert len(mailed) == len(single)
    seen: set[str] = set()
    for received in mail.received:
        if str(received["Message-ID"]) in seen:
            assert str(received["Subject"]).startswith("【补发")
        seen.add(str(received["Message-ID"]))
    with office.db.reading() as session:
        assert events.verify(session, AUDIT_KEY).ok
