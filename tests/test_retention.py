"""Retention: texts go when their time is over or their author objects, numbers stay, and nothing comes back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from config.settings import PrivacySettings
from incidents import events, index, judgements, lifecycle
from incidents.models import Incident, IncidentHour, IncidentPost, Judgement, Post, Quarantine
from incidents.posts import NewPost, save_posts, set_aside
from incidents.retention import ObjectionReport, PurgeReport, object_to, purge
from incidents.search import search_posts
from incidents.session import Database, Session
from incidents.states import Command, Detect, FalseAlarm, Merge

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
PRIVACY = PrivacySettings(post_days=180, incident_post_days=1095)
Factory = Callable[..., NewPost]
NOTHING = PurgeReport(0, 0, 0, 0, 0)


def days(number: float) -> datetime:
    return T0 + timedelta(days=number)


def judge(session: Session, post_id: int, near_copy_of: int | None = None) -> None:
    item = judgements.NewJudgement(
        post_id, "services", 0.9, "neg", 0.8, 0.2, True, 0.7, 1, 0.3, "test-1", near_copy_of=near_copy_of
    )
    judgements.save_judgements(session, [item], T0)


def cluster(session: Session, *post_ids: int) -> int:
    incident = judgements.open_watching(
        session, title="停水", domain="services", district="历下区", first_posted_at=T0, sketch={}
    )
    for post_id in post_ids:
        judgements.add_post(
            session, incident, post_id, similarity=1, voice=True, published_at=T0, negative=True, now=T0
        )
    return incident


def act(session: Session, incident: int, command: Command, when: datetime) -> None:
    lifecycle.handle(session, incident, command, actor="li-na", channel="console", now=when)


def left(session: Session) -> list[int]:
    return list(session.scalars(select(Post.id).order_by(Post.id)))


def test_a_post_outside_any_incident_goes_after_its_days(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        old, young = save_posts(
            session, [post("停水旧帖", fetched_at=T0), post("停水新帖", fetched_at=days(2))]
        ).ids
        judge(session, old)
        judge(session, young, near_copy_of=old)
        assert purge(session, days(180), PRIVACY) == NOTHING
        assert purge(session, days(181), PRIVACY) == PurgeReport(1, 0, 0, 0, 0)
    with any_db.reading() as session:
        assert left(session) == [young]
        assert search_posts(session, "停水").total == 1
        assert search_posts(session, "旧").total == 0
        assert session.get(Judgement, old) is None
        assert session.get_one(Judgement, young).near_copy_of is None


def test_posts_of_an_open_incident_stay(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        id_ = save_posts(session, [post()]).ids[0]
        act(session, cluster(session, id_), Detect("burst", {}), T0)
        assert purge(session, days(4000), PRIVACY) == NOTHING
        assert left(session) == [id_]


def test_posts_of_an_incident_that_is_over_stay_as_evidence_and_then_go(
    any_db: Database, post: Factory
) -> None:
    with any_db.transaction() as session:
        mine, merged, other = save_posts(session, [post() for _ in range(3)]).ids
        parent, child, still_open = cluster(session, mine), cluster(session, merged), cluster(session, other)
        for incident in (parent, child, still_open):
            act(session, incident, Detect("burst", {}), days(1))
        act(session, child, Merge(parent), days(2))
        act(session, parent, FalseAlarm("no_issue"), days(300))
        # the age counts from the last event, not from the post
        assert purge(session, days(300 + 1095), PRIVACY) == NOTHING
        assert purge(session, days(300 + 1096), PRIVACY) == PurgeReport(0, 2, 0, 0, 0)
        assert left(session) == [other]
        # numbers and the record stay
        assert session.get_one(Incident, parent).posts == 1
        assert session.scalar(select(func.count()).select_from(IncidentHour)) == 3
        assert session.scalar(select(func.count()).select_from(IncidentPost)) == 1


def test_a_cluster_that_never_emerged_goes_with_its_last_post(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        old, young = save_posts(session, [post(fetched_at=T0), post(fetched_at=days(100))]).ids
        gone, half, empty = cluster(session, old), cluster(session, young), cluster(session)
        assert purge(session, days(181), PRIVACY) == PurgeReport(1, 0, 2, 0, 0)
        assert list(session.scalars(select(Incident.id))) == [half]
        assert gone != half != empty
        assert list(session.scalars(select(IncidentHour.incident_id))) == [half]


def test_rows_set_aside_go_too(any_db: Database) -> None:
    with any_db.transaction() as session:
        set_aside(session, "工单.csv", 1, "", "reason", {}, T0)
        kept = set_aside(session, "工单.csv", 2, "", "reason", {}, days(100))
        assert purge(session, days(181), PRIVACY).quarantine == 1
        assert list(session.scalars(select(Quarantine.id))) == [kept]


def test_a_purge_leaves_one_event_with_counts_and_nothing_else(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        save_posts(session, [post("停水旧帖", fetched_at=T0)])
        purge(session, days(181), PRIVACY)
        purge(session, days(182), PRIVACY)  # nothing to do: no event
        (event,) = events.events_after(session, 0)
        assert (event.kind, event.actor) == ("purged", "system")
        assert event.payload == {
            "posts": 1,
            "incident_posts": 0,
            "clusters": 0,
            "quarantine": 0,
            "sessions": 0,
            "originals": 0,
            "hot_titles": 0,
        }
        assert events.verify(session, any_db.audit_key).ok


def test_an_objection_removes_the_post_and_it_never_comes_back(any_db: Database, post: Factory) -> None:
    url = "http://bbs.example/t/7"
    with any_db.transaction() as session:
        named, spelled, other = (
            post("停水", url=url),
            post("停水二", url="https://bbs.example/t/7/#reply-3"),
            post("停水三", url=f"{url}0"),
        )
        ids = save_posts(session, [named, spelled, other]).ids
        act(session, cluster(session, ids[0]), Detect("burst", {}), T0)
        assert object_to(session, f"{url}/", days(1)) == ObjectionReport(2)
        assert left(session) == [ids[2]]
        again = save_posts(session, [named, spelled, post("停水四", url=f"{url}#reply-9"), post("别的")])
        assert (again.saved, again.objected, again.repeats) == (1, 3, 0)
        assert object_to(session, url, days(2)) == ObjectionReport(0)
    with any_db.reading() as session:
        assert [row.text for row in search_posts(session, "停水").rows] == ["停水三"]
        assert [event.kind for event in events.events_after(session, 0)][-2:] == [
            "objection",
            "objection_enforced",
        ]
        assert url not in str([event.payload for event in events.events_after(session, 0)])


def test_a_purged_text_is_not_left_readable_in_the_file(sqlite_db: Database, post: Factory) -> None:
    with sqlite_db.transaction() as session:
        save_posts(
            session, [post("秘密Xyzzyplugh内容", fetched_at=T0), *(post(f"帖子{n}") for n in range(50))]
        )
    with sqlite_db.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    path = Path(sqlite_db.engine.url.database or "")
    assert b"Xyzzyplugh" in path.read_bytes()
    with sqlite_db.transaction() as session:
        purge(session, days(180.5), PRIVACY)
    with sqlite_db.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    content = path.read_bytes()
    assert b"Xyzzyplugh" not in content
    assert b"xyzzyplugh" not in content


def words_in_index(db: Database) -> bytes:
    """What the file of the index holds of words, those of deleted posts included."""
    with db.reading() as session:
        return b"".join(session.scalars(text("SELECT block FROM post_fts_data")))


def test_words_of_deleted_posts_go_from_the_index_in_steps(
    sqlite_db: Database, post: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_PAGES", 2)
    with sqlite_db.transaction() as session:
        save_posts(session, [post("投诉龘靐饭店", fetched_at=T0)])
    for n in range(60):  # many small parts, as days bring them
        many = "".join(chr(0x4E00 + 17 * n + 3 * m) for m in range(200))
        with sqlite_db.transaction() as session:
            save_posts(session, [post(f"停水第{n}天，{many}没人管", fetched_at=days(179))])
    secret = "靐".encode()
    assert secret in words_in_index(sqlite_db)
    assert index.compact(sqlite_db) == 0, "nobody asked for it"
    with sqlite_db.transaction() as session:
        purge(session, days(180.5), PRIVACY)
    assert secret in words_in_index(sqlite_db), "asked for, and done outside the purge"
    steps = 0
    while done := index.compact(sqlite_db, limit_s=0.001):  # a call that has to stop is gone on with
        steps += done
        with sqlite_db.transaction() as session:  # others write in between
            save_posts(session, [post(f"停电第{steps}天", fetched_at=days(180))])
    assert steps > 2
    assert secret not in words_in_index(sqlite_db)
    assert index.compact(sqlite_db) == 0
    with sqlite_db.reading() as session:
        assert search_posts(session, "停水").total == 60
        assert search_posts(session, "停电").total == steps
        session.execute(text("INSERT INTO post_fts(post_fts) VALUES ('integrity-check')"))


@pytest.mark.parametrize("query", ["旧", "停水", "停水旧", "帖"])
def test_the_index_is_whole_after_a_purge(any_db: Database, post: Factory, query: str) -> None:
    with any_db.transaction() as session:
        save_posts(session, [post(f"停水旧帖{n}", fetched_at=days(n)) for n in range(20)])
        purge(session, days(190), PRIVACY)
        save_posts(session, [post("停水旧帖又来", fetched_at=days(190))])
        wanted = set(session.scalars(select(Post.id).where(Post.text.contains(query))))
        assert {row.id for row in search_posts(session, query).rows} == wanted
        if any_db.is_sqlite:
            session.execute(text("INSERT INTO post_fts(post_fts) VALUES ('integrity-check')"))
