"""The officer on duty is told when a subject of the notice's list has no working source left, and when it has one again."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event

from alerts import watch
from incidents import outbox
from incidents.session import Database
from incidents.sources import list_states, record_crawl, unwell, with_cursors
from tests.alert_office import Office, bundle_for

ENTRY = """  - id: {id}
    name: {name}
    kind: rss
    url: https://{id}.example/feed
    enabled: {enabled}
    every_min: 30
    legal_basis: 法定职责
    impact_note: 一次一页
    owner_unit: 测试单位
    domain_hint: "{domain}"
"""


def office(db: Database, folder: Path, *entries: tuple[str, str, str], language: str = "zh_CN") -> Office:
    """An office that reads these sources (id, name, domain); one more is switched off."""
    off = ENTRY.format(id="off", name="停用源", enabled="false", domain="schooling")
    (folder / "sources.yaml").write_text(
        "sources:\n"
        + off
        + "".join(ENTRY.format(id=i, name=n, domain=d, enabled="true") for i, n, d in entries),
        "utf-8",
    )
    more = {"city": {"language": language}}
    return Office(db, bundle_for(folder, more=more))


def read(office: Office, **states: str) -> None:
    """One reading of each source now, ending in this state."""
    with office.db.transaction() as session:
        for name, state in states.items():
            record_crawl(session, name, state=state, evidence="", now=office.now, next_due_at=None)


def pass_time(office: Office, hours: float, **states: str) -> None:
    """Half-hourly readings, with an audit after each and one a minute and a half later."""
    for _ in range(int(hours * 2)):
        office.later(minutes=28)
        office.work()
        read(office, **states)
        look(office)
        office.later(minutes=2)
        office.work()
        look(office)


def look(office: Office) -> watch.Audit:
    return watch.run(office.db, office.bundle, office.db.audit_key, office.now)


def told(office: Office) -> list[str]:
    with office.db.reading() as session:
        found = [row for row in outbox.latest(session, 200) if row.kind == "system_alarm"]
    return sorted(
        {
            str(row.message["subject"])
            for row in found
            if "信源" in str(row.message) or "source" in str(row.message)
        }
    )


SCHOOLS = (("a", "家长论坛", "schooling"), ("b", "教育局信箱", "schooling"), ("c", "综合论坛", ""))


@pytest.mark.parametrize("state", ["frozen", "login", "blocked", "empty", "changed", "robots", "error"])
def test_a_subject_without_a_working_source_is_told_once_and_its_return_too(
    state: str, db: Database, tmp_path: Path
) -> None:
    desk = office(db, tmp_path, *SCHOOLS)
    read(desk, a="ok", b="ok", c="ok")
    pass_time(desk, 1, a=state, b="unchanged", c="ok")
    assert told(desk) == []  # one still works
    pass_time(desk, 3, a=state, b=state, c="ok")
    (alarm,) = told(desk)
    assert "“就学”领域的2个信源全部失效（家长论坛、教育局信箱），该领域只能靠1个综合信源" in alarm
    pass_time(desk, 1, a="ok", b=state, c="ok")
    assert len(told(desk)) == 2
    assert any("系统恢复" in text for text in told(desk))


def test_it_takes_longer_than_the_sources_patience(db: Database, tmp_path: Path) -> None:
    desk = office(db, tmp_path, *SCHOOLS)
    read(desk, a="ok", b="ok", c="ok")
    pass_time(desk, 1, a="error", b="error", c="ok")
    assert told(desk) == []  # three intervals of 30 minutes are not over
    pass_time(desk, 1, a="error", b="error", c="ok")
    assert len(told(desk)) == 1


def test_the_outside_ping_goes_on_because_the_system_itself_is_well(db: Database, tmp_path: Path) -> None:
    desk = office(db, tmp_path, *SCHOOLS)
    read(desk, a="ok", b="ok", c="ok")
    pass_time(desk, 3, a="login", b="login", c="ok")
    desk.work()
    assert look(desk).reasons == ()


def test_when_nothing_works_that_alone_is_said(db: Database, tmp_path: Path) -> None:
    desk = office(db, tmp_path, *SCHOOLS)
    read(desk, a="ok", b="ok", c="ok")
    pass_time(desk, 3, a="error", b="error", c="error")
    assert len(told(desk)) == 1
    assert "3个信源全部读不到" in told(desk)[0]


def test_without_a_general_source_the_subject_is_unseen_and_others_are_not_named(
    db: Database, tmp_path: Path
) -> None:
    desk = office(
        db,
        tmp_path,
        ("a", "家长论坛", "schooling"),
        ("t", "交通", "transport"),
        ("h", "医院", "health"),
        language="en",
    )
    read(desk, a="ok", t="ok", h="ok")
    pass_time(desk, 3, a="frozen", t="frozen", h="ok")  # transport is not on the notice's list
    (alarm,) = told(desk)
    assert (
        "No source on Schooling works any more, of 1 (家长论坛); nothing new on this subject is noticed"
        in alarm
    )


def test_a_source_that_was_never_asked_is_not_dead(db: Database, tmp_path: Path) -> None:
    desk = office(db, tmp_path, *SCHOOLS)
    pass_time(desk, 3, c="ok")
    assert told(desk) == []


def test_the_alarm_reads_no_history_of_a_source(db: Database, tmp_path: Path) -> None:
    """Among 10,000 sources the cursors are 100 MB: whoever only asks whether they are well never loads one."""
    desk = office(db, tmp_path, *SCHOOLS)
    with db.transaction() as session:
        for name in ("a", "b"):
            record_crawl(
                session,
                name,
                state="frozen",
                evidence="",
                now=desk.now,
                next_due_at=None,
                cursor={"health": {"bins": [1] * 9000}},
            )
    asked: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda _c, _k, words, *_: asked.append(words))
    look(desk)
    with db.reading() as session:
        assert [view.cursor for view in list_states(session)] == [None, None]
        assert [view.source_id for view in unwell(session, desk.now)] == ["a", "b"]
    assert asked
    assert not any("source_state.cursor" in words for words in asked)
    with db.reading() as session:
        assert (with_cursors(session, ["a", "nobody"])["a"].cursor or {})["health"]
