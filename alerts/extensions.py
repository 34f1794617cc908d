"""More time for one clock: once, by a named approver with the right to it, within the limit of the clause.

An extension moves the one clock it is granted for and no other. The caller who is told a date (H02, H03) is the other
way in which a hotline matter gets more time: it ends the time to answer and starts the promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from alerts import duties, facts, moves
from alerts.clocks import DueAt, compute_deadline, end_of_day
from alerts.desk import Desk
from alerts.moves import lengthened
from config.rules import Rule
from incidents import accounts, clocks, lifecycle, queries
from incidents.clocks import DeadlineView
from incidents.queries import IncidentView
from incidents.states import Extend, Refused


@dataclass(frozen=True)
class Allowance:
    """What may be added to one running clock. `clause` is the rule that allows it."""

    clock: DeadlineView
    rule: Rule
    clause: Rule
    units: int

    @property
    def unit(self) -> str:
        """calendar_hours, workdays or natural_days."""
        return self.rule.unit


def allowances(desk: Desk, incident: IncidentView) -> list[Allowance]:
    """Open clocks of this round that may still be extended, the most urgent first."""
    found = []
    for clock in clocks.deadlines_of(desk.session, incident.id):
        rule = facts.rule_of(desk.bundle, clock.rule_id)
        clause = desk.bundle.rules.extension_of(clock.rule_id)
        if clock.state != "open" or clock.round != incident.round or rule is None or clause is None:
            continue
        if clause.extension and not clock.extended_by and rule.starts_on != "told":
            found.append(Allowance(clock, rule, clause, clause.extension))
    return found


def extend(
    desk: Desk,
    incident_id: int,
    rule_id: str,
    units: int,
    *,
    approver: str,
    reason: str,
    actor: str,
    channel: str,
    late_reason: str = "",
    expected_version: int | None = None,
    idempotency_key: str | None = None,
) -> DeadlineView:
    """Grant `units` of the rule's own unit more; returns the clock with its new end. Raises Refused and changes nothing.

    `approver` is the login of an account whose role the clause names. After the due time `late_reason` must say why
    the extension was not granted before; the miss stays in the record and is annulled by the event of the move.
    """
    incident = queries.get_incident(desk.session, incident_id)
    if incident is None:
        raise Refused("没有这个事件。", f"there is no incident {incident_id}")
    if idempotency_key is not None and _granted(desk, incident_id, idempotency_key):
        return _clock(desk, incident, rule_id)
    clock = _clock(desk, incident, rule_id)
    allowed = _limits(desk, clock, units)
    _right(desk, allowed.clause, approver)
    late = desk.now > clock.due_at
    if late and not late_reason.strip():
        raise Refused(
            "该时限已过，延期须另行说明为何未在届满前批准。",
            f"the time for {rule_id} is over since {clock.due_at.isoformat()}: say why it was not extended before",
        )
    if not reason.strip():
        raise Refused("延期须写明理由。", "an extension needs a reason")
    target = compute_deadline(
        lengthened(allowed.rule, units), clock.started_at, desk.calendar, desk.say
    ).due_at
    command = Extend(
        rule_id, units, target, approver, reason.strip() + (f"（{late_reason.strip()}）" if late else "")
    )
    lifecycle.handle(
        desk.session,
        incident_id,
        command,
        actor=actor,
        channel=channel,
        now=desk.now,
        expected_version=expected_version,
        idempotency_key=idempotency_key,
    )
    note = desk.say(
        "经{approver}批准延长{n}{unit}，理由：{reason}（{clause}）；原截止 {due}",
        approver=_name(desk, approver),
        n=units,
        unit=desk.say(UNIT[allowed.unit]),
        reason=command.reason,
        clause=allowed.clause.source,
        due=desk.say.at(clock.due_at),
    )
    extra = {"approver": approver, "reason": command.reason, "units": units, "late": late}
    moved = moves.move(desk, incident, clock, allowed.rule, "extended", note, units=units, extra=extra)
    if moved is None:
        raise Refused("延期后截止时间没有变化。", "the extension does not change the end")
    return moved


#: words of the three units of clocks
UNIT = {"calendar_hours": "小时", "workdays": "个工作日", "natural_days": "日"}


def _granted(desk: Desk, incident_id: int, key: str) -> bool:
    return any(event.idempotency_key == key for event in lifecycle.history_of(desk.session, incident_id))


def _clock(desk: Desk, incident: IncidentView, rule_id: str) -> DeadlineView:
    for clock in clocks.deadlines_of(desk.session, incident.id):
        if (clock.rule_id, clock.round, clock.state) == (rule_id, incident.round, "open"):
            return clock
    raise Refused(
        f"该事件没有运行中的“{rule_id}”时限。", f"no clock of {rule_id} runs for incident {incident.number}"
    )


def _limits(desk: Desk, clock: DeadlineView, units: int) -> Allowance:
    rule = facts.rule_of(desk.bundle, clock.rule_id)
    clause = desk.bundle.rules.extension_of(clock.rule_id)
    if rule is None or clause is None or not clause.extension or rule.starts_on == "told":
        raise Refused(
            f"没有条款允许延长“{clock.rule_id}”。",
            f"no clause allows the time of {clock.rule_id} to be extended",
        )
    if clock.extended_by:
        raise Refused("该时限已延长过一次，不得再延。", f"{clock.rule_id} was extended once already")
    if not 0 < units <= clause.extension:
        limit = f"{clause.extension}{UNIT[rule.unit]}"
        raise Refused(
            f"延长应为1至{limit}（{clause.source}）。",
            f"the extension must be 1 to {clause.extension} {rule.unit} ({clause.id}, {clause.source})",
        )
    return Allowance(clock, rule, clause, clause.extension)


def _right(desk: Desk, clause: Rule, approver: str) -> None:
    account = accounts.get_by_login(desk.session, approver) if approver else None
    if account is None or account.disabled:
        raise Refused(
            f"没有可用的账号“{approver}”；批准人须是本系统中的人员。",
            f"no usable account {approver!r}: the approver must be a person of this console",
        )
    if account.role not in clause.approved_by:
        raise Refused(
            f"{account.display_name}无权批准该项延期（{clause.id}）。",
            f"{approver} ({account.role}) may not grant it; {clause.id} names {', '.join(clause.approved_by)}",
        )


def _name(desk: Desk, login: str) -> str:
    account = accounts.get_by_login(desk.session, login)
    return account.display_name if account else login


def tell_caller(
    desk: Desk,
    incident_id: int,
    rule_id: str,
    *,
    until: date,
    url: str,
    measures: str,
    actor: str,
    channel: str,
    told_at: datetime | None = None,
) -> None:
    """H02, H03: the caller was told progress, measures and the day by which it is solved. Raises Refused.

    It stops the time to answer (H01) at `told_at` and starts a clock that ends with the day that was promised.
    """
    incident = queries.get_incident(desk.session, incident_id)
    rule = facts.rule_of(desk.bundle, rule_id)
    if incident is None or not incident.is_open:
        raise Refused("该事件不存在或已结束。", f"incident {incident_id} is not open")
    if rule is None or rule.starts_on != "told":
        raise Refused("请选择适用的条款。", f"{rule_id} is no rule about telling the caller a date")
    at = told_at or desk.now
    if at > desk.now:
        raise Refused("告知时间不能晚于现在。", "its time lies in the future")
    if not url.strip():
        raise Refused(
            "请填写告知记录的链接或编号，作为凭证。", "give the link or number of the record as evidence"
        )
    if not measures.strip():
        raise Refused("请写明办理进度和措施。", "say what is being done")
    if until < desk.calendar.local_day(at):
        raise Refused("承诺的日期早于告知之日。", "the promised day lies before the day of telling")
    due = DueAt(
        end_of_day(until, desk.calendar),
        False,
        desk.calendar.version,
        (
            desk.say("告知来电人：{when}（{clause}）", when=desk.say.at(at), clause=rule.source),
            desk.say("承诺解决日期：{day}，当日 24:00 截止", day=until),
        ),
        until,
    )
    payload = {
        "rule": rule_id,
        "round": incident.round,
        "told_at": at.isoformat(),
        "until": due.due_at.isoformat(),
        "url": url.strip(),
        "measures": measures.strip(),
    }
    key = f"{incident.id}:told:{rule_id}:{incident.round}"
    recorded = lifecycle.record(
        desk.session,
        incident.id,
        "caller_told",
        payload,
        now=desk.now,
        actor=actor,
        channel=channel,
        occurred_at=at,
        idempotency_key=key,
    )
    if not recorded:
        raise Refused(
            "本轮已告知过来电人，承诺的日期不能再改。", "the caller was told a date in this round already"
        )
    duties.told(desk, incident, rule, at, due)
