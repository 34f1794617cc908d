"""Titles of hot lists: nobody's voice, but a question whether the house knew before; what people answer is on the record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from analysis import job
from incidents import hot_titles, hot_verdicts, queries, rebuild, retention, weekly_numbers
from incidents.crawl_progress import known_ids
from incidents.hot_titles import TitleView
from incidents.judgements import open_watching
from incidents.lifecycle import handle
from incidents.models import HotTitle, HotVerdict, Incident, IncidentPost, Post
from incidents.posts import NewPost, save_posts
from incidents.proportions import wilson
from incidents.session import Database, Session
from incidents.states import Detect, Merge, Refused
from tests.conftest import PostFactory
from tests.console_world import jinan

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
WATCHED = jinan().settings.analysis.watched_domains
SCHOOL = "历下区泉景小学食堂饭菜发霉，三年级多名学生呕吐腹泻，家长要求调查学校食堂"


def hot(post: PostFactory, title: str, at: datetime, **fields: object) -> NewPost:
    """What a connector gives for an entry of a hot list."""
    more = {"source_id": "weibo-hot", "author_key": None, "url": "", "external_id": title, **fields}
    mark = {"signal": "trend", "list": "weibo", "rank": 3}
    return post(title, title=title, published_at=at, fetched_at=at, provenance=mark, **more)


def store(db: Database, *posts: NewPost) -> tuple[int, tuple[int, ...]]:
    with db.transaction() as session:
        result = save_posts(session, posts)
    return result.saved, result.ids


def raised(db: Database, posts: tuple[int, ...], at: datetime) -> str:
    """The incident of a post, raised by hand at `at` unless it was; returns its number."""
    with db.transaction() as session:
        number = session.get(IncidentPost, posts[0])
        assert number is not None
        incident = session.get(Incident, number.incident_id)
        assert incident is not None
        if incident.state == "watching":
            handle(session, incident.id, Detect("manual", {}), actor="lin", channel="console", now=at)
    with db.reading() as session:
        view = queries.get_incident(session, number.incident_id)
    assert view is not None
    return view.number


def shown(session: Session, now: datetime, **more: datetime) -> hot_titles.Recall:
    return hot_titles.recall(session, NOW - timedelta(days=3), now, WATCHED, **more)


def test_titles_are_counted_nowhere_as_posts(any_db: Database, post: PostFactory) -> None:
    words = "济南泉景小学学生食堂就餐后呕吐"
    _, ids = store(any_db, *(post(SCHOOL + f"（{n}）", published_at=NOW - 2 * HOUR) for n in range(3)))
    saved, none = store(any_db, *(hot(post, words, NOW, external_id=f"h{n}") for n in range(9)))
    assert (saved, none) == (9, ())
    assert store(any_db, hot(post, words, NOW + HOUR, external_id="h0")) == (0, ())
    job.run(any_db, jinan(), NOW + HOUR)
    with any_db.reading() as session:
        assert session.query(Post).count() == 3
        assert {row.posts for row in session.query(Incident)} <= {1, 2, 3}
        assert sum(row.posts for row in session.query(Incident)) == 3
        bounds = [NOW - timedelta(days=1), NOW + timedelta(days=1)]
        assert sum(cell.posts for cell in weekly_numbers.post_cells(session, bounds)) == len(ids) == 3
        assert [count.source_id for count in weekly_numbers.source_counts(session, bounds)] == ["forum"]
        assert known_ids(session, "weibo-hot", ["h1", "nothing"]) == {"h1"}


def test_a_title_is_held_against_the_incidents_of_the_week_around_it(
    any_db: Database, post: PostFactory
) -> None:
    _, ids = store(any_db, post(SCHOOL, title="泉景小学食堂饭菜发霉", published_at=NOW - 2 * HOUR))
    job.run(any_db, jinan(), NOW - HOUR)
    number = raised(any_db, ids, NOW - HOUR)
    store(
        any_db,
        hot(post, "历下区泉景小学食堂饭菜发霉多名学生呕吐腹泻", NOW),
        hot(post, "历下区泉景小学食堂饭菜发霉多名学生呕吐", NOW + HOUR, source_id="baidu-hot"),
        hot(post, "章丘区绣源小区新建商品房楼板开裂业主要求退房", NOW),
        hot(post, "济南籍歌手新歌发布", NOW),
    )
    job.run(any_db, jinan(), NOW + 2 * HOUR)
    with any_db.reading() as session:
        seen = shown(session, NOW + 2 * HOUR)
    by_title = {title.title: title for title in seen.titles}
    assert [title.outcome for title in seen.titles] == ["before", "open"]
    school = seen.titles[0]
    assert (school.number, school.copies, school.lead) == (number, 1, HOUR)  # two lists, one matter
    assert "章丘区绣源小区新建商品房楼板开裂业主要求退房" in by_title
    assert [title.title for title in seen.others] == ["济南籍歌手新歌发布"]
    assert (seen.before, seen.n) == (1, 2)


def test_an_incident_raised_after_the_list_is_no_merit_and_one_never_raised_neither(
    any_db: Database, post: PostFactory
) -> None:
    _, ids = store(any_db, post(SCHOOL, title="泉景小学食堂饭菜发霉", published_at=NOW - 2 * HOUR))
    store(any_db, hot(post, "历下区泉景小学食堂饭菜发霉多名学生呕吐腹泻", NOW))
    job.run(any_db, jinan(), NOW + HOUR)
    with any_db.transaction() as session:  # whatever the models would have raised: this one is a cluster
        member = session.get(IncidentPost, ids[0])
        assert member is not None
        incident = session.get(Incident, member.incident_id)
        assert incident is not None
        incident.state, incident.detected_at = "watching", None
        session.flush()
        assert [title.outcome for title in shown(session, NOW + HOUR).titles] == ["unraised"]
        incident.state, incident.detected_at = "detected", NOW + 2 * HOUR
    with any_db.reading() as session:
        seen = shown(session, NOW + 3 * HOUR)
        assert [title.outcome for title in seen.titles] == ["after"]
        assert seen.before == 0
        # as of before the detection, the report of that time says what was known then
        told = shown(session, NOW + HOUR, as_of=NOW + HOUR / 2).titles
        assert [title.outcome for title in told] == ["open"]


def test_a_merge_of_later_days_does_not_change_the_recall_of_a_report_that_was_sent(
    any_db: Database, post: PostFactory
) -> None:
    with any_db.transaction() as session:
        old, late = (
            open_watching(
                session, title="停水", domain="food_safety", district="", first_posted_at=NOW, sketch={}
            )
            for _ in range(2)
        )
        handle(session, old, Detect("manual", {}), actor="lin", channel="console", now=NOW - 5 * HOUR)
        handle(session, late, Detect("manual", {}), actor="lin", channel="console", now=NOW + HOUR)
    store(any_db, hot(post, "历下区泉景小学食堂饭菜发霉", NOW))
    with any_db.transaction() as session:
        title = session.scalars(select(HotTitle)).one()
        title.domain, title.incident_id, title.matched_at = "food_safety", late, NOW + 2 * HOUR
    with any_db.reading() as session:
        assert [t.outcome for t in shown(session, NOW + 9 * HOUR, as_of=NOW + 3 * HOUR).titles] == ["after"]
    with any_db.transaction() as session:
        handle(session, late, Merge(old), actor="lin", channel="console", now=NOW + 5 * HOUR)
    with any_db.reading() as session:
        assert [t.outcome for t in shown(session, NOW + 9 * HOUR, as_of=NOW + 3 * HOUR).titles] == ["after"]
        assert [t.outcome for t in shown(session, NOW + 9 * HOUR).titles] == ["before"]


def test_a_person_decides_and_the_word_is_an_event(any_db: Database, post: PostFactory) -> None:
    _, ids = store(any_db, post(SCHOOL, published_at=NOW - 2 * HOUR))
    job.run(any_db, jinan(), NOW - HOUR)
    number = raised(any_db, ids, NOW - HOUR)
    store(any_db, hot(post, "天桥区某小区住宅楼供暖不热业主投诉", NOW), hot(post, "济南籍歌手新歌发布", NOW))
    job.run(any_db, jinan(), NOW + HOUR)

    def titles(session: Session) -> dict[str, TitleView]:
        seen = shown(session, NOW + 9 * HOUR)
        return {title.title: title for title in (*seen.titles, *seen.others)}

    with any_db.reading() as session:
        heating = titles(session)["天桥区某小区住宅楼供暖不热业主投诉"]
        song = titles(session)["济南籍歌手新歌发布"]

    def say(title: int, verdict: str, hours: int, number: str = "") -> None:
        with any_db.transaction() as session:
            hot_verdicts.decide(
                session, title, verdict, number=number, actor="lin", channel="console", now=NOW + hours * HOUR
            )

    say(heating.id, "missed", 2)
    say(song.id, "not_ours", 2)
    with any_db.reading() as session:
        assert titles(session)[heating.title].outcome == "missed"
        assert titles(session)[heating.title].by_person == "lin"
        assert titles(session)[song.title].outcome == "not_ours"
        early = hot_titles.recall(
            session, NOW - HOUR, NOW + HOUR, WATCHED, as_of=NOW + HOUR
        )  # a report of then does not know what was said later
        assert "missed" not in [title.outcome for title in early.titles]
    say(heating.id, "same", 3, number.lower())
    with any_db.reading() as session:
        assert titles(session)[heating.title].outcome == "before"
        assert titles(session)[heating.title].number == number
        told = [e.payload for e in queries.latest_events(session) if e.kind == "hot_title"]
        assert [(p["title"], p["verdict"], p["was"]) for p in told] == [
            (heating.id, "same", "missed"),
            (song.id, "not_ours", ""),
            (heating.id, "missed", ""),
        ]
        # what was printed before the word was changed stays
        then = shown(session, NOW + 9 * HOUR, as_of=NOW + 3 * HOUR)
        assert {t.title: t.outcome for t in then.titles}[heating.title] == "missed"
    for title, verdict, wrong in ((999, "missed", ""), (song.id, "perhaps", ""), (song.id, "same", "QS-1")):
        with pytest.raises(Refused):
            say(title, verdict, 4, wrong)
    with any_db.transaction() as session:
        assert list(rebuild.differences(session)) == []
        row = session.get(HotVerdict, heating.id)
        assert row is not None
        session.delete(row)
        session.flush()
        assert [d.table for d in rebuild.repair(session)] == ["hot_verdict"]
        assert titles(session)[heating.title].outcome == "before"


def test_titles_stored_as_posts_by_earlier_versions_are_moved_once(
    any_db: Database, post: PostFactory
) -> None:
    store(any_db, post(SCHOOL, published_at=NOW))
    with any_db.transaction() as session:
        old = session.query(Post).one()
        old.provenance = {"signal": "trend", "list": "weibo", "rank": 2}
    privacy = jinan().settings.privacy
    with any_db.transaction() as session:
        retention.purge(session, NOW + HOUR, privacy)
        assert session.query(Post).count() == 0
        assert [row.list_name for row in session.query(HotTitle)] == ["weibo"]
    with any_db.transaction() as session:
        report = retention.purge(session, NOW + timedelta(days=privacy.post_days + 2), privacy)
        assert report.hot_titles == 1


def test_an_objection_removes_and_bars_a_title(any_db: Database, post: PostFactory) -> None:
    title = hot(post, "济南某校食堂", NOW, url="https://hot.example/1")
    store(any_db, title)
    with any_db.transaction() as session:
        assert retention.object_to(session, "https://hot.example/1", NOW).posts == 1
    assert store(any_db, title) == (0, ())


def test_a_new_title_waits_for_no_old_one(any_db: Database, post: PostFactory) -> None:
    store(any_db, *(hot(post, f"某地旧闻{n}", NOW) for n in range(3)))
    with any_db.transaction() as session:
        for row in session.query(HotTitle):
            row.judged_at = NOW
    store(any_db, hot(post, "历下区某小区停水", NOW + HOUR))
    with any_db.reading() as session:
        assert [one.title for one in hot_titles.waiting(session, NOW + HOUR, limit=2)] == [
            "历下区某小区停水",
            "某地旧闻0",
        ]


def test_a_word_on_a_removed_title_is_no_word_on_the_one_that_gets_its_number(
    db: Database, post: PostFactory
) -> None:
    store(db, hot(post, "济南某校食堂旧闻", NOW))
    with db.transaction() as session:
        old = session.query(HotTitle).one().id
        hot_verdicts.decide(session, old, "not_ours", actor="lin", channel="console", now=NOW + HOUR)
        hot_titles.forget(session, NOW + 2 * HOUR)
    store(db, hot(post, "历下区某小区停水三天", NOW + 3 * HOUR))
    with db.transaction() as session:
        new = session.query(HotTitle).one()
        assert new.id == old  # SQLite gives the number again
        new.domain = "housing"
        session.flush()
        (title,) = shown(session, NOW + 4 * HOUR).titles
        assert (title.outcome, title.by_person) == ("open", "")
        hot_verdicts.decide(session, old, "missed", actor="lin", channel="console", now=NOW + 5 * HOUR)
        (event, _) = [e for e in queries.latest_events(session) if e.kind == "hot_title"]
        assert (event.payload["verdict"], event.payload["was"]) == ("missed", "")
        assert [one.outcome for one in shown(session, NOW + 6 * HOUR).titles] == ["missed"]


def test_the_interval_of_a_share() -> None:
    low, high = wilson(11, 14)
    assert (round(low, 3), round(high, 3)) == (0.524, 0.924)
    assert wilson(0, 0) == (0.0, 1.0)
