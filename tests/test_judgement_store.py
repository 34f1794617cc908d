"""Judgements and clusters: counted in whatever order posts arrive, each post in one cluster."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

from incidents import judgements
from incidents.judgements import HourCount, NewJudgement
from incidents.models import Incident, IncidentPost, Judgement, Post
from incidents.posts import NewPost, save_posts, unjudged
from incidents.session import Database, Session

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
Factory = Callable[..., NewPost]


def judgement(post_id: int, domain: str = "services", version: str = "test-1") -> NewJudgement:
    return NewJudgement(
        post_id,
        domain,
        0.9,
        "neg",
        0.8,
        0.2,
        True,
        0.7,
        1,
        0.3,
        version,
        districts=("历下区",),
        places=({"kind": "district", "name": "历下", "norm": "历下区"},),
        reasons={"risk": ["停水"]},
    )


def watch(session: Session, when: datetime = T0) -> int:
    return judgements.open_watching(
        session, title="停水", domain="services", district="历下区", first_posted_at=when, sketch={"n": 1}
    )


def add(
    session: Session, incident: int, post: int, when: datetime, *, voice: bool = True, negative: bool = True
) -> bool:
    return judgements.add_post(
        session,
        incident,
        post,
        similarity=0.8,
        voice=voice,
        published_at=when,
        negative=negative,
        now=T0 + timedelta(days=1),
    )


def test_a_judgement_is_stored_and_its_post_no_longer_waits(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        ids = save_posts(session, [post(), post()]).ids
        assert judgements.save_judgements(session, [judgement(ids[0])], T0) == 1
    with any_db.reading() as session:
        assert [row.id for row in unjudged(session, 9)] == [ids[1]]
        row = session.get_one(Judgement, ids[0])
        assert (row.domain, row.districts, row.judged_at, row.reasons) == (
            "services",
            ["历下区"],
            T0,
            {"risk": ["停水"]},
        )
        assert row.places == [{"kind": "district", "name": "历下", "norm": "历下区"}]
        assert session.get_one(Post, ids[0]).judged_at == T0


def test_a_new_model_replaces_the_judgement(any_db: Database, post: Factory) -> None:
    later = T0 + timedelta(days=1)
    with any_db.transaction() as session:
        ids = save_posts(session, [post() for _ in range(500)]).ids  # more than one statement takes
        assert judgements.save_judgements(session, [judgement(id_) for id_ in ids], T0) == 500
        judgements.save_judgements(session, [judgement(ids[0], "housing", "test-2")], later)
    with any_db.reading() as session:
        row = session.get_one(Judgement, ids[0])
        assert (row.domain, row.model_version, row.judged_at) == ("housing", "test-2", later)
        assert judgements.count_judged(session) == {"test-1": 499, "test-2": 1}


def test_a_post_purged_meanwhile_is_passed_over(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        kept = save_posts(session, [post()]).ids[0]
        assert judgements.save_judgements(session, [judgement(12345), judgement(kept)], T0) == 1
        assert judgements.save_judgements(session, [], T0) == 0


def test_counts_and_ends_follow_the_posts_in_any_order(any_db: Database, post: Factory) -> None:
    hours = [5, 3, 5, 9, 1]  # hours of publication, in the order of arrival
    with any_db.transaction() as session:
        ids = save_posts(session, [post() for _ in hours]).ids
        incident = watch(session, T0 + timedelta(hours=hours[0]))
        for number, (id_, hour) in enumerate(zip(ids, hours, strict=True)):
            assert add(
                session,
                incident,
                id_,
                T0 + timedelta(hours=hour, minutes=7),
                voice=number != 2,
                negative=number > 1,
            )
    with any_db.reading() as session:
        row = session.get_one(Incident, incident)
        assert (row.posts, row.voices) == (5, 4)
        assert row.first_posted_at == T0 + timedelta(hours=1, minutes=7)
        assert row.last_post_at == T0 + timedelta(hours=9, minutes=7)
        assert judgements.hour_counts(session, incident, T0) == [
            HourCount(T0 + timedelta(hours=1), 1, 1, 1),
            HourCount(T0 + timedelta(hours=3), 1, 1, 0),
            HourCount(T0 + timedelta(hours=5), 2, 1, 1),
            HourCount(T0 + timedelta(hours=9), 1, 1, 1),
        ]
        assert len(judgements.hour_counts(session, incident, T0 + timedelta(hours=5, minutes=59))) == 2
        assert judgements.post_ids(session, incident) == sorted(ids)


def test_an_hour_is_an_hour_of_utc_whatever_zone_the_time_came_in(any_db: Database, post: Factory) -> None:
    half_hour_zone = timezone(timedelta(hours=5, minutes=30))
    with any_db.transaction() as session:
        ids = save_posts(session, [post(), post()]).ids
        incident = watch(session)
        add(session, incident, ids[0], datetime(2026, 3, 2, 9, 10, tzinfo=half_hour_zone))  # 03:40 UTC
        add(session, incident, ids[1], datetime(2026, 3, 2, 3, 5, tzinfo=UTC))
        assert [hour.posts for hour in judgements.hour_counts(session, incident, T0)] == [2]


def test_the_ends_are_instants_whatever_zone_the_times_came_in(any_db: Database, post: Factory) -> None:
    here = timezone(timedelta(hours=8))
    with any_db.transaction() as session:
        ids = save_posts(session, [post(), post()]).ids
        incident = watch(session, T0)
        add(session, incident, ids[0], T0.astimezone(here))
        add(session, incident, ids[1], (T0 + timedelta(hours=2)).astimezone(here))
    with any_db.reading() as session:
        row = session.get_one(Incident, incident)
        assert (row.first_posted_at, row.last_post_at) == (T0, T0 + timedelta(hours=2))


def test_a_post_is_counted_once_and_stays_where_it_is(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        id_ = save_posts(session, [post()]).ids[0]
        first, second = watch(session), watch(session)
        assert add(session, first, id_, T0)
        assert not add(session, first, id_, T0)
        assert not add(session, second, id_, T0)
    with any_db.reading() as session:
        assert [session.get_one(Incident, one).posts for one in (first, second)] == [1, 0]
        assert session.get_one(IncidentPost, id_).incident_id == first


def test_an_incident_loaded_before_shows_the_new_counts(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        id_ = save_posts(session, [post()]).ids[0]
        incident = watch(session)
        loaded = session.get_one(Incident, incident)
        add(session, incident, id_, T0)
        assert loaded.posts == 1
        judgements.update_sketch(session, incident, {"n": 2}, "新标题", "housing", "市中区")
        assert (loaded.sketch, loaded.title, loaded.domain, loaded.district) == (
            {"n": 2},
            "新标题",
            "housing",
            "市中区",
        )


def test_live_incidents_are_those_with_a_recent_post_in_any_state(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        ids = save_posts(session, [post() for _ in range(3)]).ids
        old, closed, fresh = watch(session), watch(session), watch(session)
        for incident, id_, days in ((old, ids[0], 0), (closed, ids[1], 5), (fresh, ids[2], 6)):
            add(session, incident, id_, T0 + timedelta(days=days))
        session.get_one(Incident, closed).state = "closed"
        session.flush()
        live = judgements.live_incidents(session, T0 + timedelta(days=5))
        assert [(one.id, one.state, one.posts, one.sketch) for one in live] == [
            (closed, "closed", 1, {"n": 1}),
            (fresh, "watching", 1, {"n": 1}),
        ]
        assert live[1].last_post_at == T0 + timedelta(days=6)


def test_authors_are_told_apart_and_the_nameless_left_out(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        ids = save_posts(
            session, [post(f"第{n}帖", author_key=key) for n, key in enumerate(["a", "b", "a", None])]
        ).ids
        incident = watch(session)
        for id_ in ids:
            add(session, incident, id_, T0)
        assert judgements.authors(session, incident) == {"a", "b"}
