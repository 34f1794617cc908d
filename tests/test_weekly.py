"""The weekly report says what the rows say, the same on every database, whenever it is written."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from config.bundle import Bundle
from incidents.events import verify
from incidents.judgements import NewJudgement, save_judgements
from incidents.lifecycle import handle
from incidents.posts import NewPost, save_posts
from incidents.session import Database
from incidents.states import Note, Respond
from reports.build import build_weekly
from reports.layout import Edition
from reports.model import ReportModel
from reports.period import PeriodError, last_whole, period_of
from reports.render import render
from tests.conftest import AUDIT_KEY
from tests.fakes.week import MONDAY, WEEK, at, bundle_in, two_weeks, utc

GOLDEN = Path(__file__).parent / "data" / "golden"
#: the week of the report as SQLite stores times
SINCE, UNTIL = utc(at(16, "00:00")), utc(at(23, "00:00"))
BEFORE = utc(at(9, "00:00"))


@pytest.fixture
def town(two_weeks_file: Path, tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "town.db"
    shutil.copyfile(two_weeks_file, path)
    database = Database(f"sqlite:///{path}", audit_key=AUDIT_KEY)
    yield database
    database.close()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundle_in(tmp_path / "city")


def weekly(db: Database, bundle: Bundle, week: str = WEEK, now: datetime = MONDAY) -> ReportModel:
    with db.reading() as session:
        return build_weekly(session, bundle, week, now)


def rows(db: Database, statement: str, **values: object) -> list[tuple[Any, ...]]:
    """An independent recount: SQL written here, no code of the product."""
    with db.engine.connect() as connection:
        values = {"since": SINCE, "until": UNTIL, "before": BEFORE} | values
        return [tuple(row) for row in connection.execute(text(statement), values)]


def one(db: Database, statement: str, **values: object) -> Any:
    return rows(db, statement, **values)[0][0]


# --- figures against a recount ---------------------------------------------------------------------------------


def test_volume_and_tone_equal_a_recount(town: Database, bundle: Bundle) -> None:
    v = weekly(town, bundle).volume
    of_week = "FROM post p LEFT JOIN judgement j ON j.post_id = p.id WHERE p.published_at >= :since AND p.published_at < :until"
    assert v.posts == one(town, f"SELECT count(*) {of_week}") > 400
    assert v.before == one(
        town, "SELECT count(*) FROM post WHERE published_at >= :before AND published_at < :since"
    )
    assert v.judged == one(town, f"SELECT count(j.post_id) {of_week}") < v.posts
    assert v.negative == one(town, f"SELECT count(*) {of_week} AND j.tone = 'neg'")
    assert v.neutral == one(town, f"SELECT count(*) {of_week} AND j.tone = 'neu'")
    assert v.positive == one(town, f"SELECT count(*) {of_week} AND j.tone = 'pos'")
    assert v.copies == one(town, f"SELECT count(*) {of_week} AND j.near_copy_of IS NOT NULL") > 0
    assert v.negative + v.neutral + v.positive == v.judged


def test_domains_equal_a_recount(town: Database, bundle: Bundle) -> None:
    counted = {
        row[0]: row[1:]
        for row in rows(
            town,
            """SELECT j.domain, sum(p.published_at >= :since), sum(p.published_at < :since),
                      sum(p.published_at >= :since AND j.tone = 'neg')
               FROM post p JOIN judgement j ON j.post_id = p.id
               WHERE p.published_at >= :before AND p.published_at < :until GROUP BY j.domain""",
        )
    }
    told = {row.id: (row.posts, row.before, row.negative) for row in weekly(town, bundle).domains}
    assert told == counted
    assert len(told) >= 7


def test_districts_equal_a_recount_and_a_post_counts_in_each_it_names(town: Database, bundle: Bundle) -> None:
    counted = {
        row[0]: row[1:]
        for row in rows(
            town,
            """SELECT d.value, sum(p.published_at >= :since), sum(p.published_at < :since),
                      sum(p.published_at >= :since AND j.tone = 'neg')
               FROM post p JOIN judgement j ON j.post_id = p.id, json_each(j.districts) d
               WHERE p.published_at >= :before AND p.published_at < :until GROUP BY d.value""",
        )
    }
    model = weekly(town, bundle)
    assert {row.id: (row.posts, row.before, row.negative) for row in model.districts} == counted
    assert sum(row.posts for row in model.districts) > model.volume.posts - model.no_district


def test_days_are_local_days_and_sum_to_the_week(town: Database, bundle: Bundle) -> None:
    model = weekly(town, bundle)
    assert [row.day.day for row in model.days] == list(range(16, 23))
    for row in model.days:
        start = at(row.day.day, "00:00")
        bounds = {"a": utc(start), "b": utc(start + timedelta(days=1))}
        sql = "SELECT count(*) FROM post WHERE published_at >= :a AND published_at < :b"
        assert row.posts == one(town, sql, **bounds)
        week = {"a": utc(start - timedelta(days=7)), "b": utc(start - timedelta(days=6))}
        assert row.before == one(town, sql, **week)
    assert sum(row.posts for row in model.days) == model.volume.posts


def test_incidents_detected_equal_a_recount_of_events(town: Database, bundle: Bundle) -> None:
    model = weekly(town, bundle)
    in_week = "kind = :kind AND occurred_at >= :since AND occurred_at < :until"
    count = f"SELECT count(*) FROM incident_event WHERE {in_week}"
    assert model.detected == one(town, count, kind="detected") == 5
    assert len(model.closed) == one(town, count, kind="closed") == 1
    assert len(model.false_alarms) == one(town, count, kind="false_alarm") == 1
    assert len(model.merged) == one(town, count, kind="merged") == 1
    assert model.confirmed == one(town, count, kind="confirmed") == 3
    assert len(model.open_incidents) == one(
        town,
        "SELECT count(*) FROM incident WHERE number IS NOT NULL AND state NOT IN ('closed', 'false_alarm', 'merged')",
    )


def test_posts_of_a_merged_incident_count_for_its_parent(town: Database, bundle: Bundle) -> None:
    model = weekly(town, bundle)
    (pair,) = model.merged
    parent = next(line for line in model.new if line.number == pair.parent)
    assert parent.posts == one(
        town,
        """SELECT count(*) FROM incident_post ip JOIN post p ON p.id = ip.post_id JOIN incident i ON i.id = ip.incident_id
           WHERE i.number IN (:child, :parent) AND p.published_at >= :since AND p.published_at < :until""",
        child=pair.number,
        parent=pair.parent,
    )
    assert pair.number not in {line.number for line in (*model.new, *model.other_open, *model.growing)}


def test_links_equal_a_recount_of_the_incident_rows(town: Database, bundle: Bundle) -> None:
    links = {link.id: link for link in weekly(town, bundle).links}
    columns = {
        "posted_detected": ("first_posted_at", "detected_at"),
        "detected_alerted": ("detected_at", "alerted_at"),
        "alerted_acknowledged": ("alerted_at", "acknowledged_at"),
    }
    for name, (start, end) in columns.items():
        taken = sorted(
            round(row[0])
            for row in rows(
                town,
                f"""SELECT (julianday({end}) - julianday({start})) * 86400 FROM incident
                    WHERE {end} >= :since AND {end} < :until AND state NOT IN ('false_alarm', 'merged')""",
            )
        )
        assert links[name].n == len(taken) == 3
        assert links[name].median == pytest.approx(taken[1], abs=1)
        assert links[name].worst == pytest.approx(taken[-1], abs=1)


def test_an_answer_is_timed_from_the_assignment_of_its_own_round(town: Database, bundle: Bundle) -> None:
    answered = next(link for link in weekly(town, bundle).links if link.id == "assigned_responded")
    # 17:00 on the 13th -> 18:00 on the 17th; 13:30 on the 18th -> 09:30 on the 19th; 08:05 -> 11:20 on the 18th
    assert answered.n == 3
    assert answered.worst == 4 * 86400 + 3600
    assert answered.median == 20 * 3600
    assert len(answered.waiting) == 3


def test_clocks_equal_a_recount_of_deadlines(town: Database, bundle: Bundle) -> None:
    model = weekly(town, bundle)
    ended = "closed_at >= :since AND closed_at < :until AND closed_at <= due_at"
    assert model.kept == one(town, f"SELECT count(*) FROM deadline WHERE state = 'met' AND {ended}") == 2
    assert (
        model.ran_out
        == one(
            town,
            """SELECT count(*) FROM deadline WHERE state != 'cancelled' AND due_at >= :since AND due_at < :until
               AND (closed_at IS NULL OR closed_at > due_at)""",
        )
        == 1
    )
    assert (
        sum(row.running for row in model.rules)
        == one(
            town,
            "SELECT count(*) FROM deadline WHERE state = 'open' AND started_at < :until AND due_at >= :until",
        )
        == 1
    )
    assert sorted(line.earlier for line in model.missed) == [False, True, True]
    assert all(row.quote and row.source for row in model.rules)


def test_a_missed_clock_is_charged_to_who_held_the_incident_when_it_ran_out(
    town: Database, bundle: Bundle
) -> None:
    missed = {line.number: line for line in weekly(town, bundle).missed}
    # handed back and given to another one only after the time had run out
    assert [line.department for line in missed.values() if line.answered_at is None] == [
        "pingyin",
        "housing-construction",
    ]


def test_departments_equal_a_recount_and_small_numbers_give_no_rate(town: Database, bundle: Bundle) -> None:
    model = weekly(town, bundle)
    counted = dict(
        rows(
            town,
            """SELECT json_extract(payload, '$.department'), count(*) FROM incident_event
               WHERE kind = 'assigned' AND occurred_at >= :since AND occurred_at < :until GROUP BY 1""",
        )
    )
    assert {row.id: row.assigned for row in model.departments if row.assigned} == counted
    assert sum(row.kept for row in model.departments) == model.kept
    assert sum(row.missed for row in model.departments) == model.ran_out
    page = render(model, Edition(), "zh_CN").text
    assert "按时率数据不足" in page
    assert "按时率0.0%" not in page


def test_sources_equal_a_recount_and_silent_ones_are_named(town: Database, bundle: Bundle) -> None:
    model = weekly(town, bundle)
    counted = dict(
        rows(
            town,
            "SELECT source_id, count(*) FROM post WHERE fetched_at >= :since AND fetched_at < :until GROUP BY 1",
        )
    )
    assert {row.id: row.posts for row in model.sources if row.posts} == counted
    assert [row.id for row in model.sources if not row.posts] == ["quiet"]
    assert "社区公告栏" in render(model, Edition(), "zh_CN").text


def test_the_audit_head_is_the_chain_at_the_end_of_the_week(town: Database, bundle: Bundle) -> None:
    with town.reading() as session:
        end = verify(session, AUDIT_KEY).head
    model = weekly(town, bundle)
    assert (model.audit.seq, model.audit.hash) == (end.seq, end.hash)
    middle = weekly(town, bundle, "2026-W46").audit
    assert middle.hash == one(town, "SELECT hash FROM incident_event WHERE seq = :seq", seq=middle.seq)
    assert 0 < middle.seq < end.seq


# --- whenever it is written, wherever it is kept ---------------------------------------------------------------


def test_a_past_week_reads_the_same_weeks_later(town: Database, bundle: Bundle) -> None:
    digest = weekly(town, bundle).digest()
    later = MONDAY + timedelta(days=30)
    with town.transaction() as session:
        handle(session, 3, Note("催办"), actor="wang", channel="console", now=later - timedelta(days=1))
    assert weekly(town, bundle, now=later).digest() == digest


def test_a_late_post_changes_the_digest(town: Database, bundle: Bundle) -> None:
    digest = weekly(town, bundle).digest()
    late_post(town, at(18))
    assert weekly(town, bundle).digest() != digest


def test_both_databases_tell_the_same(postgres_db: Database, town: Database, bundle: Bundle) -> None:
    two_weeks(postgres_db)
    assert weekly(postgres_db, bundle).stored() == weekly(town, bundle).stored()


def test_the_stored_model_reads_back(town: Database, bundle: Bundle) -> None:
    model = weekly(town, bundle)
    assert ReportModel.model_validate(json.loads(json.dumps(model.stored()))) == model


def test_a_running_week_is_looked_at_until_now(town: Database, bundle: Bundle) -> None:
    now = at(18, "08:00")
    model = weekly(town, bundle, now=now)
    assert model.preliminary
    assert [row.day.day for row in model.days] == [16, 17, 18]
    assert "11月16日至11月22日" in render(model, Edition(kind="preview"), "zh_CN").subject
    assert model.detected == 1
    assert {line.state for line in model.new} == {"confirmed"}
    # compared with the week before up to the same hour
    assert model.volume.before == one(
        town,
        "SELECT count(*) FROM post WHERE published_at >= :before AND published_at < :hour",
        hour=utc(at(11, "08:00")),
    )
    assert "本周尚未结束" in render(model, Edition(kind="preview"), "zh_CN").text


def test_an_answer_entered_late_counts_in_the_week_it_was_entered(town: Database, bundle: Bundle) -> None:
    def answers(week: str, now: datetime) -> dict[str, int | None]:
        link = next(row for row in weekly(town, bundle, week, now).links if row.id == "assigned_responded")
        return {"n": link.n, "median": link.median}

    before = answers(WEEK, MONDAY)
    published, entered = at(22, "14:10"), at(24, "09:00")  # published on Sunday, entered on Tuesday
    with town.transaction() as session:
        answer = Respond(url="https://gov.example.invalid/late", published_at=published)
        handle(session, 8, answer, actor="wang", channel="console", now=entered)
    next_week = at(30, "08:00")
    assert answers(WEEK, next_week) == before
    assert answers("2026-W48", next_week) == {"n": 1, "median": 86400}


def test_a_rule_that_is_configured_no_longer_does_not_stop_the_report(town: Database, bundle: Bundle) -> None:
    with town.transaction() as session:
        session.execute(text("UPDATE deadline SET rule_id = 'R99' WHERE rule_id = 'R03'"))
    model = weekly(town, bundle)
    assert [row.rule for row in model.rules] == ["R01", "R02", "R99"]
    assert "R99" in render(model, Edition(), "zh_CN").text


def test_the_first_second_of_a_week_and_a_post_from_the_future(town: Database, bundle: Bundle) -> None:
    late_post(town, at(25))  # the source's clock runs ahead
    for now, posts in ((at(23, "00:00"), 0), (at(24, "12:00"), 0), (at(25, "10:00"), 1)):
        model = weekly(town, bundle, "2026-W48", now)
        assert model.volume.posts == sum(row.posts for row in model.days) == posts
        assert "2026年第48周" in render(model, Edition(kind="preview"), "zh_CN").text


# --- empty, odd and wrong weeks --------------------------------------------------------------------------------


def test_an_empty_week_says_so(db: Database, bundle: Bundle) -> None:
    model = weekly(db, bundle)
    assert model.empty
    for language, words in (("zh_CN", "本周没有采集到帖文"), ("en", "Nothing to report this week")):
        drawn = render(model, Edition(), language)
        assert words in drawn.text
        assert words in drawn.mail
        assert drawn.images == ()
    assert "没有数据不等于没有舆情" in render(model, Edition(), "zh_CN").text


def test_a_week_over_new_year_has_seven_days(db: Database, bundle: Bundle) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    now = datetime(2027, 1, 10, tzinfo=UTC)
    period = period_of("weekly", "2026-W53", now, zone)
    assert period.since.isoformat() == "2026-12-28T00:00:00+08:00"
    assert period.until.isoformat() == "2027-01-04T00:00:00+08:00"
    assert last_whole("weekly", datetime(2027, 1, 4, 8, tzinfo=zone), zone) == "2026-W53"
    assert (
        "2026年第53周（2026年12月28日至1月3日）"
        in render(weekly(db, bundle, "2026-W53", now), Edition(), "zh_CN").text
    )


@pytest.mark.parametrize(
    "week", ["2026-W54", "2025-W53", "2026-47", "W47", "2026-W00", "2026-W7", "", "0001-W01", "9999-W52"]
)
def test_a_week_that_does_not_exist_is_refused_with_an_example(
    db: Database, bundle: Bundle, week: str
) -> None:
    with pytest.raises(PeriodError, match=r"YYYY-Www, for example 2026-W47"):
        weekly(db, bundle, week)


def test_a_week_that_lies_ahead_is_refused(db: Database, bundle: Bundle) -> None:
    with pytest.raises(PeriodError, match="has not begun: the latest one is 2026-W48"):
        weekly(db, bundle, "2026-W49")


def test_a_mail_about_many_incidents_stays_small_and_says_what_it_left_out(
    town: Database, bundle: Bundle
) -> None:
    model = weekly(town, bundle)
    many = model.model_copy(
        update={"other_open": model.other_open * 300, "missed": model.missed * 100, "new": model.new * 100}
    )
    drawn = render(many, Edition(), "zh_CN")
    assert len(drawn.mail.encode()) < 150_000
    assert "另有285项未列出，完整清单见控制台。" in drawn.mail
    assert drawn.mail_text.count("另有285项未列出") == 3
    assert "未列出" not in drawn.text
    assert "未列出" not in drawn.page


# --- golden outputs --------------------------------------------------------------------------------------------


def golden(name: str, content: str) -> None:
    """Compare with the file; QUANSHENG_WRITE_GOLDEN=1 writes it anew (then read the difference)."""
    path = GOLDEN / name
    content = re.sub(
        r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", "0" * 64, content
    )  # the head of the chain: any new word in an event changes it
    if os.environ.get("QUANSHENG_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    assert content == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["zh_CN", "en"])
def test_the_text_is_as_it_was(town: Database, bundle: Bundle, language: str) -> None:
    model = weekly(town, bundle).model_copy(update={"rules_version": "golden", "judging": None})
    golden(f"weekly-{WEEK}.{language}.txt", render(model, Edition(), language).text)


def test_the_mail_is_as_it_was(town: Database, bundle: Bundle) -> None:
    model = weekly(town, bundle).model_copy(update={"rules_version": "golden", "judging": None})
    golden(f"weekly-{WEEK}.html", render(model, Edition(), "zh_CN").mail)


def test_the_model_is_as_it_was(town: Database, bundle: Bundle) -> None:
    stored = weekly(town, bundle).stored()
    stored = {
        key: value
        for key, value in stored.items()
        if key not in ("rules_version", "department_names", "judging")
    }
    golden(f"weekly-{WEEK}.json", json.dumps(stored, ensure_ascii=False, indent=1) + "\n")


def late_post(db: Database, when: datetime) -> None:
    """A post of a past week that is found only now."""
    with db.transaction() as session:
        (post_id,) = save_posts(
            session,
            [
                NewPost(
                    source_id="forum", external_id="late", url="https://forum.example.invalid/late", title="",
                    text="迟到的虚构帖文", published_at=when, published_estimated=False,
                    fetched_at=MONDAY, author_key="late",
                )
            ],
        ).ids  # fmt: skip
        judgement = NewJudgement(
            post_id=post_id, domain="housing", domain_score=0.9, tone="neg", tone_score=0.9, snownlp_score=0.1,
            signal=True, signal_score=0.9, risk=0, risk_score=0.0, model_version="test",
        )  # fmt: skip
        save_judgements(session, [judgement], MONDAY)
