"""Appeals: a clerk for the own unit only, decided by another person in ten working days, visible in the figures and the record."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from incidents import accountability, appeals, rebuild, report_runs
from incidents.appeals import AppealView
from incidents.queries import IncidentView
from incidents.session import Database
from incidents.states import Assign, Confirm, Refused, Respond
from reports import accountability_job
from reports.accountability_model import AccountabilityModel
from tests.console_world import World, client, world

UNIT = "market-regulation"
ZONE = ZoneInfo("Asia/Shanghai")


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(
        db,
        tmp_path,
        accountability=world(db, tmp_path).bundle.settings.accountability.model_copy(update={"min_n": 2}),
    )
    for login, role, unit in (
        ("sun", "supervisor", ""),
        ("li", "supervisor", ""),
        ("clerk", "department", UNIT),
        ("other", "department", "education"),
    ):
        made.account(login, role, unit, name=login)
    return made


def late(town: World, *, answered: bool = True) -> IncidentView:
    """A case of the unit, answered after its time."""
    case = town.incident("食堂饭菜有异味", ["饭菜有异味"] * 3)
    town.run()
    town.act(case, Confirm(), Assign(UNIT))
    town.now += timedelta(hours=50)
    town.run()
    if answered:
        town.act(case, Respond("https://gov.example.invalid/1"))
    town.now += timedelta(minutes=1)
    return town.get(case.id)


def tables(town: World, period: str = "2026-11") -> AccountabilityModel:
    accountability_job.run(town.db, town.bundle, period, town.now)
    with town.db.reading() as session:
        return accountability_job.read(report_runs.runs(session, "accountability", period)[-1])


def post(browser: httpx.Client, path: str, **fields: str) -> httpx.Response:
    page = browser.get("/accountability?period=2026-11").text
    token = page.split('name="csrf" value="', 1)[1].split('"', 1)[0]
    return browser.post(
        path, data={"csrf": token, "period": "2026-11", **fields}, headers={"Origin": "http://console.test"}
    )


def file(browser: httpx.Client, number: str, about: str = "clock:R03:1", **change: str) -> httpx.Response:
    fields = {"about": about, "number": number, "reason": "停电两日，有证明", "evidence": "济电〔2026〕3号"}
    return post(browser, "/accountability/appeals", **(fields | change))


def only(town: World) -> AppealView:
    with town.db.reading() as session:
        (found,) = appeals.listed(session)
    return found


def test_an_upheld_appeal_shows_in_the_figures_with_and_without_it(town: World) -> None:
    case = late(town)
    late(town)
    before = tables(town).department(UNIT)
    assert before is not None
    assert (before.rate.missed, before.after.missed, before.rate.share) == (2, 2, 0.5)
    clerk = client(town, "clerk")
    page = clerk.get("/accountability?period=2026-11").text
    assert f'name="number" value="{case.number}"' in page
    assert file(clerk, case.number, reason=" ").status_code == 409
    assert file(clerk, case.number, evidence=" ").status_code == 409
    assert file(clerk, case.number).status_code == 303
    assert file(clerk, case.number).status_code == 409, "once"
    filed = only(town)
    # Saturday 28 November: ten working days later is Friday 11 December, 24:00
    assert filed.decide_due_at.astimezone(ZONE).isoformat() == "2026-12-12T00:00:00+08:00"
    assert len(filed.trace) >= 3
    assert (line := tables(town).department(UNIT)) is not None
    assert (line.appeals_waiting, line.after.missed) == (1, 2)
    assert post(clerk, "/accountability/appeals/1", outcome="upheld", reason="x").status_code == 403
    sun = client(town, "sun")
    assert post(sun, "/accountability/appeals/1", outcome="upheld", reason=" ").status_code == 409
    assert post(sun, "/accountability/appeals/1", outcome="perhaps", reason="x").status_code == 409
    assert post(sun, "/accountability/appeals/1", outcome="upheld", reason="停电属实").status_code == 303
    assert post(sun, "/accountability/appeals/1", outcome="dismissed", reason="x").status_code == 409
    after = tables(town)
    assert (line := after.department(UNIT)) is not None
    assert (line.rate.missed, line.after.missed, line.after.kept) == (2, 1, 2)
    assert line.after.share == 2 / 3
    assert [miss.appeal for miss in after.misses if miss.number == case.number] == ["upheld"]
    shown = sun.get("/accountability?period=2026-11").text
    assert "停电属实" in shown
    with town.db.reading() as session:
        assert [str(one) for one in rebuild.differences(session)] == []
    kinds = ("appeal_filed", "appeal_decided")
    with town.db.engine.connect() as connection:
        said = connection.exec_driver_sql(
            f"SELECT kind, actor FROM incident_event WHERE kind IN {kinds} ORDER BY seq"
        ).all()
    assert [tuple(row) for row in said] == [("appeal_filed", "clerk"), ("appeal_decided", "sun")]


def test_a_clerk_appeals_for_nothing_of_another_unit(town: World) -> None:
    case = late(town)
    tables(town)
    other = client(town, "other")
    assert file(other, case.number).status_code == 409
    assert file(other, "").status_code == 409
    assert file(client(town, "clerk"), case.number, about="clock:R99:1").status_code == 409
    assert file(client(town, "clerk"), case.number, about="nonsense").status_code == 409
    assert file(client(town, "sun"), case.number).status_code == 403
    with town.db.reading() as session:
        assert appeals.listed(session) == []


def test_a_kept_clock_is_nothing_to_appeal_against(town: World) -> None:
    case = town.incident("公交站台没有顶棚", ["没有顶棚"] * 3)
    town.run()
    town.act(case, Confirm(), Assign(UNIT), Respond("https://gov.example.invalid/1"))
    tables(town)
    answer = file(client(town, "clerk"), case.number)
    assert answer.status_code == 409
    assert "没有超时" in answer.text


def test_the_time_to_appeal_ends_after_fifteen_working_days(town: World) -> None:
    case = late(town)
    tables(town)
    missed = datetime(2026, 11, 26, 8, tzinfo=ZONE)
    assert town.now > missed
    # the miss was noticed on Thursday 26 November: Thursday 17 December is the fifteenth working day
    town.now = datetime(2026, 12, 17, 23, 59, tzinfo=ZONE)
    in_time = client(town, "clerk")
    town.now = datetime(2026, 12, 18, 0, 1, tzinfo=ZONE)
    too_late = file(in_time, case.number)
    assert too_late.status_code == 409
    assert "届满" in too_late.text
    town.now = datetime(2026, 12, 17, 23, 59, tzinfo=ZONE)
    assert file(in_time, case.number).status_code == 303


def test_an_appeal_that_nobody_decides_shows_as_overdue(town: World) -> None:
    case = late(town)
    tables(town)
    assert file(client(town, "clerk"), case.number).status_code == 303
    assert "申诉逾期未决" not in client(town, "sun").get("/accountability").text
    town.now = only(town).decide_due_at + timedelta(minutes=1)
    assert "申诉逾期未决 1 项" in client(town, "sun").get("/accountability").text


def test_whoever_decided_first_does_not_decide_on_the_appeal(town: World) -> None:
    case = late(town)
    with town.db.transaction() as session:
        step = next(one for one in accountability.of_incident(session, case.id) if one.level == "L3")
        # withdrawn or not, it is decided for the purpose of this test while it is open
        assert step.state == "open"
        accountability.decide(
            session, step.id, approve=True, by="sun", name="孙", reason="超时", ground="", channel="console",
            now=town.now,
        )  # fmt: skip
    town.now += timedelta(minutes=1)
    before = tables(town).department(UNIT)
    assert before is not None
    assert (before.measures, before.measures_after) == (1, 1)
    clerk = client(town, "clerk")
    assert file(clerk, case.number, about=f"measure:{step.key}").status_code == 303
    own = post(client(town, "sun"), "/accountability/appeals/1", outcome="dismissed", reason="不成立")
    assert own.status_code == 409
    assert "原决定人" in own.text
    done = post(client(town, "li"), "/accountability/appeals/1", outcome="upheld", reason="成立")
    assert done.status_code == 303
    after = tables(town).department(UNIT)
    assert after is not None
    assert (after.measures, after.measures_after) == (1, 0)


def test_a_changed_appeal_names_the_link_and_a_row_is_appealed_once_it_is_whole(town: World) -> None:
    case = late(town)
    clerk, sun = client(town, "clerk"), client(town, "sun")
    tables(town)
    assert file(clerk, "", about="row:2026-11").status_code == 409, "the month still runs"
    assert file(clerk, case.number).status_code == 303
    assert post(sun, "/accountability/appeals/1", outcome="changed", reason="系统未送达").status_code == 409
    done = post(sun, "/accountability/appeals/1", outcome="changed", changed_to="system", reason="系统未送达")
    assert done.status_code == 303
    town.now = datetime(2026, 12, 2, 9, tzinfo=ZONE)
    clerk, sun = client(town, "clerk"), client(town, "sun")
    whole = tables(town)
    assert [miss.changed_to for miss in whole.misses] == ["system"]
    assert file(clerk, "", about="row:2026-11").status_code == 303
    assert post(sun, "/accountability/appeals/2", outcome="upheld", reason="构成特殊").status_code == 303
    assert (line := tables(town).department(UNIT)) is not None
    assert line.remarks == ("构成特殊",)
    with town.db.reading() as session:
        runs = report_runs.runs(session, "accountability", "2026-11")
        assert [str(one) for one in rebuild.differences(session)] == []
    assert accountability_job.corrects(runs[-1]), "a whole table that changes is a correction"


def test_late_data_give_a_marked_correction_with_the_figures_that_changed(town: World) -> None:
    case = late(town, answered=False)
    town.now = datetime(2026, 12, 2, 9, tzinfo=ZONE)
    first = tables(town)
    assert (line := first.department(UNIT)) is not None
    assert line.rate.missed == 1
    published = datetime(2026, 11, 25, 9, tzinfo=ZONE)
    town.act(case, Respond("https://gov.example.invalid/1", published_at=published))
    assert accountability_job.run(town.db, town.bundle, "2026-11", town.now) is not None
    assert accountability_job.run(town.db, town.bundle, "2026-11", town.now) is None, "nothing new"
    page = client(town, "sun").get("/accountability?period=2026-11").text
    assert "更正：第 2 版，替代第 1 版" in page
    assert "超时 1 → 0" in page
    assert "按时 0 → 2" in page


def test_waiting_for_approval_is_asked_by_the_unit_and_answered_by_another(town: World) -> None:
    case = late(town, answered=False)
    clerk, other, sun = (client(town, one) for one in ("clerk", "other", "sun"))
    path = f"/accountability/approvals/{case.number}"
    ask = {"act": "ask", "what": "答复口径", "approver": "王市长"}
    assert post(other, path, **ask).status_code == 404
    assert post(sun, path, **ask).status_code == 403
    assert post(clerk, path, **(ask | {"what": " "})).status_code == 409
    assert post(clerk, path, **ask).status_code == 303
    assert post(clerk, path, **ask).status_code == 409
    assert "答复口径" in sun.get("/accountability").text
    town.now += timedelta(hours=3)
    clerk = client(town, "clerk")
    assert post(clerk, path, act="give", granted="yes").status_code == 403
    sun = client(town, "sun")
    assert post(sun, path, act="give", granted="no", note=" ").status_code == 409
    assert post(sun, path, act="give", granted="yes").status_code == 303
    town.now += timedelta(minutes=1)
    part = next(one for one in tables(town).links if one.part == "approval")
    assert (part.link, part.seconds) == ("approver", 3 * 3600)


def test_the_filer_does_not_decide_even_with_another_role(town: World) -> None:
    case = late(town)
    tables(town)
    file(client(town, "clerk"), case.number)
    with town.db.transaction() as session, pytest.raises(Refused, match="neither filed it"):
        appeals.decide(session, 1, outcome="upheld", reason="x", by="clerk", channel="console", now=town.now)


def test_a_running_table_is_one_row_and_the_job_looks_once_an_hour(town: World) -> None:
    late(town)
    first = accountability_job.run_due(town.db, town.bundle, town.now)
    assert first is not None
    assert first.written == ("2026-W48", "2026-11", "2026-Q4", "2026")
    assert accountability_job.run_due(town.db, town.bundle, town.now + timedelta(minutes=59)) is None
    late(town)
    again = accountability_job.run_due(town.db, town.bundle, town.now)
    assert again is not None
    with town.db.reading() as session:
        assert [run.revision for run in report_runs.runs(session, "accountability", "2026-11")] == [1]
    town.now = datetime(2026, 12, 1, 9, tzinfo=ZONE)
    whole = accountability_job.run_due(town.db, town.bundle, town.now)
    assert whole is not None
    assert "2026-11" in whole.written
    assert whole.corrected == (), "the first whole table corrects nothing"
    with town.db.reading() as session:
        assert [run.revision for run in report_runs.runs(session, "accountability", "2026-11")] == [1, 2]


def test_everything_is_the_same_on_both_databases(any_db: Database, tmp_path: Path) -> None:
    town = world(any_db, tmp_path)
    town.account("sun", "supervisor", name="sun")
    town.account("clerk", "department", UNIT, name="clerk")
    case = late(town)
    assert file(client(town, "clerk"), case.number).status_code == 303
    done = post(client(town, "sun"), "/accountability/appeals/1", outcome="upheld", reason="停电属实")
    assert done.status_code == 303
    with town.db.reading() as session:
        step = next(one for one in accountability.of_incident(session, case.id) if one.level == "L3")
    drafted = post(client(town, "sun"), "/accountability/letters", kind="order", step=str(step.id))
    assert drafted.status_code == 303, drafted.text
    page = client(town, "sun").get("/accountability/letters/1")
    assert "P15" in page.text
    town.now += timedelta(minutes=1)
    line = tables(town).department(UNIT)
    assert line is not None
    assert (line.rate.kept, line.rate.missed, line.after.missed, line.red) == (1, 1, 0, 1)
    with town.db.reading() as session:
        assert [str(one) for one in rebuild.differences(session)] == []


@pytest.mark.parametrize(
    "about", ["clock:R03:01", "clock:R03:１", "clock:R03:" + "9" * 20, "clock::", "row:" + "9" * 70]
)
def test_one_thing_has_one_name_and_nonsense_is_nothing_to_appeal_against(town: World, about: str) -> None:
    case = late(town)
    tables(town)
    assert file(client(town, "clerk"), case.number, about=about).status_code == 409
    sun = client(town, "sun")
    for path in ("/accountability/letters/" + "9" * 23, "/accountability/letters/" + "9" * 23 + ".pdf"):
        assert sun.get(path).status_code in (404, 422)
    huge = post(sun, "/accountability/appeals/" + "9" * 23, outcome="upheld", reason="x")
    assert huge.status_code in (404, 422)


def test_an_empty_city_has_an_empty_page(town: World) -> None:
    page = client(town, "sun").get("/accountability")
    assert page.status_code == 200
    assert "还没有问责表" in page.text
    assert client(town, "sun").get("/accountability?period=%00nonsense").status_code == 200
