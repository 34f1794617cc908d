"""What answers say is stored as events say it; promises go from proposed to kept or broken, and only people move them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from incidents import promises, rebuild, reply_readings
from incidents.models import Promise, ReplyReading
from incidents.posts import NewPost
from incidents.promises import Proposed
from incidents.reply_readings import ELEMENTS, StoredReading
from incidents.session import Database
from incidents.states import Refused
from tests.alert_office import Office, bundle_for

SAID = Proposed("7月底前完成改造", datetime.fromisoformat("2026-12-31T23:59:59+08:00"), None)
SOON = Proposed("5个工作日内答复", None, 5)


@pytest.fixture
def office(any_db: Database, tmp_path: Path, post: Callable[..., NewPost]) -> Office:
    return Office(any_db, bundle_for(tmp_path)).detect(post)


def read(
    office: Office, *proposed: Proposed, mark: str = "a", relevance: float | None = 0.8
) -> StoredReading:
    one = StoredReading(
        incident_id=office.incident_id,
        seq=None,
        post_id=7,
        department="education",
        published_at=office.now - timedelta(hours=1),
        read_at=office.now,
        model="test-1",
        relevance=relevance,
        coverage=None,
        elements=dict.fromkeys(ELEMENTS, False) | {"facts": True},
        citations=1,
        figures=2,
        buck_passing=False,
        template_of=0,
        blame=False,
        courtesy=True,
    )
    with office.db.transaction() as session:
        reply_readings.save(
            session, one, key="post:7", mark=mark, details={}, proposed=proposed, now=office.now
        )
    return one


def said(office: Office) -> dict[str, promises.Promise]:
    """Promises of the office's incident by their words."""
    with office.db.reading() as session:
        return {
            one.text: one for one in promises.promises_of(session, [office.incident_id])[office.incident_id]
        }


def untouched(office: Office) -> bool:
    """Whether the tables say what the events say, and are made again from nothing."""
    with office.db.reading() as session:
        wrong = [str(one) for one in rebuild.differences(session)]
        before = {one: said(office)[one] for one in said(office)}
    assert wrong == []
    with office.db.transaction() as session:
        session.execute(delete(Promise))
        session.execute(delete(ReplyReading))
    with office.db.transaction() as session:
        rebuild.repair(session)
    return said(office) == before


def test_a_reading_is_stored_as_it_was_given_and_replaced_by_the_next(office: Office) -> None:
    first = read(office, SAID)
    with office.db.reading() as session:
        assert reply_readings.readings_of(session, [office.incident_id, 99]) == {office.incident_id: (first,)}
        assert reply_readings.marks_of(session, office.incident_id) == {"post:7": ("a", "test-1")}
    office.later(minutes=5)
    second = read(office, SAID, mark="b", relevance=None)
    with office.db.reading() as session:
        assert reply_readings.readings_of(session, [office.incident_id]) == {office.incident_id: (second,)}
    assert untouched(office)


def test_what_nobody_answered_to_goes_when_the_answer_changes(office: Office) -> None:
    read(office, SAID, SOON)
    with office.db.transaction() as session:
        promises.confirm(
            session,
            office.incident_id,
            said(office)[SAID.text].key,
            due_at=office.now + timedelta(days=3),
            actor="lin",
            channel="console",
            now=office.now,
        )
    read(office, mark="b")
    assert {one.text: one.state for one in said(office).values()} == {SAID.text: "open"}
    assert untouched(office)


def test_a_promise_is_confirmed_reminded_of_and_settled_by_people(office: Office) -> None:
    read(office, SAID, SOON)
    proposed = said(office)
    assert {one.state for one in proposed.values()} == {"proposed"}
    assert (proposed[SOON.text].due_at, proposed[SOON.text].workdays) == (None, 5)
    key = proposed[SOON.text].key
    due = office.now + timedelta(days=2)
    with office.db.transaction() as session:
        where = (session, office.incident_id, key)
        with pytest.raises(Refused, match="reload"):
            promises.settle(*where, kept=True, link="x", actor="lin", channel="console", now=office.now)
        with pytest.raises(Refused, match="before the answer"):
            promises.confirm(
                *where, due_at=due - timedelta(days=9), actor="lin", channel="console", now=office.now
            )
        opened = promises.confirm(*where, due_at=due, actor="lin", channel="console", now=office.now)
        assert (opened.state, opened.due_at, opened.decided_by) == ("open", due, "lin")
        assert not promises.notice_overdue(*where, office.now)
    office.later(days=3)
    with office.db.transaction() as session:
        where = (session, office.incident_id, key)
        assert promises.notice_overdue(*where, office.now)
        assert not promises.notice_overdue(*where, office.now)
        with pytest.raises(Refused, match="evidence"):
            promises.settle(*where, kept=False, link=" ", actor="lin", channel="console", now=office.now)
        broken = promises.settle(
            *where, kept=False, link="https://a.example/1", actor="lin", channel="console", now=office.now
        )
        assert broken.state == "broken"
        with pytest.raises(Refused, match="reason"):
            promises.settle(*where, kept=True, link="文号1", actor="lin", channel="console", now=office.now)
        kept = promises.settle(
            *where, kept=True, link="文号1", note="当日已办", actor="he", channel="console", now=office.now
        )
        assert (kept.state, kept.link, kept.decided_by) == ("kept", "文号1", "he")
    assert untouched(office)
    kinds = [kind for kind in office.kinds() if kind.startswith("promise_")]
    assert kinds == ["promise_confirmed", "promise_overdue", "promise_broken", "promise_kept"]


def test_no_promise_and_one_that_the_machine_did_not_see(office: Office) -> None:
    read(office, SAID)
    with office.db.transaction() as session:
        here: dict[str, Any] = {"actor": "lin", "channel": "console", "now": office.now}
        key = said(office)[SAID.text].key
        gone = promises.dismiss(session, office.incident_id, key, note="", **here)
        assert gone.state == "dismissed"
        with pytest.raises(Refused):
            promises.dismiss(session, office.incident_id, key, note="", **here)
        entry: dict[str, Any] = {
            "department": "education",
            "made_at": office.now,
            "due_at": office.now + timedelta(days=1),
        }
        new = promises.enter(session, office.incident_id, text="明天公布结果", **entry, **here)
        assert (new.state, new.answer) == ("open", "")
        with pytest.raises(Refused, match="already"):
            promises.enter(session, office.incident_id, text="明天公布结果", **entry, **here)
        with pytest.raises(Refused, match="reason"):
            promises.dismiss(session, office.incident_id, new.key, note=" ", **here)
    assert untouched(office)


def test_a_reading_never_answers_for_a_person(office: Office) -> None:
    read(office, SAID)
    key = said(office)[SAID.text].key
    with office.db.transaction() as session:
        promises.dismiss(
            session, office.incident_id, key, note="", actor="lin", channel="console", now=office.now
        )
    read(office, replace(SAID), mark="b")
    assert said(office)[SAID.text].state == "dismissed"
    assert untouched(office)
