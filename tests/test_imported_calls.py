"""Call-backs that come with a hotline's export: kept by work order, counted once in the incident, put right, shown as imported."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from config.keys import Keys
from incidents import call_backs, imported_calls, rebuild, retention
from incidents.call_backs import Entry, Said
from incidents.imported_calls import GivenCall
from incidents.models import ImportedCall, IncidentPost, Post
from incidents.posts import list_quarantine
from incidents.queries import IncidentView
from incidents.session import Database
from incidents.states import Assign, Close, Confirm, Evaluate, Merge, Reopen, Respond, SignFor, Unmerge
from reports import evaluation_job as job
from spiders.importer import import_file, retry_set_aside
from spiders.profiles import Profile, load_profile
from spiders.said import Unclear, said_of
from tests.console_world import NOW, ZONE, World, client, world

HEADER = "工单编号,来电时间,诉求内容,区县,来电人,联系电话,是否解决,满意度,回访时间"
#: the columns of an export of which a person's are never read
PERSON = "张三丰,13912345678"
KEY = Keys.derive(b"only for tests, 32 bytes or more of it").pseudonym


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    return _town(db, tmp_path)


def _town(db: Database, folder: Path) -> World:
    made = world(db, folder)
    made.account()
    return made


def export(folder: Path, *said: str, name: str = "orders.csv") -> Path:
    """An export of orders G1, G2 ...; `said` are their last three columns."""
    rows = [
        f"G{n},2026-11-23 08:0{n % 10},小区{n}号楼暖气不热,历下区,{PERSON},{one}"
        for n, one in enumerate(said, 1)
    ]
    path = folder / name
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


def take(town: World, path: Path, profile: Profile | None = None) -> object:
    return import_file(town.db, path, profile or load_profile(), KEY, town.now)


def hold(town: World, incident: IncidentView, *numbers: str) -> None:
    """The work orders belong to the incident."""
    with town.db.transaction() as session:
        for post in session.scalars(select(Post).where(Post.external_id.in_(numbers))):
            old = session.get(IncidentPost, post.id)
            if old is not None:
                old.incident_id = incident.id
            else:
                row = IncidentPost(
                    post_id=post.id, incident_id=incident.id, similarity=1.0, added_at=town.now
                )
                session.add(row)


def answered(town: World, title: str = "暖气不热") -> IncidentView:
    made = town.incident(title, ["暖气不热了", "家里很冷"], domain="housing")
    town.run()
    return town.act(
        made, Confirm(), Assign("housing"), SignFor(), Respond("https://zj.example.invalid/1", "已抢修")
    )


def settle(town: World) -> int:
    with town.db.transaction() as session:
        return imported_calls.settle(session, town.now, ZONE)[1]


def entries(town: World, incident: IncidentView) -> tuple[Entry, ...]:
    with town.db.reading() as session:
        return call_backs.entries_of(session, [incident.id]).get(incident.id, ())


def total(town: World, incident: IncidentView) -> Said:
    return sum((one.said for one in entries(town, incident)), Said())


# --- what a row says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"是否解决": "是", "满意度": "非常满意"}, GivenCall("solved", "satisfied")),
        ({"是否解决": "否", "是否满意": "否"}, GivenCall("unsolved", "dissatisfied")),
        ({"是否解决": True, "满意度": "基本满意"}, GivenCall("solved", "basically")),
        ({"回访结果": "已解决，满意"}, GivenCall("solved", "satisfied")),
        ({"回访结果": "未解决；不满意"}, GivenCall("unsolved", "dissatisfied")),
        ({"满意度": "一般", "回访结果": "满意"}, GivenCall("", "basically")),
        ({"满意度": "默认满意"}, None),
        ({"回访结果": "无人接听"}, None),
        ({"是否解决": "", "满意度": "--"}, None),
        ({"诉求内容": "停水"}, None),
    ],
)
def test_words_of_exports_are_read(row: dict[str, object], expected: GivenCall | None) -> None:
    profile = load_profile()
    assert said_of(row, profile.match(row), profile, NOW) == expected


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"满意度": "五星"}, "满意度"),
        ({"是否解决": "已办结"}, "是否解决"),
        ({"回访结果": "已解决，未解决"}, "回访结果"),
        ({"回访结果": "来电人表示还要再等"}, "回访结果"),
        ({"满意度": "满意", "回访时间": "前几天"}, "回访时间"),
        ({"满意度": "满意", "回访时间": "2031-01-01"}, "回访时间"),
    ],
)
def test_what_is_not_known_is_unclear_and_names_its_column(row: dict[str, object], column: str) -> None:
    profile = load_profile()
    found = said_of(row, profile.match(row), profile, NOW)
    assert isinstance(found, Unclear)
    assert found.column == column


# --- counted once ----------------------------------------------------------------------------------------------------


def test_calls_of_an_answered_incident_are_counted_once_however_often_they_come(
    any_db: Database, tmp_path: Path
) -> None:
    town = _town(any_db, tmp_path)
    incident = answered(town)
    path = export(
        tmp_path,
        "是,满意,2026-11-24 09:00",
        "否,不满意,2026-11-24 09:10",
        "是,基本满意,2026-11-23 20:00",
        "是,满意,2026-11-24 09:20",
        "未回访,,",
    )
    take(town, path)
    hold(town, incident, "G1", "G2", "G3", "G5")  # G4 belongs to another matter
    assert settle(town) == 2, "one entry a day"
    assert total(town, incident) == Said(solved=2, unsolved=1, satisfied=1, basically=1, dissatisfied=1)
    assert {one.source for one in entries(town, incident)} == {"import"}
    take(town, path)
    assert settle(town) == 0
    assert total(town, incident) == Said(solved=2, unsolved=1, satisfied=1, basically=1, dissatisfied=1)
    with town.db.reading() as session:
        assert [str(one) for one in rebuild.differences(session)] == []
        kept = session.execute(text("SELECT * FROM imported_call")).all()
        said = session.execute(text("SELECT payload FROM incident_event WHERE kind = 'called_back'")).all()
    assert len(kept) == 4
    assert not any(secret in repr([kept, said]) for secret in ("13912345678", "张三丰", "G1", "暖气"))


def test_a_correction_puts_the_count_right_and_an_old_export_does_not_put_it_wrong(
    any_db: Database, tmp_path: Path
) -> None:
    town = _town(any_db, tmp_path)
    incident = answered(town)
    old = export(tmp_path, "否,不满意,2026-11-23 09:00", "是,满意,2026-11-23 09:00", name="old.csv")
    new = export(tmp_path, "是,满意,2026-11-24 09:00", ",,", name="new.csv")
    take(town, old)
    hold(town, incident, "G1", "G2")
    settle(town)
    assert total(town, incident) == Said(solved=1, unsolved=1, satisfied=1, dissatisfied=1)
    take(town, new)  # G1 was called again; of G2 the export says nothing
    settle(town)
    assert total(town, incident) == Said(solved=2, satisfied=2)
    take(town, old)
    assert settle(town) == 0
    assert total(town, incident) == Said(solved=2, satisfied=2)
    with town.db.reading() as session:
        assert [str(one) for one in rebuild.differences(session)] == []


def test_they_wait_for_the_answer_and_each_round_has_its_own(town: World, tmp_path: Path) -> None:
    made = town.incident("暖气不热", ["暖气不热了", "家里很冷"], domain="housing")
    town.run()
    path = export(tmp_path, "否,不满意,2026-11-24 10:10")
    take(town, path)
    hold(town, made, "G1")
    assert settle(town) == 0, "not answered yet"
    incident = town.act(
        made, Confirm(), Assign("housing"), SignFor(), Respond("https://zj.example.invalid/1", "已抢修")
    )
    assert settle(town) == 1
    town.now += timedelta(days=1)
    incident = town.act(incident, Evaluate(80), Close())
    town.now += timedelta(hours=1)
    incident = town.act(
        incident,
        Reopen("又坏了"),
        Assign("housing"),
        SignFor(),
        Respond("https://zj.example.invalid/2", "再修"),
    )
    town.now += timedelta(days=1)
    take(town, export(tmp_path, "否,不满意,2026-11-24 10:10", "是,满意,2026-11-26 08:00", name="later.csv"))
    hold(town, incident, "G2")
    settle(town)
    assert [(one.round, one.said) for one in entries(town, incident)] == [
        (1, Said(unsolved=1, dissatisfied=1)),
        (2, Said(solved=1, satisfied=1)),
    ]


def test_a_call_goes_with_its_post(town: World, tmp_path: Path) -> None:
    one, other = answered(town), answered(town, "电梯停运")
    take(town, export(tmp_path, "是,满意,2026-11-24 09:00"))
    hold(town, one, "G1")
    settle(town)
    hold(town, other, "G1")  # a person moved it
    settle(town)
    assert (total(town, one), total(town, other)) == (Said(), Said(solved=1, satisfied=1))
    with town.db.transaction() as session:
        session.execute(
            text("DELETE FROM incident_post WHERE post_id IN (SELECT post_id FROM imported_call)")
        )
    settle(town)
    assert total(town, other) == Said(), "taken out of the incident"
    assert settle(town) == 0
    with town.db.reading() as session:
        assert [str(one) for one in rebuild.differences(session)] == []


def test_a_merged_incident_is_counted_in_its_parent_until_it_stands_alone(
    town: World, tmp_path: Path
) -> None:
    parent = answered(town)
    child = town.incident("又一处不热", ["又一处不热", "也不热"], domain="housing")
    take(town, export(tmp_path, "否,不满意,2026-11-24 10:00"))
    hold(town, child, "G1")
    assert settle(town) == 0
    child = town.act(child, Merge(parent.id))
    assert settle(town) == 1
    assert total(town, parent) == Said(unsolved=1, dissatisfied=1)
    assert settle(town) == 0
    town.act(child, Unmerge())
    settle(town)
    assert (total(town, parent), total(town, child)) == (Said(), Said())
    with town.db.reading() as session:
        assert [str(one) for one in rebuild.differences(session)] == []


def test_many_calls_are_counted_in_short_turns_and_to_the_end(
    town: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imported_calls, "AT_ONCE", 2)
    turns: list[int] = []
    settle_all = imported_calls.settle

    def few(session: Any, now: Any, zone: Any) -> tuple[int, int]:
        turns.append(1)
        return settle_all(session, now, zone, 2)

    monkeypatch.setattr(imported_calls, "settle", few)
    incident = answered(town)
    take(town, export(tmp_path, *["是,满意,2026-11-24 09:00"] * 7))
    hold(town, incident, *(f"G{n}" for n in range(1, 8)))
    job.run_due(town.db, town.bundle, town.now)
    assert len(turns) == 4
    assert total(town, incident) == Said(solved=7, satisfied=7)


def test_what_a_person_withdrew_stays_withdrawn(town: World, tmp_path: Path) -> None:
    incident = answered(town)
    take(town, export(tmp_path, "是,满意,2026-11-24 09:00"))
    hold(town, incident, "G1")
    settle(town)
    with town.db.transaction() as session:
        call_backs.withdraw(
            session,
            incident.id,
            entries(town, incident)[0].key,
            reason="导出有误",
            by="lin",
            channel="console",
            now=town.now,
        )
    take(town, export(tmp_path, "否,不满意,2026-11-24 09:30", name="b.csv"))
    settle(town)
    assert total(town, incident) == Said()


def test_numbers_outlive_their_posts_and_what_was_not_counted_goes_with_them(
    town: World, tmp_path: Path
) -> None:
    incident = answered(town)
    take(town, export(tmp_path, "是,满意,2026-11-24 09:00", "否,不满意,2026-11-24 09:00"))
    hold(town, incident, "G1")
    settle(town)
    with town.db.transaction() as session:
        retention.objection(
            session, "source", "import", town.now, reason="约定到期", actor="lin", channel="cli"
        )
    with town.db.reading() as session:
        assert session.scalars(select(Post.id).where(Post.source_id == "import")).all() == []
        assert len(session.scalars(select(ImportedCall)).all()) == 1
    assert settle(town) == 0
    assert total(town, incident) == Said(solved=1, satisfied=1)


# --- what cannot be read ---------------------------------------------------------------------------------------------


def test_a_bad_value_is_set_aside_with_file_row_and_field_and_its_post_is_taken(
    any_db: Database, tmp_path: Path
) -> None:
    town = _town(any_db, tmp_path)
    incident = answered(town)
    path = export(tmp_path, "是,满意,2026-11-24 09:00", "是,五星,2026-11-24 09:00")
    report = take(town, path)
    assert "2 posts saved, 0 known already, 0 set aside, 1 call-backs set aside" in report.describe()  # type: ignore[attr-defined]
    take(town, path)
    with town.db.reading() as session:
        (aside,) = list_quarantine(session)
    assert (aside.origin, aside.row, aside.field) == ("orders.csv", 3, "满意度")
    assert "'五星' says nothing that is known" in aside.reason
    assert not any(word in json.dumps(aside.payload, ensure_ascii=False) for word in ("张三", "139", "暖气"))
    hold(town, incident, "G1", "G2")
    settle(town)
    assert total(town, incident) == Said(solved=1, satisfied=1)
    knows = load_profile().model_copy(update={"says": {"satisfied": ("五星",)}})
    still = retry_set_aside(town.db, load_profile(), KEY, town.now)
    assert (still.tried, len(still.still_bad)) == (1, 1)
    done = retry_set_aside(town.db, knows, KEY, town.now)
    assert (done.tried, done.saved, done.still_bad) == (1, 0, ())
    settle(town)
    assert total(town, incident) == Said(solved=2, satisfied=2)
    with town.db.reading() as session:
        assert list_quarantine(session) == []


# --- the evaluation and its page -------------------------------------------------------------------------------------


def test_the_evaluation_counts_them_and_the_page_tells_them_from_typed_ones(
    town: World, tmp_path: Path
) -> None:
    incident = answered(town)
    take(town, export(tmp_path, *["是,满意,2026-11-24 09:00"] * 9, "否,不满意,2026-11-24 09:00"))
    hold(town, incident, *(f"G{n}" for n in range(1, 11)))
    job.run_due(town.db, town.bundle, town.now)
    with town.db.reading() as session:
        found = job.stored_case(session, incident.number)
    assert found is not None
    assert found.indicator("V").value == pytest.approx(0.9)
    with town.db.transaction() as session:
        call_backs.enter(
            session, incident.id, Said(solved=1), key="a", by="lin", channel="console", now=town.now
        )
    page = client(town).get(f"/incidents/{incident.number}").text
    assert "导入：import" in page
    assert "其中导入 10 人次" in page
    assert "与导入重复的，请撤回人工登记" in page
