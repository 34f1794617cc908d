"""What reports say of the response: the figures that were kept, each recounted by SQL of its own, and no name of a restricted matter."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from sqlalchemy import text

from incidents import lifecycle
from incidents.call_backs import Said
from incidents.evaluation_words import ELEMENTS
from incidents.judgements import add_post, save_judgements
from incidents.queries import IncidentView
from incidents.session import Database
from incidents.states import Evaluate, Restrict
from reports import evaluation_job, evaluation_part
from reports.build import build
from reports.files import Written, write
from reports.layout import Edition
from reports.model import ReportModel
from reports.special import build_special
from tests.conftest import AUDIT_KEY
from tests.console_world import NOW, World, _judgement, world
from tests.test_evaluation_job import answered, call, rate, read
from tests.test_report_files import docx_text, pdf_text

#: the Tuesday after the week of the answers
LATER = timedelta(days=7)
WEEK = "2026-W48"


@pytest.fixture(scope="module")
def story(
    migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[IncidentView, IncidentView]]:
    """The invented week, played once; tests copy the file."""
    folder = tmp_path_factory.mktemp("story")
    path = folder / "town.db"
    shutil.copyfile(migrated_sqlite, path)
    database = Database(f"sqlite:///{path}", audit_key=AUDIT_KEY)
    told = play(world(database, folder))
    with database.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    database.close()
    return path, told


@pytest.fixture
def town(story: tuple[Path, object], tmp_path: Path) -> Iterator[World]:
    shutil.copyfile(story[0], tmp_path / "town.db")
    database = Database(f"sqlite:///{tmp_path / 'town.db'}", audit_key=AUDIT_KEY)
    made = world(database, tmp_path)
    made.now += LATER
    yield made
    database.close()


@pytest.fixture
def played(story: tuple[object, tuple[IncidentView, IncidentView]]) -> tuple[IncidentView, IncidentView]:
    """The two matters of `play`."""
    return story[1]


def goes_on(town: World, incident: IncidentView, hours: int = 70) -> None:
    """The talk goes on after the answer: a post an hour of nine people, one in five not negative."""
    with town.db.transaction() as session:
        for hour in range(1, hours):
            when = town.now + timedelta(hours=hour)
            words = f"{incident.number} 还有人说 {hour}"
            number = town.post(session, words, when, author_key=f"late-{hour % 9}")
            judged = _judgement(number, "education", "历下区", None, risk=0)
            if hour % 5 == 0:
                judged = judged.__class__(**{**judged.__dict__, "tone": "neu"})
            save_judgements(session, [judged], when)
            add_post(
                session, incident.id, number, similarity=0.9, voice=True,
                published_at=when, negative=True, now=when,
            )  # fmt: skip


def play(town: World) -> tuple[IncidentView, IncidentView]:
    """Two answered matters of one department, the second one restricted; read, rated, called back."""
    open_one = answered(town)
    secret = answered(town, title="限定知悉的事", posts=12)
    goes_on(town, open_one)
    read(town, open_one)
    read(town, secret, "two", relevance=0.4, coverage=0.5)
    call(town, open_one, Said(8, 3, 1, 7, 3, 2))
    rate(town, open_one, "冯静")
    rate(town, open_one, "陈评审", scores=dict.fromkeys(("response", "transparency", "credibility"), 8.0) | {
        "order": 4.0, "dynamic": 2.0, "accountability": 1.0
    })  # fmt: skip
    with town.db.transaction() as session:
        lifecycle.handle(session, open_one.id, Evaluate(84), actor="lin", channel="console", now=town.now)
    town.act(secret, Restrict(("someone",), "涉密"), actor="wang")
    town.now += LATER
    town.run()
    return open_one, secret


def weekly(town: World, kind: Any = "weekly", name: str = WEEK) -> ReportModel:
    with town.db.reading() as session:
        return build(session, town.bundle, kind, name, town.now)


def sheets(written: Written) -> dict[str, list[dict[str, Any]]]:
    book = openpyxl.load_workbook(io.BytesIO(written.papers["xlsx"]))
    found = {}
    for sheet in book.worksheets[1:]:
        heads, *lines = sheet.iter_rows(values_only=True)
        found[sheet.title] = [dict(zip(map(str, heads), line, strict=True)) for line in lines]
    return found


def one(town: World, statement: str, **given: object) -> Any:
    """The first value of a recount: SQL of this file, no code of the product."""
    with town.db.engine.connect() as connection:
        return connection.execute(text(statement), given).scalar_one()


# --- figures ---------------------------------------------------------------------------------------------------


def test_the_report_takes_what_was_kept_and_computes_nothing_anew(town: World) -> None:
    evaluation_job.run_due(town.db, town.bundle, town.now)
    with town.db.reading() as session:
        kept = evaluation_job.stored_period(session, WEEK)
    part = weekly(town).evaluation
    assert kept is not None
    assert part is not None
    said = [(row.department, row.domain, row.cases, row.total, row.rates, row.flags) for row in part.rows]
    assert said == [
        (row.department, row.domain, row.cases, row.total, row.rates, row.flags) for row in kept.rows
    ]
    assert [[(i.id, i.value, i.n) for i in row.indicators] for row in part.rows] == [
        [(i.id, i.value, i.n) for i in row.indicators] for row in kept.rows
    ]
    with town.db.transaction() as session:
        changed = kept.stored() | {"min_cases": 3}
        session.execute(
            text("UPDATE evaluation_run SET model = :model WHERE scope = 'period' AND subject = :week"),
            {"model": json.dumps(changed), "week": WEEK},
        )
    again = weekly(town).evaluation
    assert again is not None
    assert again.min_cases == 3


def test_departments_equal_a_recount_by_sql(town: World, played: tuple[IncidentView, IncidentView]) -> None:
    open_one, _secret = played
    part = weekly(town).evaluation
    assert part is not None
    row = next(row for row in part.rows if row.department == "education" and not row.domain)
    value = {i.id: (i.value, i.n) for i in row.indicators}
    # duties that ended in the week while education had the matter, or ran out in it; sending back is a right
    ended = """
      SELECT avg(CASE WHEN r <= 1 THEN 1.0 ELSE max(0, 2 - r) END), count(*), sum(r <= 1) FROM (
        SELECT (julianday(coalesce(d.closed_at, :until)) - julianday(d.started_at))
               / (julianday(d.due_at) - julianday(d.started_at)) AS r
        FROM deadline d WHERE d.state <> 'cancelled' AND d.stops_on <> 'returned'
          AND CASE WHEN d.due_at < coalesce(d.closed_at, :until) THEN d.due_at ELSE d.closed_at END >= :since
          AND CASE WHEN d.due_at < coalesce(d.closed_at, :until) THEN d.due_at ELSE d.closed_at END < :until
          AND coalesce((SELECT json_extract(e.payload, '$.department') FROM incident_event e
               WHERE e.incident_id = d.incident_id AND e.kind = 'assigned'
                 AND e.occurred_at <= min(coalesce(d.closed_at, d.due_at), d.due_at) ORDER BY e.seq DESC LIMIT 1), '') = :who)"""
    bounds = {"since": "2026-11-22 16:00:00.000000", "until": "2026-11-29 16:00:00.000000"}
    with town.db.engine.connect() as connection:
        mean, n, kept = connection.execute(text(ended), {**bounds, "who": "education"}).one()
    assert n >= 2
    assert value["T"][0] == pytest.approx(mean, abs=1e-6)
    assert value["T"][1] == n
    on_time = next(rate for rate in row.rates if rate.id == "on_time")
    assert (on_time.right, on_time.n) == (kept, n)
    for id_, column in (("C", "coverage"), ("R", "relevance")):
        told = "SELECT avg({}) FROM reply_reading WHERE published_at >= :since AND published_at < :until"
        assert value[id_][0] == pytest.approx(one(town, told.format(column), **bounds))
        assert value[id_][1] == 2
    v = one(
        town,
        """SELECT (1.0 * sum(solved) / (sum(solved) + sum(unsolved))
                   + (sum(satisfied) + 0.5 * sum(basically)) / (sum(satisfied) + sum(basically) + sum(dissatisfied))) / 2
           FROM call_back WHERE made_at >= :since AND made_at < :until""",
        **bounds,
    )
    assert value["V"][0] == pytest.approx(v, abs=1e-6)
    assert row.cases == one(
        town,
        "SELECT count(DISTINCT incident_id) FROM incident_event WHERE kind = 'responded' AND occurred_at >= :since AND occurred_at < :until",
        **bounds,
    )
    # what people said, beside it
    human = part.human["education"]
    assert human.score == one(
        town, "SELECT avg(json_extract(payload, '$.score')) FROM incident_event WHERE kind = 'evaluated'"
    )
    total = one(
        town,
        """SELECT avg(t) FROM (SELECT sum(s.value) AS t FROM incident_rating r, json_each(r.scores) s GROUP BY r.reviewer)""",
    )
    assert human.total == pytest.approx(total, abs=0.005)
    assert (human.raters, human.rated, human.scored) == (2, 1, 1)
    # the total: weights of the settings over what can be computed, which is too few cases for a band
    assert row.total is None
    assert part.case is None
    assert open_one.number in row.numbers


def test_what_answers_and_promises_are_worth_equals_a_recount_by_sql(
    town: World, played: tuple[IncidentView, IncidentView]
) -> None:
    open_one, secret = played
    bounds = {"since": "2026-11-22 16:00:00.000000", "until": "2026-11-29 16:00:00.000000"}
    promised = """INSERT INTO promise (incident_id, key, answer, department, text, made_at, due_at, state, decided_by, link, note)
                  VALUES (:id, :key, 'one', 'education', '承诺', :made, :due, :state, 'lin', '', '')"""
    with town.db.engine.begin() as connection:
        connection.execute(
            text(
                """UPDATE reply_reading SET elements = :elements, citations = 0, figures = 1, courtesy = 0, template_of = 6
                   WHERE incident_id = :id"""
            ),
            {
                "id": secret.id,
                "elements": json.dumps({name: n < 3 for n, name in enumerate(ELEMENTS)}),
            },
        )
        for key, state, due in (
            ("kept", "kept", "2026-11-25"),
            ("broken", "broken", "2026-11-26"),
            ("silent", "open", "2026-11-27"),  # its day passed, and nobody said anything
            ("also", "kept", "2026-11-28"),
            ("later", "open", "2026-12-05"),  # not due in this week
            ("proposed", "proposed", "2026-11-26"),  # nobody confirmed that it is one
        ):
            given = {"id": open_one.id, "key": key, "state": state, "made": bounds["since"]}
            connection.execute(text(promised), given | {"due": f"{due} 04:00:00.000000"})
    part = weekly(town).evaluation
    assert part is not None
    row = next(row for row in part.rows if row.department == "education" and not row.domain)
    value = {i.id: (i.value, i.n) for i in row.indicators}
    recounts = {
        # one answer to each matter here: elements that stand in it, of eight
        "F": "SELECT avg(share) FROM (SELECT avg(e.value) AS share FROM reply_reading r, json_each(r.elements) e GROUP BY r.incident_id)",
        "E": "SELECT avg(min(1.0, (citations + figures) / 3.0)) FROM reply_reading",
        "A": """SELECT avg(max(0, 1 - 0.4 * buck_passing - 0.3 * (template_of >= 5) - 0.4 * blame - 0.1 * (1 - courtesy)))
                FROM reply_reading""",
        "U": """SELECT 1.0 * sum(state = 'kept') / count(*) FROM promise
                WHERE state IN ('kept', 'broken', 'open') AND due_at >= :since AND due_at < :until""",
    }
    for id_, statement in recounts.items():
        asked = bounds if ":since" in statement else {}
        assert value[id_][0] == pytest.approx(one(town, statement, **asked), abs=1e-4), id_
    assert {id_: value[id_][1] for id_ in recounts} == {"F": 2, "E": 2, "A": 2, "U": 4}
    assert value["U"][0] == 0.5
    # the share of negative posts in the day before an answer, and from the first day after it to the third
    share = """SELECT 1.0 * sum(j.tone = 'neg') / count(*) FROM post p JOIN incident_post i ON i.post_id = p.id
               JOIN judgement j ON j.post_id = p.id WHERE i.incident_id = :id
               AND julianday(p.published_at) >= julianday(:at) + :a / 24.0 AND julianday(p.published_at) < julianday(:at) + :b / 24.0"""
    answered_at = one(
        town,
        "SELECT occurred_at FROM incident_event WHERE kind = 'responded' AND incident_id = :id",
        id=open_one.id,
    )
    before, after = (
        one(town, share, id=open_one.id, at=answered_at, a=a, b=b) for a, b in ((-24, 0), (24, 72))
    )
    wanted = min(1.0, max(0.0, 0.5 + 0.5 * (before - after) / max(before, 0.05)))
    assert value["O"][0] == pytest.approx(wanted, abs=1e-4)
    assert value["O"][1] == 1


def test_talk_after_answers_equals_a_recount_by_sql(
    town: World, played: tuple[IncidentView, IncidentView]
) -> None:
    open_one, _secret = played
    part = weekly(town).evaluation
    assert part is not None
    (line,) = part.trends
    assert line.number == open_one.number
    count = """SELECT count(*), count(j.tone), sum(j.tone = 'neg') FROM post p JOIN incident_post i ON i.post_id = p.id
               LEFT JOIN judgement j ON j.post_id = p.id WHERE i.incident_id = :id
               AND julianday(p.published_at) >= julianday(:at) + :a / 24.0
               AND julianday(p.published_at) < julianday(:at) + :b / 24.0"""
    at = one(town, "SELECT occurred_at FROM incident_event WHERE kind = 'responded' AND incident_id = :id", id=open_one.id)  # fmt: skip
    with town.db.engine.connect() as connection:
        before = connection.execute(text(count), {"id": open_one.id, "at": at, "a": -24, "b": 0}).one()
        after = connection.execute(text(count), {"id": open_one.id, "at": at, "a": 24, "b": 72}).one()
    t = line.trend
    assert (t.before_posts, t.before_judged, t.before_negative) == tuple(before)
    assert (t.after_posts, t.after_judged, t.after_negative) == tuple(after)
    assert after[0] > 40
    assert t.volume is not None
    change = ((after[0] + 0.5) / 2) / (before[0] + 0.5) - 1
    assert t.volume.value == pytest.approx(change, abs=1e-3)
    assert t.volume.low < t.volume.value < t.volume.high


# --- what is said, and what is not -------------------------------------------------------------------------------


def test_every_format_holds_the_evaluation_in_both_languages(
    town: World, played: tuple[IncidentView, IncidentView]
) -> None:
    open_one, _secret = played
    model = weekly(town)
    for language, heading, few in (
        ("zh_CN", "回应效果评估", "数据不足"),
        ("en", "Evaluation of the response", "not enough data"),
    ):
        written = write(model, Edition(), language)
        bare = re.sub(r"\s+", "", heading)
        assert bare in pdf_text(written.papers["pdf"])
        told = [
            written.rendered.mail,
            written.rendered.mail_text,
            written.rendered.page,
            written.rendered.text,
        ]
        for shown in (*told, docx_text(written.papers["docx"])):
            assert heading in shown
            assert few in shown
            assert open_one.number in shown
            assert "84" in shown
        book = sheets(written)
        rows = book["效果评估" if language == "zh_CN" else "Evaluation"]
        assert any(value == few for value in rows[0].values())
        assert rows[0]["T 及时性" if language == "zh_CN" else "T Timeliness"] is not None
    assert len(written.rendered.mail.encode()) < 1_000_000


def test_a_restricted_matter_is_counted_and_named_nowhere(
    town: World, played: tuple[IncidentView, IncidentView]
) -> None:
    open_one, secret = played
    model = weekly(town)
    part = model.evaluation
    assert part is not None
    assert part.untold == 1
    assert secret.number not in json.dumps(part.model_dump(mode="json"))
    row = next(row for row in part.rows if not row.domain and row.department == "education")
    assert row.cases == 2
    assert row.numbers == (open_one.number,)
    drawn = write(model, Edition(), "zh_CN")
    section = drawn.rendered.text.split("回应效果评估")[1].split("监测覆盖与自查")[0]
    assert "另有限定知悉事项1件，计入数字，不列编号。" in section
    assert secret.number not in section
    for row_ in (*sheets(drawn)["效果评估"], *sheets(drawn)["回应后走势"]):
        assert secret.number not in str(row_)


def test_nobody_reads_which_reviewer_said_what(
    town: World, played: tuple[IncidentView, IncidentView]
) -> None:
    open_one, _secret = played
    with town.db.reading() as session:
        special = build_special(session, town.bundle, open_one.number, town.now)
    for model in (weekly(town), special):
        stored = json.dumps(model.stored(), ensure_ascii=False)
        assert "陈评审" not in stored
        drawn = write(model, Edition(), "zh_CN")
        assert "（2人次）" in drawn.rendered.text


def test_the_special_report_evaluates_its_incident_and_draws_the_answer(
    town: World, played: tuple[IncidentView, IncidentView]
) -> None:
    open_one, secret = played
    with town.db.reading() as session:
        model = build_special(session, town.bundle, open_one.number, town.now)
        case = evaluation_job.case_now(session, town.bundle, open_one.id, town.now)
    assert case is not None
    assert model.evaluation is not None
    assert model.evaluation.case is not None
    assert model.evaluation.case.indicators == case.indicators
    assert model.evaluation.case.trend == case.trend
    for language in ("zh_CN", "en"):
        written = write(model, Edition(), language)
        assert "trend.png" in {image.name for image in written.rendered.images}
        section = written.rendered.text
        assert f"{case.total:.2f}" in section
        assert "0 小时" not in section
        assert secret.number not in section
    # each sentence of the section that tells of the incident cites it
    said = evaluation_sentences(write(model, Edition(), "zh_CN").rendered.text)
    assert said
    assert all(open_one.number in line for line in said if re.search(r"评估|率|回应前", line))


def evaluation_sentences(page: str) -> list[str]:
    section = page.split("回应效果评估\n")[1].split("\n\n")[0]
    return [
        line
        for line in section.splitlines()
        if line.endswith("。") and not re.match(r"[A-Z]+ |解读|回应前两天", line)
    ]


def test_completeness_says_what_is_missing_and_not_what_came_last(
    town: World, played: tuple[IncidentView, IncidentView]
) -> None:
    incident = played[0]
    there = ("facts", "measures", "unit", "basis", "contact", "next_step")
    elements = {name: name in there for name in ELEMENTS}
    with town.db.transaction() as session:
        changed = text("UPDATE reply_reading SET elements = :elements WHERE incident_id = :id")
        session.execute(changed, {"elements": json.dumps(elements), "id": incident.id})
    with town.db.reading() as session:
        model = build_special(session, town.bundle, incident.number, town.now)
    for language, told in (
        ("zh_CN", "有 6 项，共 8 项；缺：原因、时限"),
        ("en", "6 of 8 elements; missing:"),
    ):
        assert told in write(model, Edition(), language).rendered.text


def test_a_period_too_large_to_compute_beside_a_report_waits_for_its_evaluation(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_part, "AT_ONCE", 1)
    model = weekly(town)
    assert model.evaluation is not None
    assert not model.evaluation.computed
    assert "本周的评估尚未计算完毕" in write(model, Edition(), "zh_CN").rendered.text
    evaluation_job.run_due(town.db, town.bundle, town.now)
    part = weekly(town).evaluation
    assert part is not None
    assert part.computed
    assert part.trends


def test_months_and_years_hold_it_and_days_do_not(
    town: World, played: tuple[IncidentView, IncidentView]
) -> None:
    open_one, _secret = played
    for kind, name in (("monthly", "2026-11"), ("yearly", "2026")):
        part = weekly(town, kind, name).evaluation
        assert part is not None
        assert any(open_one.number in row.numbers for row in part.rows)
    assert weekly(town, "daily", "2026-11-24").evaluation is None


def test_an_evaluation_that_changes_alone_makes_no_correction(
    town: World, played: tuple[IncidentView, IncidentView]
) -> None:
    open_one, _secret = played
    before = weekly(town)
    read(town, open_one, "late", published_at=NOW, coverage=1.0, relevance=0.99)
    after = weekly(town)
    assert before.evaluation != after.evaluation
    assert before.digest() == after.digest()


def test_a_report_of_the_time_before_there_was_an_evaluation_reads_back(town: World) -> None:
    stored = weekly(town).stored()
    stored.pop("evaluation")
    assert ReportModel.model_validate(stored).evaluation is None


def test_a_year_is_kept_only_where_a_yearly_report_is_wanted(town: World) -> None:
    january = NOW.replace(year=2027, month=1, day=6)
    done = evaluation_job.run_due(town.db, town.bundle, january)
    assert done is not None
    assert "2026" not in done.periods
    wanted = town.bundle.settings.reports.model_copy(update={"yearly_at": "01-05 08:27"})
    bundle = replace(town.bundle, settings=town.bundle.settings.model_copy(update={"reports": wanted}))
    done = evaluation_job.run_due(town.db, bundle, january)
    assert done is not None
    assert done.periods == ("2026",)
    # once a week is enough for a year
    again = evaluation_job.run_due(town.db, bundle, january + timedelta(days=2))
    assert again is None or "2026" not in again.periods
    with town.db.reading() as session:
        kept = evaluation_job.stored_period(session, "2026")
        told = build(session, bundle, "yearly", "2026", january).evaluation
    assert kept is not None
    assert told is not None
    assert [row.cases for row in told.rows] == [row.cases for row in kept.rows]


def test_of_many_answers_a_mail_tells_the_most_talked_about(
    town: World, played: tuple[IncidentView, IncidentView]
) -> None:
    model = weekly(town)
    part = model.evaluation
    assert part is not None
    many = model.model_copy(update={"evaluation": part.model_copy(update={"trends": part.trends * 20})})
    drawn = write(many, Edition(), "zh_CN")
    assert drawn.rendered.mail_text.count("日均帖数变化") == 6
    assert "另有14件的走势见表格文件。" in drawn.rendered.mail
    assert drawn.rendered.text.count("日均帖数变化") == 20
    assert len(sheets(drawn)["回应后走势"]) == 20
