"""Evaluations out of the record: counted again by SQL of their own, kept in revisions, shown to whom they concern."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from commands import evaluation as command
from incidents import (
    call_backs,
    evaluation_numbers,
    evaluation_runs,
    promises,
    ratings,
    rebuild,
    reply_readings,
)
from incidents.call_backs import Said
from incidents.evaluation_runs import Run
from incidents.installation import Installation, Problem
from incidents.queries import IncidentView
from incidents.ratings import ITEMS
from incidents.reply_readings import ELEMENTS, StoredReading
from incidents.session import Database
from incidents.states import (
    Assign,
    Close,
    Confirm,
    Evaluate,
    FalseAlarm,
    Merge,
    Refused,
    Reopen,
    Respond,
    Restrict,
    SignFor,
)
from reports import evaluation_job as job
from reports.evaluation_model import CaseEvaluation
from tests.console_world import NOW, World, client, submit, world

SCORES = dict.fromkeys(ITEMS, 2.0)


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    return _town(db, tmp_path)


def _town(db: Database, folder: Path) -> World:
    made = world(db, folder)
    made.account()
    made.account("ke", "department", "education", name="柯敏")
    made.account("fen", "analyst", name="冯静")
    return made


def assigned(town: World, posts: int = 30, title: str = "食堂的饭菜变质", **how: object) -> IncidentView:
    """An incident of education; one post every twenty minutes, the last one now."""
    texts = [f"孩子吃坏了 {n}" for n in range(posts)]
    spacing = {"every": timedelta(minutes=20), "began": timedelta(minutes=20 * posts), **how}
    made = town.incident(title, texts, domain="education", **spacing)  # type: ignore[arg-type]
    town.run()
    return town.act(made, Confirm(), Assign("education"), SignFor())


def answered(town: World, **how: object) -> IncidentView:
    return town.act(assigned(town, **how), Respond("https://jy.example.invalid/1", "已查明"))  # type: ignore[arg-type]


def now_of(town: World, incident: IncidentView) -> CaseEvaluation:
    with town.db.reading() as session:
        found = job.case_now(session, town.bundle, incident.id, town.now)
    assert found is not None
    return found


def read(town: World, incident: IncidentView, key: str = "one", **more: object) -> None:
    """What the analysis would have read out of the answer."""
    fields: dict[str, object] = {
        "incident_id": incident.id,
        "seq": None,
        "post_id": None,
        "department": "education",
        "published_at": town.now,
        "read_at": town.now,
        "model": "test",
        "relevance": 0.8,
        "coverage": 0.75,
        "elements": dict.fromkeys(ELEMENTS, True),
        "citations": 2,
        "figures": 4,
        "buck_passing": False,
        "template_of": 0,
        "blame": False,
        "courtesy": True,
        **more,
    }
    with town.db.transaction() as session:
        reply_readings.save(
            session,
            StoredReading(**fields),  # type: ignore[arg-type]
            key=key,
            mark="m",
            details={},
            proposed=[],
            now=town.now,
        )


def rate(town: World, incident: IncidentView, by: str, **more: object) -> bool:
    given = {"scores": SCORES, "improper": False, "points": [], "note": "", **more}
    with town.db.transaction() as session:
        return ratings.rate(
            session,
            incident.id,
            by=by,
            name=by,
            channel="console",
            now=town.now,
            **given,  # type: ignore[arg-type]
        )


def call(town: World, incident: IncidentView, said: Said, key: str = "a") -> None:
    with town.db.transaction() as session:
        call_backs.enter(session, incident.id, said, key=key, by="lin", channel="console", now=town.now)


def sql(town: World, statement: str, **given: object) -> list[tuple[object, ...]]:
    with town.db.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), given)]


def instant(value: object) -> datetime:
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# --- counted again ---------------------------------------------------------------------------------------------------


def test_figures_are_those_that_sql_of_its_own_counts(any_db: Database, tmp_path: Path) -> None:
    town = _town(any_db, tmp_path)
    incident = answered(town)
    read(town, incident)
    call(town, incident, Said(8, 3, 1, 7, 3, 2))
    call(town, incident, Said(solved=1, satisfied=1), "b")
    at = town.now
    with town.db.transaction() as session:
        # the talk goes on after the answer: a post an hour, one in four not negative
        from incidents.judgements import add_post, save_judgements
        from tests.console_world import _judgement

        for hour in range(1, 90):
            when = at + timedelta(hours=hour)
            number = town.post(session, f"还有人说 {hour}", when, author_key=f"late-{hour % 9}")
            save_judgements(session, [_judgement(number, "education", "历下区", None, risk=0)], when)
            add_post(
                session,
                incident.id,
                number,
                similarity=0.9,
                voice=True,
                published_at=when,
                negative=True,
                now=when,
            )
    town.now += timedelta(days=9)
    town.run()
    found = now_of(town, incident)

    clocks = sql(
        town,
        "SELECT started_at, due_at, closed_at FROM deadline WHERE incident_id = :id AND state <> 'cancelled' AND stops_on <> 'returned'",
        id=incident.id,
    )
    scores = []
    for start, due, closed in clocks:
        end = instant(closed) if closed else town.now
        ratio = (end - instant(start)) / (instant(due) - instant(start))
        scores.append(1 if ratio <= 1 else max(0, 2 - ratio))
    assert len(scores) >= 1
    assert found.indicator("T").value == pytest.approx(sum(scores) / len(scores), abs=1e-6)

    solved, unsolved, good, basic, bad = sql(
        town,
        "SELECT sum(solved), sum(unsolved), sum(satisfied), sum(basically), sum(dissatisfied) FROM call_back WHERE incident_id = :id",
        id=incident.id,
    )[0]
    hand = (int(str(solved)) / int(str(solved + unsolved)) + (good + 0.5 * basic) / (good + basic + bad)) / 2  # type: ignore[operator]
    assert found.indicator("V").value == pytest.approx(float(hand), abs=1e-6)

    rows = sql(
        town,
        "SELECT p.published_at, j.tone FROM post p JOIN incident_post i ON i.post_id = p.id LEFT JOIN judgement j ON j.post_id = p.id WHERE i.incident_id = :id",
        id=incident.id,
    )
    before = [tone for when, tone in rows if at - timedelta(hours=24) <= instant(when) < at]
    after = [
        tone for when, tone in rows if at + timedelta(hours=24) <= instant(when) < at + timedelta(hours=72)
    ]
    assert found.trend is not None
    assert (found.trend.before_posts, found.trend.after_posts) == (len(before), len(after)) == (30, 48)
    p0, p1 = (sum(tone == "neg" for tone in side) / len(side) for side in (before, after))
    assert found.indicator("O").value == pytest.approx(
        min(1, max(0, 0.5 + 0.5 * (p0 - p1) / max(p0, 0.05))), abs=1e-6
    )
    assert found.indicator("C").value == 0.75
    assert found.indicator("F").value == 1.0
    assert found.total is not None
    with town.db.reading() as session:
        assert [str(one) for one in rebuild.differences(session)] == []
    # only nine people wrote after the answer
    with town.db.reading() as session:
        case = evaluation_numbers.case(session, incident.id, town.now)
    assert case is not None
    assert len({post.author for post in case.posts if post.at > at}) == 9


# --- traps -----------------------------------------------------------------------------------------------------------


def test_a_reopened_case_is_judged_by_the_answer_of_its_latest_round(town: World) -> None:
    incident = answered(town)
    read(town, incident, coverage=1.0)
    call(town, incident, Said(solved=12, satisfied=12))
    incident = town.act(incident, Evaluate(80), Close())
    town.now += timedelta(days=1)
    incident = town.act(incident, Reopen("又有人发病"), Assign("education"), SignFor())
    # until it is answered again the first answer stands, but the new clock runs
    assert now_of(town, incident).indicator("C").value == 1.0
    town.now += timedelta(days=6)
    incident = town.act(incident, Respond("https://jy.example.invalid/2", "再次说明"))
    found = now_of(town, incident)
    assert found.round == 2
    assert found.indicator("C").value is None, "what was read of the first answer says nothing of the second"
    assert found.indicator("V").value is None
    read(town, incident, coverage=0.25, key="two")
    found = now_of(town, incident)
    assert found.indicator("C").value == 0.25
    assert found.answered_at == town.now
    timely = found.indicator("T")
    assert timely.value is not None
    assert timely.value < 1, "R03 of the second round was answered after six days"


def test_a_merged_case_is_judged_in_its_parent(town: World) -> None:
    parent = answered(town)
    with town.db.reading() as session:
        alone = evaluation_numbers.case(session, parent.id, town.now)
    assert alone is not None
    other = town.incident("又一条", ["食堂卫生差", "食堂有虫"], domain="education")
    town.run()
    merged = town.act(other, Merge(parent.id))
    with town.db.reading() as session:
        together = evaluation_numbers.case(session, parent.id, town.now)
        assert job.case_now(session, town.bundle, merged.id, town.now) is None
        assert evaluation_numbers.roots(session, [merged.id, parent.id]) == {parent.id}
    assert together is not None
    assert len(together.posts) == len(alone.posts) + 2
    assert {clock.rule_id for clock in together.clocks} >= {clock.rule_id for clock in alone.clocks}
    home = Installation(town.db, town.bundle, town.keys)
    with pytest.raises(Problem, match=f"merged into {parent.number}"):
        command.case(home, merged.number, town.now)


def test_a_false_alarm_is_not_evaluated_and_a_number_that_is_none_is_told(town: World) -> None:
    incident = town.incident("演习", ["消防演习"])
    town.act(incident, FalseAlarm("no_issue"))
    home = Installation(town.db, town.bundle, town.keys)
    with pytest.raises(Problem, match="false_alarm: there is nothing to evaluate"):
        command.case(home, incident.number, town.now)
    with pytest.raises(Problem, match="there is no incident"):
        command.case(home, "QS-2026-999999", town.now)
    with pytest.raises(Problem, match="does not exist"):
        command.period(home, "2026-W99", town.now, "")
    with pytest.raises(Problem, match="no department 'nobody'"):
        command.period(home, "2026-W47", town.now, "nobody")


def test_an_answer_in_january_belongs_to_january(town: World) -> None:
    town.now = datetime(2026, 12, 31, 20, 0, tzinfo=NOW.tzinfo)
    incident = assigned(town)
    town.now += timedelta(hours=8)  # four in the morning of 1 January, week 2026-W53
    incident = town.act(incident, Respond("https://jy.example.invalid/1"))
    town.now += timedelta(days=12)
    home = Installation(town.db, town.bundle, town.keys)
    december, january = (command.period(home, name, town.now, "") for name in ("2026-12", "2027-01"))
    assert not [row for row in december.rows if row.department == "education"]
    found = [row for row in january.rows if row.department == "education" and not row.domain]
    assert [row.cases for row in found] == [1]
    assert command.period(home, "2026-W53", town.now, "education").rows[0].numbers == (incident.number,)


def test_posts_that_retention_took_leave_no_trend(town: World) -> None:
    incident = answered(town)
    town.now += timedelta(days=9)
    with town.db.transaction() as session:
        session.execute(
            text("DELETE FROM incident_post WHERE post_id IN (SELECT min(post_id) FROM incident_post)")
        )
    missing = now_of(town, incident).indicator("O").missing
    assert missing is not None
    assert missing.given["n"] == 1


# --- people ----------------------------------------------------------------------------------------------------------


def test_ratings_are_events_and_the_latest_word_counts(any_db: Database, tmp_path: Path) -> None:
    town = _town(any_db, tmp_path)
    incident = assigned(town)
    with pytest.raises(Refused, match="no answer"):
        rate(town, incident, "lin")
    incident = town.act(incident, Respond("https://jy.example.invalid/1"))
    for wrong, said in (
        ({"scores": {**SCORES, "order": 5.5}}, "order must lie"),
        ({"scores": {**SCORES, "order": float("nan")}}, "order must lie"),
        ({"scores": {"order": 1.0}}, "all six"),
        ({"improper": True, "points": ["evasive"]}, "a reason"),
        ({"improper": True, "note": "x"}, "a point"),
        ({"improper": True, "note": "x", "points": ["ugly"]}, "unknown points"),
    ):
        with pytest.raises(Refused, match=said):
            rate(town, incident, "lin", **wrong)
    assert rate(town, incident, "lin")
    assert not rate(town, incident, "lin"), "the same word again is no event"
    assert rate(town, incident, "lin", scores={**SCORES, "order": -5.0})
    assert rate(town, incident, "he", improper=True, points=["evasive", "untrue"], note="没有回答")
    call(town, incident, Said(solved=1))
    with town.db.transaction() as session:
        given = ratings.ratings_of(session, [incident.id])[incident.id]
        assert [(one.reviewer, one.scores["order"], one.points) for one in given] == [
            ("he", 2.0, ("untrue", "evasive")),
            ("lin", -5.0, ()),
        ]
        assert list(rebuild.differences(session)) == []
        session.execute(text("UPDATE incident_rating SET improper = false"))
        session.execute(text("DELETE FROM call_back"))
        assert {(one.table, one.column) for one in rebuild.repair(session)} == {
            ("incident_rating", "improper"),
            ("call_back", "row"),
        }
        assert list(rebuild.differences(session)) == []


def test_call_backs_are_numbers_and_can_be_taken_back(town: World) -> None:
    incident = assigned(town)
    with pytest.raises(Refused, match="no answer"):
        call(town, incident, Said(solved=1))
    incident = town.act(incident, Respond("https://jy.example.invalid/1"))
    for said, sentence in (
        (Said(), "at least one"),
        (Said(solved=-1), "between 0"),
        (Said(solved=1, satisfied=2), "more people judged"),
    ):
        with pytest.raises(Refused, match=sentence):
            call(town, incident, said)
    call(town, incident, Said(solved=2, satisfied=1))
    call(town, incident, Said(solved=50), "a")  # the same key: sent twice
    with town.db.transaction() as session:
        assert call_backs.entries_of(session, [incident.id])[incident.id][0].said.solved == 2
        with pytest.raises(Refused, match="reason"):
            call_backs.withdraw(
                session, incident.id, "a", reason=" ", by="lin", channel="console", now=town.now
            )
        call_backs.withdraw(
            session, incident.id, "a", reason="登错事件", by="lin", channel="console", now=town.now
        )
        assert call_backs.entries_of(session, [incident.id]) == {}
        with pytest.raises(Refused, match="no such entry"):
            call_backs.withdraw(
                session, incident.id, "a", reason="x", by="lin", channel="console", now=town.now
            )
        assert list(rebuild.differences(session)) == []


def test_agreement_is_measured_on_enough_matters_only(town: World) -> None:
    settings = town.bundle.settings.evaluation
    incident = answered(town)
    for by in ("lin", "he"):
        rate(town, incident, by)
    with town.db.reading() as session:
        given = ratings.all_ratings(session)
    few = job.agreement_of(given, settings)
    assert {one.alpha for one in few} == {None}
    assert few[0].missing is not None
    many = dict.fromkeys(range(1, 11), given[incident.id])
    spread = {
        n: tuple(
            type(one)(**{**vars(one), "incident_id": n, "scores": {**one.scores, "order": float(n % 5)}})
            for one in rows
        )
        for n, rows in many.items()
    }
    found = {one.item: one for one in job.agreement_of(spread, settings)}
    assert found["order"].alpha == 1.0
    assert found["response"].missing is not None, "all said the same of everything"


# --- kept ------------------------------------------------------------------------------------------------------------


def runs(town: World, scope: str, subject: str) -> list[Run]:
    with town.db.reading() as session:
        return evaluation_runs.runs(session, scope, subject)


def test_a_revision_is_kept_for_each_change_and_marked_when_it_corrects(town: World) -> None:
    waiting = assigned(town)
    assert job.run_due(town.db, town.bundle, town.now) in (None, job.EvaluationSummary())
    incident = town.act(waiting, Respond("https://jy.example.invalid/1"))
    job.run_due(town.db, town.bundle, town.now)
    assert [one.kind for one in runs(town, "incident", incident.number)] == ["first"]
    assert job.run_due(town.db, town.bundle, town.now) in (None, job.EvaluationSummary()), "nothing has moved"
    incident = town.act(incident, Evaluate(90), Close())
    town.now += timedelta(days=8)
    town.run()
    job.run_due(town.db, town.bundle, town.now)
    known = runs(town, "incident", incident.number)
    assert known[-1].kind == "update"
    assert known[-1].model["final"]
    assert known[-1].next_at is None
    # late: what callers had said comes in after everything was over
    call(town, incident, Said(solved=20, satisfied=20))
    done = job.run_due(town.db, town.bundle, town.now)
    assert done is not None
    assert incident.number in done.corrections
    after = runs(town, "incident", incident.number)
    assert after[-1].kind == "correction"
    assert after[:-1] == known, "what was said before is kept"
    with town.db.reading() as session:
        stored = job.stored_case(session, incident.number)
    assert stored == now_of(town, incident).model_copy(update={"as_of": stored.as_of if stored else None})
    assert stored is not None
    assert stored.indicator("V").value == 1.0


def test_weeks_and_months_are_kept_when_they_are_over(town: World) -> None:
    incident = answered(town)
    job.run_due(town.db, town.bundle, town.now)
    assert runs(town, "period", "2026-W48") == []
    town.now += timedelta(days=7)
    town.run()
    done = job.run_due(town.db, town.bundle, town.now)
    assert done is not None
    assert set(done.periods) == {"2026-W48", "2026-11"}
    with town.db.reading() as session:
        week = job.stored_period(session, "2026-W48")
        assert job.stored_period(session, "2026-W40") is None
    assert week is not None
    assert next(row.numbers for row in week.rows if row.department == "education") == (incident.number,)
    # late data: an answer's reading that comes in weeks later
    town.now += timedelta(days=3)
    read(town, incident, published_at=NOW)
    done = job.run_due(town.db, town.bundle, town.now)
    assert done is not None
    assert "2026-W48" in done.corrections
    assert [one.kind for one in runs(town, "period", "2026-W48")] == ["first", "correction"]


def test_promises_that_people_settled_count(town: World) -> None:
    incident = answered(town)
    for number, kept in enumerate((True, False, False)):
        with town.db.transaction() as session:
            one = promises.enter(
                session,
                incident.id,
                department="education",
                text=f"{number + 1}日内公布",
                made_at=town.now,
                due_at=town.now + timedelta(days=number + 1),
                actor="lin",
                channel="console",
                now=town.now,
            )
            promises.settle(
                session,
                incident.id,
                one.key,
                kept=kept,
                link="https://jy.example.invalid/3",
                note="已核",
                actor="lin",
                channel="console",
                now=town.now,
            )
    found = now_of(town, incident)
    assert found.indicator("U").value == pytest.approx(1 / 3, abs=1e-6)
    flag = next(one for one in found.flags if one.id == "poor_handling")
    kinds = {row[0]: row[1] for row in sql(town, "SELECT seq, kind FROM incident_event")}
    assert [kinds[seq] for seq in flag.events] == ["promise_broken", "promise_broken"]


# --- pages -----------------------------------------------------------------------------------------------------------


def test_the_page_shows_every_indicator_and_takes_ratings_and_calls(town: World) -> None:
    incident = answered(town)
    town.now += timedelta(days=4)
    town.run()
    browser = client(town)
    address = f"/incidents/{incident.number}"
    assert "回应之后由系统计算" in browser.get(address).text
    job.run_due(town.db, town.bundle, town.now)
    html = browser.get(address).text
    for name in ("及时性", "报告及时", "诉求覆盖", "持续发布与承诺兑现", "舆情走势", "回应正文尚未研读"):
        assert name in html
    assert "data-chart" in html.split('id="evaluation"')[1]
    fields = {f"score-{item}": "1.5" for item in ITEMS}
    done = submit(browser, html, f"{address}/evaluation/rating", **fields, note="13912345678 的来电")
    assert done.status_code == 303, done.text
    html = browser.get(address).text
    assert "林东" in html
    assert "13912345678" not in html, "what is typed is redacted"
    done = submit(browser, html, f"{address}/evaluation/call-back", solved="3", satisfied="2")
    assert done.status_code == 303, done.text
    html = browser.get(address).text
    assert "1 条登记" in html
    refused = submit(browser, html, f"{address}/evaluation/call-back", solved="drei")
    assert refused.status_code == 409
    assert "人数须为整数" in refused.text
    refused = submit(browser, html, f"{address}/evaluation/rating", **{**fields, "score-order": "6"})
    assert refused.status_code == 409
    assert 'value="6"' in refused.text, "what was typed is kept"
    done = submit(browser, html, f"{address}/evaluation/withdraw", reason="登错")
    assert done.status_code == 303
    assert "还没有登记回访" in browser.get(address).text
    stolen = browser.post(
        f"{address}/evaluation/rating", data=fields, headers={"Origin": "http://console.test"}
    )
    assert stolen.status_code == 403
    english = client(town, lang="en").get(address).text
    assert "words of the answer were not read yet" in english


def test_a_clerk_reads_the_figures_of_the_own_case_and_nobody_s_verdict(town: World) -> None:
    incident = answered(town)
    rate(town, incident, "he", improper=True, points=["evasive"], note="没有回答何时复查")
    job.run_due(town.db, town.bundle, town.now)
    clerk = client(town, "ke")
    html = clerk.get(f"/incidents/{incident.number}").text
    assert "及时性" in html
    assert "没有回答何时复查" not in html
    assert "评审意见不向承办部门逐一公开" in html
    assert "evaluation/rating" not in html
    assert clerk.get("/evaluation").status_code == 403
    token = re.search(r'name="csrf" value="([^"]+)"', html)
    assert token is not None
    posted = clerk.post(
        f"/incidents/{incident.number}/evaluation/call-back",
        data={"csrf": token[1], "solved": "9"},
        headers={"Origin": "http://console.test"},
    )
    assert posted.status_code == 403


def test_the_page_of_departments_says_what_is_too_little_and_hides_what_is_restricted(town: World) -> None:
    browser = client(town)
    assert "还没有评估" in browser.get("/evaluation").text
    incident = answered(town)
    secret = answered(town, title="限定知悉的事", posts=12)
    town.act(secret, Restrict(("someone",), "涉密"), actor="wang")
    town.now += timedelta(days=7)
    town.run()
    job.run_due(town.db, town.bundle, town.now)
    browser = client(town)  # the session of a week ago has ended
    html = browser.get("/evaluation?period=2026-W48").text
    assert "数据不足" in html
    assert incident.number in html
    assert secret.number not in html
    assert "任何时候都不排名" in html
    assert "共 2 件" in html, "it is counted, not named"
    assert "没有这一时期的评估" in browser.get("/evaluation?period=2025-W01").text
    assert browser.get("/evaluation?period=%00nonsense<script>").status_code == 200
    assert "Evaluation of the response" in client(town, lang="en").get("/evaluation").text
