"""The invented duty officer, who works on one incident of the day from the first page to the evaluation.

The other incidents are left to whoever looks at the demo. Every act is a command with a key of its own, so that a
day that was interrupted goes on without doing anything twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from incidents import lifecycle, queries
from incidents.installation import Installation
from incidents.queries import IncidentView
from incidents.states import (
    Acknowledge,
    Assign,
    Command,
    Confirm,
    Evaluate,
    Note,
    Refused,
    Respond,
    SignFor,
    State,
)

#: the officer takes the first incident of this track
TRACK = "fast"


#: what the invented department publishes
STATEMENT = (
    "各位家长：您好！关于反映学校食堂餐后多名学生呕吐、腹痛的情况，现回复如下：经区市场监管局、卫健局现场核查，情况属实，"
    "已责令该校食堂停止供餐，封存食品留样并送检，患病学生均已送医，由学校派专人陪护。根据《食品安全法》第一百零五条的规定，"
    "我局已会同教育部门开展调查。检测结果预计5个工作日内公布，12月15日前完成全区学校食堂排查。"
    "下一步，将根据检测结果依法处理。咨询电话：12345。感谢您的监督！"
)


@dataclass(frozen=True)
class Act:
    """What is done how long after the page was sent, by whom, when the incident is in one of `states`."""

    name: str
    after: timedelta
    actor: str
    states: tuple[State, ...]
    command: Callable[[Installation, IncidentView], Command]


def _assign(home: Installation, incident: IncidentView) -> Assign:
    """As the suggestion says: who leads and who helps, without those that the posts complain about."""
    departments = home.bundle.departments
    with home.db.reading() as session:
        about = lifecycle.complained_of(session, departments, incident.id, incident.district)
    found = departments.suggest(incident.domain, incident.district, complained_about=about.units)
    return Assign(found.department.id, co=tuple(unit.id for unit in found.co))


ACTS = (
    Act(
        "ack",
        timedelta(minutes=5),
        "lin-dong",
        (State.DETECTED,),
        lambda home, it: Acknowledge(it.epoch, step=1),
    ),
    Act(
        "confirm",
        timedelta(minutes=15),
        "lin-dong",
        (State.DETECTED,),
        lambda home, it: Confirm("已与学校和医院电话核实"),
    ),
    Act(
        "assign",
        timedelta(minutes=25),
        "lin-dong",
        (State.CONFIRMED,),
        _assign,
    ),
    Act("sign", timedelta(minutes=45), "department", (State.ASSIGNED,), lambda home, it: SignFor("值班科员")),
    Act(
        "note",
        timedelta(minutes=60),
        "lin-dong",
        (State.ACKNOWLEDGED,),
        lambda home, it: Note("市场监管、卫健、教育三部门已到校"),
    ),
    Act(
        "respond",
        timedelta(minutes=150),
        "department",
        (State.ACKNOWLEDGED,),
        lambda home, it: Respond(
            "http://127.0.0.1/statement", "联合工作组通报：食堂停用，留样送检，学生情况稳定", text=STATEMENT
        ),
    ),
    Act(
        "evaluate",
        timedelta(minutes=300),
        "he-nan",
        (State.RESPONDED,),
        lambda home, it: Evaluate(85, "回应及时，待公布检测结果"),
    ),
)


def work(home: Installation, now: datetime) -> list[str]:
    """Do whatever the officer would have done by `now`; returns the names of the acts."""
    with home.db.reading() as session:
        known = queries.list_incidents(session, states=[str(state) for state in State], limit=1000)
    mine = [(item.alerted_at, item) for item in known if item.track == TRACK and item.alerted_at is not None]
    paged = [item for _, item in sorted(mine, key=lambda pair: (pair[0], pair[1].id))]
    if not paged:
        return []
    done = []
    for act in ACTS:
        with home.db.transaction() as session:
            incident = queries.get_incident(session, paged[0].id)
            if incident is None or incident.alerted_at is None or incident.state not in act.states:
                continue
            if now < incident.alerted_at + act.after:
                continue
            try:
                outcome = lifecycle.handle(
                    session,
                    incident.id,
                    act.command(home, incident),
                    actor=act.actor,
                    channel="console",
                    now=now,
                    idempotency_key=f"demo:{incident.id}:{act.name}",
                )
            except Refused:
                continue  # somebody who looks at the demo was faster
        if not outcome.repeated:
            done.append(act.name)
    return done
