"""The ladder L3 to L7: proposed with evidence when its cause is there, decided by a named person only, taken back when the cause is gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from incidents import accountability
from incidents.accountability import Proposal
from incidents.posts import NewPost
from incidents.session import Database
from incidents.states import (
    Acknowledge,
    Assign,
    Close,
    Confirm,
    Evaluate,
    FalseAlarm,
    Refused,
    Reopen,
    Respond,
)
from tests.alert_office import T0, Office, bundle_for
from tests.console_world import client, submit, world


@pytest.fixture
def office(db: Database, tmp_path: Path, post: Callable[..., NewPost]) -> Office:
    return Office(db, bundle_for(tmp_path)).detect(post, level="serious")


def steps(office: Office) -> list[Proposal]:
    with office.db.reading() as session:
        return accountability.of_incident(session, office.incident_id)


def decide(office: Office, proposal: Proposal, **change: object) -> Proposal:
    given = {
        "approve": True,
        "by": "wang",
        "name": "王主任",
        "reason": "超时未办",
        "ground": "",
        "channel": "console",
        "now": office.now,
    }
    with office.db.transaction() as session:
        return accountability.decide(session, proposal.id, **(given | change))  # type: ignore[arg-type]


def test_a_missed_clock_proposes_an_order_once_with_its_evidence(office: Office) -> None:
    office.work()
    office.do(Acknowledge(epoch=1)).do(Confirm()).do(Assign("market-regulation")).work()
    office.later(hours=47).work()
    assert steps(office) == []
    office.later(hours=2).work()
    office.later(hours=9).work()
    (order,) = steps(office)
    assert (order.level, order.department, order.state) == ("L3", "market-regulation", "open")
    assert order.evidence["rule"] == "R03"
    assert "48小时" in order.evidence["quote"]
    assert order.evidence["system"]["unreachable"] == []
    assert len(order.evidence["events"]) >= 2


def test_a_general_matter_never_leads_to_censure_and_a_grave_one_only_with_a_ground(
    office: Office, post: Callable[..., NewPost]
) -> None:
    office.detect(post, level="major").work()
    office.do(Confirm("", "major")).do(Assign("education")).work()
    office.later(hours=6).work()
    found = {item.level: item for item in steps(office)}
    assert set(found) == {"L3", "L6"}
    with pytest.raises(Refused, match="three grounds"):
        decide(office, found["L6"])
    with pytest.raises(Refused, match="three grounds"):
        decide(office, found["L6"], ground="bad_mood")
    with pytest.raises(Refused, match="name the approver"):
        decide(office, found["L6"], ground="late_report", name=" ")
    done = decide(office, found["L6"], ground="late_report")
    assert (done.state, done.ground, done.decided_by) == ("approved", "late_report", "王主任")
    with pytest.raises(Refused, match="approved already"):
        decide(office, done)
    (event,) = office.history("accountability_decided")
    assert (event.actor, event.payload["by"]) == ("wang", "王主任")


def test_declining_needs_a_reason_and_no_ground(office: Office) -> None:
    office.work()
    office.later(hours=49).work()
    (order,) = steps(office)
    with pytest.raises(Refused, match="give the reason"):
        decide(office, order, approve=False, reason=" ")
    assert decide(office, order, approve=False, reason="系统故障所致").state == "declined"
    office.later(days=30).work()
    assert [item.level for item in steps(office)] == ["L3"], "a declined order leads nowhere"


def test_an_approved_order_without_effect_leads_to_coordination_after_five_working_days(
    office: Office,
) -> None:
    office.work()
    office.do(Confirm()).do(Assign("market-regulation")).work()
    office.later(hours=49).work()  # Thursday
    decide(office, steps(office)[0])
    office.work()
    office.later(days=6).work()
    assert [item.level for item in steps(office)] == ["L3"]
    office.later(days=1, hours=1).work()
    assert [item.level for item in steps(office)] == ["L4", "L3"]


def test_an_answer_that_had_been_in_time_takes_the_proposal_back(office: Office) -> None:
    office.work()
    office.do(Confirm()).do(Assign("market-regulation")).work()
    office.later(hours=49).work()
    office.do(Respond("http://gov.example/1", published_at=T0 + timedelta(hours=40))).work()
    (order,) = steps(office)
    assert (order.state, order.decided_by) == ("withdrawn", "system")


def test_a_false_alarm_takes_everything_back(office: Office) -> None:
    office.work()
    office.later(hours=49).work()
    office.do(FalseAlarm("no_issue")).work()
    assert {item.state for item in steps(office)} == {"withdrawn"}


def test_a_matter_that_comes_back_twice_is_one_for_coordination(office: Office) -> None:
    office.work()
    for _ in range(2):
        for command in (
            Confirm(),
            Assign("education"),
            Respond("http://gov.example/1"),
            Evaluate(50),
            Close(),
        ):
            try:
                office.do(command)
            except Refused:
                continue
        office.do(Reopen("又发生")).work()
    assert [item.level for item in steps(office)] == ["L4"]


def test_supervisors_decide_leaders_censure_and_nobody_else(db: Database, tmp_path: Path) -> None:
    town = world(db, tmp_path)
    incident = town.incident("多名学生餐后呕吐", ["孩子吐了", "我家也是"], level="major")
    town.run()
    incident = town.act(incident, Confirm("", "major"), Assign("education"))
    town.now += timedelta(hours=7)
    town.run()
    for login, role in (("lin", "duty"), ("du", "supervisor"), ("zhou", "leader"), ("an", "analyst")):
        town.account(login, role, name=login)
    with db.reading() as session:
        found = {item.level: item for item in accountability.listed(session)}
    assert client(town, "an").get("/supervision").status_code == 403
    clerk = client(town, "lin")
    html = clerk.get("/supervision").text
    assert "通报批评或约谈整改" in html
    assert 'name="decision"' not in html
    du = client(town, "du")
    html = du.get("/supervision").text
    assert html.count('value="approve"') == 1, "the order only"
    answer = submit(
        du, html, f"/supervision/{found['L3'].id}", reason="超时", approver="杜", decision="approve"
    )
    assert answer.status_code == 303
    page = client(town, "zhou")
    html = page.get("/supervision").text
    refused = submit(
        page,
        html,
        f"/supervision/{found['L6'].id}",
        reason="超时",
        approver="周北",
        decision="approve",
        ground="",
    )
    assert refused.status_code == 409
    assert "须认定" in refused.text
    assert "周北" in refused.text, "what was typed stays"
    good = submit(
        page,
        html,
        f"/supervision/{found['L6'].id}",
        reason="五小时内未发布",
        approver="周北",
        decision="approve",
        ground="late_report",
    )
    assert good.status_code == 303
    after = page.get("/supervision").text
    assert "报告不及时" in after
    order = page.get(f"/supervision/{found['L3'].id}/order").text
    assert "政务舆情督办单" in order
    assert "author-" not in order
    assert page.get("/supervision/999999/order").status_code == 404
