"""Reports of a day, a month, a year and of one incident: the same counting as the weekly one, in their own words and times."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from config.bundle import Bundle
from config.keys import Keys
from incidents import report_runs
from incidents.lifecycle import handle
from incidents.outbox import latest
from incidents.session import Database
from incidents.states import Respond
from incidents.trouble import Problem
from reports import job
from reports.build import build
from reports.kinds import translator_for
from reports.layout import Edition
from reports.model import ReportModel
from reports.period import Kind, Length, PeriodError, last_whole, name_of, period_of, year_before
from reports.render import render
from reports.special import build_special, run_special
from tests.conftest import AUDIT_KEY
from tests.fakes.week import MONDAY, at, bundle_in, utc

KEYS = Keys.derive(b"a secret that opens nothing at all")
ZONE = ZoneInfo("Asia/Shanghai")
NUMBER = "QS-2026-000008"
DECEMBER = datetime(2026, 12, 3, 9, tzinfo=ZONE)


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


def one(db: Database, statement: str, **values: object) -> Any:
    with db.engine.connect() as connection:
        return connection.execute(text(statement), values).scalar_one()


def of(db: Database, bundle: Bundle, kind: Kind, name: str, now: datetime = DECEMBER) -> ReportModel:
    with db.reading() as session:
        return build(session, bundle, kind, name, now)


@pytest.mark.parametrize(
    ("kind", "name", "first", "until", "slots"),
    [
        ("daily", "2026-11-18", "2026-11-18", "2026-11-19", 24),
        ("weekly", "2026-W53", "2026-12-28", "2027-01-04", 7),
        ("monthly", "2028-02", "2028-02-01", "2028-03-01", 29),
        ("quarterly", "2026-Q4", "2026-10-01", "2027-01-01", 3),
        ("yearly", "2026", "2026-01-01", "2027-01-01", 12),
    ],
)
def test_periods_are_local_and_whole(kind: Length, name: str, first: str, until: str, slots: int) -> None:
    now = datetime(2029, 1, 1, tzinfo=UTC)
    period = period_of(kind, name, now, ZONE)
    assert (period.since.isoformat(), period.until.isoformat()) == (
        f"{first}T00:00:00+08:00",
        f"{until}T00:00:00+08:00",
    )
    assert len(period.slots) == slots + 1
    assert period.before[-1] == period.since
    assert name_of(kind, date.fromisoformat(first)) == name
    assert last_whole(kind, period.until, ZONE) == name
    assert last_whole(kind, period.until - timedelta(seconds=1), ZONE) != name


def test_a_year_ago_has_the_same_weekdays_or_the_same_month() -> None:
    now = datetime(2029, 1, 1, tzinfo=UTC)
    week = year_before(period_of("weekly", "2026-W53", now, ZONE))
    assert (week.name, week.since.weekday()) == ("2026-W01", 0)  # Monday, 29 December 2025
    assert year_before(period_of("monthly", "2028-02", now, ZONE)).name == "2027-02"
    assert year_before(period_of("yearly", "2028", now, ZONE)).name == "2027"


@pytest.mark.parametrize(
    ("kind", "name", "form"),
    [
        ("daily", "2026-02-30", "a day as YYYY-MM-DD"),
        ("daily", "../../etc", "a day as YYYY-MM-DD"),
        ("monthly", "2026-13", "a month as YYYY-MM"),
        ("monthly", "2026-W13", "a month as YYYY-MM"),
        ("yearly", "0000", "a year as YYYY"),
        ("yearly", "26", "a year as YYYY"),
    ],
)
def test_a_period_that_does_not_exist_is_refused_with_its_form(
    db: Database, bundle: Bundle, kind: Kind, name: str, form: str
) -> None:
    with pytest.raises(PeriodError, match=form):
        of(db, bundle, kind, name)


@pytest.mark.parametrize(("kind", "name"), [("daily", "2026-11-18"), ("monthly", "2026-11")])
def test_figures_equal_a_recount(town: Database, bundle: Bundle, kind: Kind, name: str) -> None:
    model = of(town, bundle, kind, name)
    bounds = {"a": utc(model.since), "b": utc(model.until)}
    published = "published_at >= :a AND published_at < :b"
    assert model.volume.posts == one(town, f"SELECT count(*) FROM post WHERE {published}", **bounds) > 50
    assert sum(row.posts for row in model.days) == model.volume.posts
    occurred = "occurred_at >= :a AND occurred_at < :b"
    for kind_, told in (
        ("detected", model.detected),
        ("closed", len(model.closed)),
        ("confirmed", model.confirmed),
    ):
        count = f"SELECT count(*) FROM incident_event WHERE kind = :kind AND {occurred}"
        expected = one(town, count, kind=kind_, **bounds)
        assert told == expected - (1 if kind_ == "closed" and name == "2026-11" else 0)  # one was reopened
    assert model.kept == one(
        town,
        "SELECT count(*) FROM deadline WHERE closed_at >= :a AND closed_at < :b AND closed_at <= due_at AND state = 'met'",
        **bounds,
    )
    hour = next((row for row in model.days if row.hour == 7), None)
    if hour is not None:
        cut = {"a": utc(at(18, "07:00")), "b": utc(at(18, "08:00"))}
        assert hour.posts == one(town, f"SELECT count(*) FROM post WHERE {published}", **cut)


def test_each_kind_speaks_of_its_own_period(town: Database, bundle: Bundle) -> None:
    for kind, name, word in (
        ("daily", "2026-11-18", "日报"),
        ("monthly", "2026-11", "月报"),
        ("yearly", "2026", "年报"),
    ):
        model = of(town, bundle, kind, name)  # type: ignore[arg-type]
        drawn = render(model, Edition(), "zh_CN")
        assert f"济南市政务舆情{word}" in drawn.subject
        assert "周" not in drawn.text
        assert "week" not in render(model, Edition(), "en").text.lower()


def test_only_our_own_words_are_turned() -> None:
    turned = translator_for("monthly", "zh_CN")("本周帖文{posts}条，上周{before}条")
    assert turned.format(posts="本周", before=1) == "本月帖文本周条，上月1条"


def test_a_month_with_a_day_that_the_one_before_had_not(town: Database, bundle: Bundle) -> None:
    model = of(town, bundle, "monthly", "2026-12", datetime(2027, 1, 2, tzinfo=ZONE))
    assert [row.before is None for row in model.days] == [False] * 30 + [True]


def test_reports_of_the_time_when_there_were_weeks_only_read_back_and_keep_their_digest(
    town: Database, bundle: Bundle
) -> None:
    model = of(town, bundle, "weekly", "2026-W47")
    old = json.loads(json.dumps(model.stored()))
    old["week"] = old.pop("period")
    for name in ("kind", "steps"):
        old.pop(name)
    for row in old["days"]:
        row.pop("hour")
    read = ReportModel.model_validate(old)
    assert read == model
    assert read.digest() == model.digest()


@pytest.mark.parametrize(
    ("settings", "now", "due"),
    [
        ({"daily_at": "07:47"}, "2026-11-19T07:46:00+08:00", None),
        ({"daily_at": "07:47"}, "2026-11-19T07:47:00+08:00", ("daily", "2026-11-18")),
        ({"monthly_at": "02 08:17"}, "2026-12-02T08:16:00+08:00", None),
        ({"monthly_at": "02 08:17"}, "2026-12-02T08:17:00+08:00", ("monthly", "2026-11")),
        ({"yearly_at": "01-05 08:27"}, "2027-01-05T08:27:00+08:00", ("yearly", "2026")),
    ],
)
def test_each_kind_is_due_at_its_own_time_and_once(
    db: Database, tmp_path: Path, settings: dict[str, Any], now: str, due: tuple[str, str] | None
) -> None:
    bundle = bundle_in(tmp_path / "city", weekly_at="sun 23:59", attach=(), **settings)
    moment = datetime.fromisoformat(now)
    installed = moment - timedelta(hours=1)
    done = job.run_due(db, bundle, KEYS, moment, installed=installed)
    assert (None if done is None else (done.report, done.period)) == due
    assert (
        job.run_due(db, bundle, KEYS, moment + timedelta(minutes=5), installed=installed) is None
        or due is None
    )


# --- one incident ----------------------------------------------------------------------------------------------


def test_the_special_report_counts_the_incident_and_what_was_merged_into_it(
    town: Database, bundle: Bundle
) -> None:
    with town.reading() as session:
        model = build_special(session, bundle, NUMBER, MONDAY)
    assert model.volume.posts == one(
        town,
        """SELECT count(*) FROM incident_post ip JOIN incident i ON i.id = ip.incident_id
           JOIN post p ON p.id = ip.post_id
           WHERE (i.number = :n OR i.parent_id = (SELECT id FROM incident WHERE number = :n)) AND p.published_at < :now""",
        n=NUMBER,
        now=utc(MONDAY),
    )
    assert sum(row.posts for row in model.days) == model.volume.posts
    assert sum(row.posts for row in model.sources) == model.volume.posts
    assert [(pair.number, pair.parent) for pair in model.merged] == [("QS-2026-000009", NUMBER)]
    assert [step.what for step in model.steps[:5]] == [
        "detected", "page_sent", "page_acknowledged", "confirmed", "assigned",
    ]  # fmt: skip
    drawn = render(model, Edition(), "zh_CN")
    assert all("QS-2026-" in sentence for sentence in drawn.text.split("\n\n")[1].splitlines()[:3])
    assert "{" not in drawn.text


def test_no_special_report_about_what_is_restricted_unknown_or_merged(town: Database, bundle: Bundle) -> None:
    with town.transaction() as session:
        session.execute(text("UPDATE incident SET restricted = true WHERE number = 'QS-2026-000005'"))
    for number, why in (
        ("QS-2026-000005", "restricted"),
        ("QS-2026-999999", "no such incident"),
        ("QS-2026-000009", "merged"),
    ):
        with town.reading() as session, pytest.raises(Problem, match=why):
            build_special(session, bundle, number, MONDAY)


def test_news_after_a_special_report_is_a_marked_sequel_and_without_news_there_is_no_mail(
    town: Database, tmp_path: Path
) -> None:
    bundle = bundle_in(tmp_path / "city", attach=())
    first = run_special(town, bundle, KEYS, MONDAY, NUMBER, send=True)
    assert (first.edition, len(first.queued)) == ("first", 2)
    again = run_special(town, bundle, KEYS, MONDAY + timedelta(minutes=9), NUMBER, send=True)
    assert (again.queued, again.new_revision) == ((), False)
    answered = MONDAY + timedelta(hours=2)
    with town.transaction() as session:
        incident_id = session.execute(
            text("SELECT id FROM incident WHERE number = :n"), {"n": NUMBER}
        ).scalar_one()
        handle(session, incident_id, Respond(url="https://gov.example.invalid/a", published_at=answered), actor="wang", channel="console", now=answered)  # fmt: skip
    sequel = run_special(town, bundle, KEYS, answered + timedelta(minutes=1), NUMBER, send=True)
    assert (sequel.edition, len(sequel.queued)) == ("sequel", 2)
    assert sequel.subject.startswith("【续报】")
    with town.reading() as session:
        assert len([row for row in latest(session) if row.kind == "report"]) == 4
        assert len(report_runs.runs(session, "special", NUMBER)) == 2
