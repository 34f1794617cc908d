"""What the console draws and what a report draws of the same thing are the same numbers, on one database."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from incidents import evaluation_runs, queries, report_runs
from incidents.search import PostFilter, search_posts
from incidents.session import Database
from reports import accountability_job, evaluation_job
from reports.accountability import build_accountability
from reports.build import build_weekly
from reports.layout import Edition
from reports.model import ReportModel
from reports.render import render
from reports.special import build_special
from tests.conftest import AUDIT_KEY
from tests.console_world import World, client, world
from tests.fakes.week import MONDAY, WEEK, ZONE, at

#: the incident of the two weeks with most posts, answered and watched for three days
BIG = "QS-2026-000004"


@pytest.fixture
def town(two_weeks_file: Path, tmp_path: Path) -> Iterator[World]:
    shutil.copyfile(two_weeks_file, tmp_path / "town.db")
    database = Database(f"sqlite:///{tmp_path / 'town.db'}", audit_key=AUDIT_KEY)
    made = world(database, tmp_path)
    made.now = MONDAY
    made.account()
    yield made
    database.close()


def weekly(town: World) -> ReportModel:
    with town.db.reading() as session:
        return build_weekly(session, town.bundle, WEEK, town.now)


def special(town: World, number: str = BIG) -> ReportModel:
    with town.db.reading() as session:
        return build_special(session, town.bundle, number, town.now)


def charts(page: str) -> list[dict[str, Any]]:
    """What the page hands to ECharts."""
    return [json.loads(html.unescape(found)) for found in re.findall(r'data-chart="([^"]*)"', page)]


def test_posts_by_day_domain_tone_district_and_source(town: World) -> None:
    model = weekly(town)
    week = PostFilter(since=at(16, "00:00"), until=at(23, "00:00"))
    with town.db.reading() as session:
        hits = search_posts(session, "", filters=week, zone=str(ZONE))
    assert [(row.day, row.posts) for row in model.days] == hits.timeline
    assert {row.id: row.posts for row in model.domains if row.posts} == {
        code: posts for code, posts in hits.facets["domain"].items() if code
    }
    assert {row.id: row.posts for row in model.districts if row.posts} == hits.facets["district"]
    v = model.volume
    tones = {code: posts for code, posts in hits.facets["tone"].items() if code}
    assert tones == {"neg": v.negative, "neu": v.neutral, "pos": v.positive}
    assert hits.total == v.posts


def test_the_console_s_timeline_of_a_week_is_the_report_s(town: World) -> None:
    page = client(town).get("/search?since=2026-11-16&until=2026-11-22&unit=day").text
    bars = re.findall(r"<title>[^<]*?: (\d+)</title>", page)
    assert [int(bar) for bar in bars] == [row.posts for row in weekly(town).days]


def test_the_growth_of_an_incident(town: World) -> None:
    """Posts and negative ones by day, those of merged incidents included."""
    with town.db.reading() as session:
        parent = queries.get_incident(session, "QS-2026-000008")
        assert parent is not None
    for number in (BIG, "QS-2026-000008", "QS-2026-000002"):
        drawn = charts(client(town).get(f"/incidents/{number}").text)[0]
        model = special(town, number)
        by_day: dict[str, list[int]] = {}
        for label, posts, bad in zip(
            drawn["labels"], *(one["values"] for one in drawn["series"]), strict=True
        ):
            day = by_day.setdefault(label[:5], [0, 0])
            day[0] += posts
            day[1] += bad
        told = {f"{row.day:%m-%d}": [row.posts, row.negative] for row in model.days if row.posts}
        assert told == {day: counts for day, counts in by_day.items() if counts[0]}
        assert model.volume.posts == sum(counts[0] for counts in by_day.values())


def test_posts_that_retention_took_stay_in_both(town: World) -> None:
    whole = special(town)
    with town.db.transaction() as session:
        session.execute(
            text(
                "DELETE FROM post WHERE id IN (SELECT post_id FROM incident_post WHERE incident_id = 2 LIMIT 10)"
            )
        )
        session.execute(
            text(
                """DELETE FROM post WHERE id IN (SELECT ip.post_id FROM incident_post ip JOIN incident i ON i.id = ip.incident_id
                   WHERE i.number = :number LIMIT 10)"""
            ),
            {"number": BIG},
        )
    later = special(town)
    assert later.partly_deleted
    assert not whole.partly_deleted
    assert [(row.posts, row.negative) for row in later.days] == [
        (row.posts, row.negative) for row in whole.days
    ]
    drawn = charts(client(town).get(f"/incidents/{BIG}").text)[0]
    assert sum(drawn["series"][0]["values"]) == later.volume.posts == whole.volume.posts
    assert "部分帖文已按保存期限删除" in render(later, Edition(), "zh_CN").text


def test_the_talk_around_an_answer(town: World) -> None:
    while (done := evaluation_job.run_due(town.db, town.bundle, town.now)) is not None and done.looked_at:
        pass
    page = client(town).get(f"/incidents/{BIG}").text
    drawn = charts(page)[1]
    model = special(town)
    assert model.evaluation is not None
    assert model.evaluation.case is not None
    trend = model.evaluation.case.trend
    assert trend is not None
    assert drawn["series"][0]["values"] == [bar.posts for bar in trend.bars]
    assert drawn["series"][1]["values"] == [bar.negative for bar in trend.bars]
    begin = trend.answered_at + timedelta(hours=trend.bars[0].at)
    assert drawn["labels"][0] == begin.astimezone(ZONE).strftime("%m-%d %H:%M")
    # and what the weekly report tells of it
    told = weekly(town).evaluation
    assert told is not None
    (line,) = (line for line in told.trends if line.number == BIG)
    assert line.trend.model_copy(update={"bars": trend.bars}) == trend


def test_the_evaluation_of_departments(town: World) -> None:
    evaluation_job.run_due(town.db, town.bundle, town.now)
    with town.db.reading() as session:
        run = evaluation_runs.latest(session, "period", WEEK)
    part = weekly(town).evaluation
    assert run is not None
    assert part is not None
    drawn = [
        (
            row["department"],
            row["domain"],
            row["cases"],
            [(i["id"], i["value"], i["n"]) for i in row["indicators"]],
        )
        for row in run.model["rows"]
    ]
    told = [
        (row.department, row.domain, row.cases, [(i.id, i.value, i.n) for i in row.indicators])
        for row in part.rows
    ]
    assert told == drawn
    page = client(town).get(f"/evaluation?period={WEEK}").text
    for row in part.rows:
        for one in row.indicators:
            assert one.value is None or f">{one.value:.2f}</td>" in page


def test_the_department_table_and_whose_time_it_was(town: World) -> None:
    accountability_job.run_due(town.db, town.bundle, town.now)
    with town.db.reading() as session:
        stored = report_runs.runs(session, "accountability", WEEK)[-1].model
    model = weekly(town)
    assert model.charges is not None
    assert [(one.link, one.missed, list(one.numbers)) for one in model.charges.links] == [
        (one["link"], one["missed"], one["numbers"]) for one in stored["charges"]
    ]
    drawn = {one["name"]: one for one in stored["departments"]}
    assert model.charges.units
    for line in model.charges.units:
        other = drawn[line.name]
        assert (line.kept, line.missed, line.share) == tuple(
            other["rate"][key] for key in ("kept", "missed", "share")
        )
        assert (line.low, line.high, line.expected) == (
            other["rate"]["low"],
            other["rate"]["high"],
            other["expected"],
        )
    # the same answers, timed alike, by both tables
    by_id = {one["id"]: one for one in stored["departments"]}
    answered = {row.id: (row.responded, row.median, row.worst) for row in model.departments if row.responded}
    assert answered == {
        unit: (by_id[unit]["answer"]["n"], by_id[unit]["answer"]["median"], by_id[unit]["answer"]["worst"])
        for unit in answered
    }
    assert {row.id: row.open for row in model.departments} == {
        row.id: by_id[row.id]["open"] for row in model.departments
    }


def test_response_times_link_by_link(town: World) -> None:
    """The page 问责 cuts the way more finely; the links that both tell are the same, and the first two together are the report's first."""
    with town.db.reading() as session:
        table = build_accountability(session, town.bundle, WEEK, town.now)
    drawn = {one.part: one.took for one in table.links}
    told = {row.id: row for row in weekly(town).links}
    for link in ("detected_alerted", "alerted_acknowledged", "acknowledged_assigned"):
        row, took = told[link], drawn[link]
        assert (row.n, row.median, row.worst, row.worst_number) == (
            took.n,
            took.median,
            took.worst,
            took.worst_number,
        )
        assert row.n == 3
    first = told["posted_detected"]
    fetched, detected = drawn["posted_fetched"], drawn["fetched_detected"]
    assert first.n == fetched.n == detected.n == 3
    # every post of the invented weeks was fetched ten minutes after it
    assert fetched.median == fetched.worst == 600
    assert detected.median is not None
    assert detected.worst is not None
    assert (first.median, first.worst) == (600 + detected.median, 600 + detected.worst)
