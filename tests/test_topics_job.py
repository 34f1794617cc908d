"""The topics that are stored and told are those that the posts give: recounted by SQL of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from analysis import topics_job
from analysis.topics import MIN_POSTS
from config.bundle import Bundle
from incidents import access, lifecycle, retention, topics
from incidents.judgements import NewJudgement, add_post, open_watching, save_judgements
from incidents.posts import NewPost, save_posts
from incidents.session import Database
from incidents.states import Detect, Restrict
from reports.build import build_weekly
from reports.layout import Edition
from reports.model import ReportModel
from reports.render import render
from reports.topics import EXAMPLE_CHARS, example
from tests.console_world import World, client, world
from tests.fakes.week import MONDAY, WEEK, ZONE, at, bundle_in, utc
from tests.test_topics import posts as invented

BEFORE_WEEK = "2026-W46"
NEW_POST = Callable[..., NewPost]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundle_in(tmp_path / "city")


def fill(db: Database, post: NEW_POST, *, now: datetime = MONDAY) -> None:
    """Two weeks: lifts and buses in the first, lifts (more) and noise in the second; copies, an outsider, few posts."""
    made: list[tuple[NewPost, str, bool]] = []

    def put(day: int, domain: str, words: str, title: str, number: int, *, copy: bool = False) -> None:
        when = at(day, "08:00") + timedelta(minutes=7 * number)
        made.append(
            (
                post(
                    words,
                    title=title,
                    external_id=f"x{len(made)}",
                    published_at=when.astimezone(UTC),
                    fetched_at=(when + timedelta(minutes=5)).astimezone(UTC),
                    author_key=f"author-{len(made) % 40}",
                ),
                domain,
                copy,
            )
        )

    for one in invented(1, 8, matters=("lift", "bus")):
        put(9 + one.id % 6, "housing", one.text, one.title, one.id)
    for one in invented(2, 18, matters=("lift",)):
        put(16 + one.id % 6, "housing", one.text, one.title, one.id)
    for one in invented(3, 9, matters=("noise",)):
        put(17 + one.id % 5, "housing", one.text, one.title, one.id)
    for number in range(4):
        put(18, "housing", made[30][0].text, made[30][0].title, number, copy=True)
        put(18, "schooling", f"学校第{number}件事各不相同", "", number)
        put(18, "none", "电梯维修没人管，电梯故障", "", number)
    with db.transaction() as session:
        ids = save_posts(session, [new for new, _, _ in made]).ids
        original = ids[30]
        save_judgements(
            session,
            [
                NewJudgement(
                    post_id=id_,
                    domain=domain,
                    domain_score=0.9,
                    tone="neg",
                    tone_score=0.8,
                    snownlp_score=0.2,
                    signal=True,
                    signal_score=0.9,
                    risk=1,
                    risk_score=0.5,
                    model_version="m",
                    near_copy_of=original if copy else None,
                )
                for id_, (_, domain, copy) in zip(ids, made, strict=True)
            ],
            now,
        )


def make(db: Database, bundle: Bundle, now: datetime = MONDAY) -> topics_job.TopicsSummary:
    return topics_job.run(db, bundle, now, (BEFORE_WEEK, WEEK), find=topics_job.here)


def rows(db: Database, statement: str, **values: object) -> list[Any]:
    with db.engine.connect() as connection:
        return list(connection.execute(text(statement), values))


SINCE, UNTIL, BEFORE = utc(at(16, "00:00")), utc(at(23, "00:00")), utc(at(9, "00:00"))


def test_every_stored_figure_equals_a_recount(db: Database, bundle: Bundle, post: NEW_POST) -> None:
    fill(db, post)
    done = make(db, bundle)
    stored = rows(db, "SELECT * FROM topic_week WHERE week = :week ORDER BY id", week=WEEK)
    assert done.topics == len(stored) + len(
        rows(db, "SELECT id FROM topic_week WHERE week = :week", week=BEFORE_WEEK)
    )
    assert len(stored) >= 2
    seen: set[int] = set()
    for row in stored:
        ids = json.loads(row.examples)
        marks = ",".join(map(str, ids))
        (inside,) = rows(
            db,
            f"""SELECT count(DISTINCT coalesce(j.near_copy_of, p.id)) AS posts, count(DISTINCT p.author_key) AS voices
                FROM post p JOIN judgement j ON j.post_id = p.id
                WHERE p.id IN ({marks}) AND j.domain = :domain AND p.published_at >= :since AND p.published_at < :until""",
            domain=row.domain,
            since=SINCE,
            until=UNTIL,
        )
        assert (row.posts, row.voices) == (inside.posts, inside.voices) == (len(ids), row.voices)
        assert not seen & set(ids), "a post is in two topics"
        seen |= set(ids)
        earlier = rows(
            db,
            "SELECT posts FROM topic_week WHERE week = :week AND domain = :domain AND key = :key",
            week=BEFORE_WEEK,
            domain=row.domain,
            key=row.key,
        )
        assert row.before == (earlier[0].posts if earlier else 0)
    (whole,) = rows(
        db,
        """SELECT count(DISTINCT coalesce(j.near_copy_of, p.id)) AS posts FROM post p JOIN judgement j ON j.post_id = p.id
           WHERE j.domain = 'housing' AND p.published_at >= :since AND p.published_at < :until""",
        since=SINCE,
        until=UNTIL,
    )
    with db.reading() as session:
        counted = topics.domain_posts(session, at(16, "00:00"), at(23, "00:00"))
    assert counted == {"housing": whole.posts, "schooling": 4}
    assert len(seen) < whole.posts


def test_the_report_tells_what_is_stored(db: Database, bundle: Bundle, post: NEW_POST) -> None:
    fill(db, post)
    make(db, bundle)
    with db.reading() as session:
        model = build_weekly(session, bundle, WEEK, MONDAY)
    told = {(domain.id, line.key): line for domain in model.topics for line in domain.topics}
    stored = rows(db, "SELECT * FROM topic_week WHERE week = :week", week=WEEK)
    assert {(row.domain, row.key): (row.title, row.posts, row.voices, row.before) for row in stored} == {
        key: (line.title, line.posts, line.voices, line.before) for key, line in told.items()
    }
    by_id = {domain.id: domain for domain in model.topics}
    assert by_id["schooling"].few
    assert by_id["schooling"].posts == 4 < MIN_POSTS
    housing = by_id["housing"]
    assert [line.posts for line in housing.topics] == sorted(
        (line.posts for line in housing.topics), reverse=True
    )
    trends = {line.title: line.trend for line in housing.topics}
    assert "new" in trends.values()
    lift = next(line for line in housing.topics if "电梯" in line.title and line.before)
    assert lift.trend in ("growing", "steady")
    keys = {line.key for line in housing.topics}
    earlier = rows(db, "SELECT title, key FROM topic_week WHERE week = :w", w=BEFORE_WEEK)
    gone = {row.title for row in earlier if row.key not in keys}
    assert set(housing.gone) == gone
    assert any("公交" in title for title in gone)


@pytest.mark.parametrize("language", ["zh_CN", "en"])
def test_mail_and_text_show_topics_in_both_languages(
    db: Database, bundle: Bundle, post: NEW_POST, language: str
) -> None:
    fill(db, post)
    make(db, bundle)
    with db.reading() as session:
        model = build_weekly(session, bundle, WEEK, MONDAY)
    drawn = render(model, Edition(), language)
    for whole in (drawn.mail, drawn.text):
        for domain in model.topics:
            for line in domain.topics:
                assert line.title in whole
                assert line.example in whole
        assert ("不足以归纳话题" if language == "zh_CN" else "not enough posts to tell topics") in whole
    assert ReportModel.model_validate(model.stored()) == model


def test_a_week_without_topics_has_no_section_and_keeps_its_digest(
    db: Database, bundle: Bundle, post: NEW_POST
) -> None:
    fill(db, post)
    with db.reading() as session:
        model = build_weekly(session, bundle, WEEK, MONDAY)
    assert model.topics == ()
    assert "本周话题" not in render(model, Edition(), "zh_CN").text
    old = {key: value for key, value in model.stored().items() if key != "topics"}
    assert ReportModel.model_validate(old).digest() == model.digest()


def test_while_the_week_runs_the_week_before_counts_as_far(
    db: Database, bundle: Bundle, post: NEW_POST
) -> None:
    fill(db, post)
    now = at(19, "12:00")
    make(db, bundle, now)
    earlier = {
        row.key: json.loads(row.examples)
        for row in rows(db, "SELECT key, examples FROM topic_week WHERE week = :w", w=BEFORE_WEEK)
    }
    stored = rows(db, "SELECT * FROM topic_week WHERE week = :w", w=WEEK)
    kept = [row for row in stored if row.key in earlier]
    assert kept
    with db.reading() as session:
        told = build_weekly(session, bundle, WEEK, now).topics
    assert [domain.gone for domain in told] == [()] * len(told), "nothing is gone yet"
    for row in kept:
        ids = ",".join(map(str, earlier[row.key]))
        (count,) = rows(
            db,
            f"SELECT count(*) AS n FROM post WHERE id IN ({ids}) AND published_at < :cut",
            cut=utc(at(12, "12:00")),
        )
        assert row.before == count.n < len(earlier[row.key])


def test_made_again_they_are_the_same(db: Database, bundle: Bundle, post: NEW_POST) -> None:
    fill(db, post)
    make(db, bundle)
    with db.reading() as session:
        first = topics.topics_of(session, WEEK)
    make(db, bundle)
    with db.reading() as session:
        assert topics.topics_of(session, WEEK) == first


def test_the_job_runs_once_a_local_day_and_again_when_posts_have_doubled(
    db: Database, bundle: Bundle, post: NEW_POST, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics_job, "run", _run_here(topics_job.run))
    fill(db, post)
    first = at(17, "09:30")
    done = topics_job.run_due(db, bundle, first)
    assert done is not None
    assert done.weeks == (BEFORE_WEEK, WEEK)
    assert topics_job.run_due(db, bundle, first + timedelta(minutes=5)) is None
    later = topics_job.run_due(db, bundle, at(17, "23:00"))
    assert later is None or later.weeks == (WEEK,)
    next_day = topics_job.run_due(db, bundle, at(18, "00:05"))
    assert next_day is not None
    assert next_day.weeks == (BEFORE_WEEK, WEEK)
    monday = topics_job.run_due(db, bundle, at(23, "00:05"))
    assert monday is not None
    assert monday.weeks == (WEEK, "2026-W48")


def _run_here(run: Callable[..., topics_job.TopicsSummary]) -> Callable[..., topics_job.TopicsSummary]:
    return lambda db, bundle, now, weeks: run(db, bundle, now, weeks, find=topics_job.here)


def test_a_process_of_its_own_gives_the_same(db: Database, bundle: Bundle, post: NEW_POST) -> None:
    fill(db, post)
    make(db, bundle)
    with db.reading() as session:
        here = topics.topics_of(session, WEEK)
    topics_job.run(db, bundle, MONDAY, (WEEK,))
    with db.reading() as session:
        assert topics.topics_of(session, WEEK) == here


def test_works_on_both_databases(any_db: Database, bundle: Bundle, post: NEW_POST) -> None:
    fill(any_db, post)
    assert make(any_db, bundle).topics >= 3
    with any_db.reading() as session:
        assert topics.domain_posts(session, at(16, "00:00"), at(23, "00:00"))["schooling"] == 4
        found = topics.week_posts(session, at(16, "00:00"), at(23, "00:00"))
        assert topics.published_before(session, [one.id for one in found], at(16, "00:00")) == 0
        assert {one.domain for one in found} == {"housing", "schooling"}


def test_a_post_whose_author_objected_leaves_its_topic(db: Database, bundle: Bundle, post: NEW_POST) -> None:
    fill(db, post)
    make(db, bundle)
    with db.reading() as session:
        first = topics.topics_of(session, WEEK)[0]
    url = rows(db, "SELECT url FROM post WHERE id = :id", id=first.examples[0])[0].url
    with db.transaction() as session:
        retention.object_to(session, url, MONDAY)
    with db.reading() as session:
        assert first.examples[0] not in topics.topics_of(session, WEEK)[0].examples


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("电梯坏了。没人修", "电梯坏了"),
        ("[手机号]请联系", "请联系"),
        ("#话题# 电梯维修一直拖着不办老人只能爬楼天天如此", "话题 电梯维修一直拖着不办老人只能爬楼…"),
        ("", ""),
        ("。", "。"),
    ],
)
def test_an_example_is_short(given: str, shown: str) -> None:
    assert example(given) == shown
    assert len(example(given)) <= EXAMPLE_CHARS


@pytest.mark.parametrize("week", ["2026-W54", "W47", "2026-47", "0001-W01", "9999-W53", "２０２６-W47"])
def test_a_week_that_does_not_exist_is_refused(week: str) -> None:
    with pytest.raises(ValueError, match="week"):
        topics.bounds(week, ZONE)


@pytest.mark.parametrize(
    ("posts", "before", "known", "said"),
    [
        (9, 0, False, "new"),
        (9, 1, True, "growing"),
        (9, 8, True, "steady"),
        (2, 14, True, "fading"),
        (0, 0, True, "steady"),
    ],
)
def test_a_change_counts_when_it_is_larger_than_chance(
    posts: int, before: int, known: bool, said: str
) -> None:
    assert topics.trend(posts, before, known=known) == said


# --- console -----------------------------------------------------------------------------------------------------


@pytest.fixture
def town(db: Database, tmp_path: Path, post: NEW_POST) -> World:
    made = world(db, tmp_path)
    made.now = MONDAY
    made.account()
    fill(db, post)
    topics_job.run(db, made.bundle, MONDAY, (BEFORE_WEEK, WEEK), find=topics_job.here)
    return made


def test_the_page_shows_every_topic_and_leads_to_the_search(town: World) -> None:
    browser = client(town)
    answer = browser.get("/topics")
    assert answer.status_code == 200
    with town.db.reading() as session:
        stored = topics.topics_of(session, WEEK)
    for topic in stored:
        assert topic.title in answer.text
    link = answer.text.split('href="/search?')[1].split('"')[0].replace("&amp;", "&")
    found = browser.get(f"/search?{link}")
    assert found.status_code == 200
    assert 'class="post"' in found.text
    assert "Topics" in browser.get("/topics", params={"lang": "en", "week": BEFORE_WEEK}).text


def test_weeks_that_are_none_are_told(town: World) -> None:
    browser = client(town)
    for week in ("2026-W99", "nonsense", "2030-W01", "2026-W10"):
        answer = browser.get("/topics", params={"week": week})
        assert answer.status_code == 200
        assert ("没有这一周" if week != "2026-W10" else "这一周没有话题") in answer.text


def test_a_clerk_of_a_department_sees_no_topics(town: World) -> None:
    town.account("zhou", "department", "education", "周")
    browser = client(town, "zhou")
    assert browser.get("/topics").status_code == 403
    assert 'href="/topics"' not in browser.get("/").text


def test_a_topic_of_a_restricted_matter_is_counted_and_not_told(town: World, bundle: Bundle) -> None:
    with town.db.reading() as session:
        stored = topics.topics_of(session, WEEK)
    about, other = stored[0], stored[1]
    with town.db.transaction() as session:
        incident = open_watching(
            session,
            title="电梯",
            domain="housing",
            district="",
            first_posted_at=at(16, "08:00").astimezone(UTC),
            sketch={},
        )
        for number in about.examples:
            add_post(
                session, incident, number, similarity=1.0, voice=True, published_at=at(16, "08:00").astimezone(UTC), negative=True, now=MONDAY
            )  # fmt: skip
        lifecycle.handle(
            session, incident, Detect("manual", {}), actor="du", channel="console", now=MONDAY, idempotency_key="d"
        )  # fmt: skip
    assert about.title in client(town).get("/topics").text
    town.account("du", "supervisor")
    with town.db.transaction() as session:
        lifecycle.handle(
            session, incident, Restrict(("du",), "涉及未成年人"), actor="du", channel="console", now=MONDAY, idempotency_key="r"
        )  # fmt: skip
    shown = client(town).get("/topics").text
    assert about.title not in shown
    assert other.title in shown
    assert access.UNTOLD in shown
    assert about.title in client(town, "du").get("/topics").text
    with town.db.reading() as session:
        model = build_weekly(session, bundle, WEEK, MONDAY)
    told = [topic for domain in model.topics for topic in domain.topics]
    assert [topic.posts for topic in told if topic.title == access.UNTOLD] == [about.posts]
    assert not any(topic.title == about.title or (topic.example and topic.key == about.key) for topic in told)
