"""What departments are told: who leads, who helps, who is no longer asked; never a unit that is complained of.

A department's message says what the matter is, never who wrote or called, and quotes no post when one of them accuses
the department. Who is no longer asked learns the number alone: they may have been passed over because of a complaint.
"""

from __future__ import annotations

from collections.abc import Iterable

from alerts import facts, ladder
from alerts.desk import Desk
from alerts.message import Message, Occasion, notice
from alerts.wording import LEVEL_COLOUR
from config.departments import Department
from incidents import lifecycle, outbox, queries
from incidents.complained import Complained
from incidents.models import IncidentEvent
from incidents.queries import IncidentView

LEAD, HELPER, RELEASE = "assignment", "co_assignment", "release"
#: states of a message that the department has, or will have
_TOLD = ("sent", "sending", "bundled")


def about(desk: Desk, incident: IncidentView) -> Complained:
    """Whom the incident complains about at this moment; read once a transaction, which several messages may ask."""
    if incident.id not in desk.complaints:
        desk.complaints[incident.id] = lifecycle.complained_of(
            desk.session, desk.bundle.departments, incident.id, incident.district
        )
    return desk.complaints[incident.id]


def kept_from(desk: Desk, incident: IncidentView, units: Iterable[str]) -> list[str]:
    """Those of some units that the incident complains about: nothing of it may reach them."""
    asked = [unit for unit in units if unit]
    if not asked:
        return []
    units_about = about(desk, incident).units
    return [unit for unit in asked if desk.bundle.departments.touched(unit, units_about)]


def ways_to(desk: Desk, department: Department) -> list[ladder.Way]:
    """How a department's office is reached; empty when departments.yaml has no address."""
    contact = department.contact
    ways = [ladder.Way("email", contact.email)] if contact.email else []
    if contact.slack_channel and ladder.slack_ready(desk.bundle):
        ways.append(ladder.Way("slack", contact.slack_channel))
    return ways


def tell(
    desk: Desk,
    incident: IncidentView,
    unit: str,
    occasion: Occasion,
    *,
    kind: str,
    step: int,
    priority: int,
    message: Message | None = None,
) -> bool:
    """Words about an incident to one department's office; False when it has no address or must not be told.

    `message`: the same words as they were written for the duty officer.
    """
    department = desk.bundle.departments.get(unit)
    ways = ways_to(desk, department) if department else []
    if not ways:
        return False
    said = about(desk, incident)
    departments = desk.bundle.departments
    if departments.touched(unit, said.units):
        return False
    accused = any(departments.touched(unit, units) for units in said.by_post.values())
    if message is None or accused:
        message = desk.message(incident, occasion, quote=not accused)
    for way in ways:
        desk.post(incident, way, message, kind=kind, step=step, priority=priority, extra={"unit": unit})
    return True


def tell_helpers(desk: Desk, incident: IncidentView, by: str) -> None:
    """Each unit that helps learns that it does, and who leads; the duty officer learns who could not be told."""
    lead = desk.bundle.departments.zh(incident.department)
    rule = facts.rule_of(desk.bundle, "H08")
    lacking = []
    for unit in incident.co:
        name = desk.bundle.departments.zh(unit)
        because = desk.say("{by}交由{lead}主办，{unit}协办", by=by, lead=lead, unit=name)
        if rule is not None:
            because += desk.say("（{source}：“{quote}”）", source=rule.source, quote=rule.quote)
        occasion = Occasion(
            desk.say("协办"),
            because,
            ask=desk.say("请与主办单位联系配合办理；签收、回应由主办单位负责。"),
            urgent=True,
        )
        if not tell(desk, incident, unit, occasion, kind=HELPER, step=1, priority=2):
            lacking.append(name)
    if lacking:
        names = desk.say.join(lacking)
        occasion = Occasion(
            desk.say("协办"),
            desk.say("{by}交由{lead}主办，{unit}协办", by=by, lead=lead, unit=names),
            ask=desk.say("{unit}没有配置邮箱或群组（departments.yaml），请值班人员另行通知。", unit=names),
        )
        people = [ladder.on_duty(desk.bundle, "primary", desk.now)]
        desk.tell(incident, people, occasion, kind=HELPER, step=1, priority=3, slack=False)


def release(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    """Units that had been told to lead or help and are no longer asked learn so; without a word about the matter."""
    now = (incident.department, *incident.co)
    history = queries.events_of(desk.session, incident.id)
    # who sent it back knows, and what belonged to a round that was closed is done
    sent_back = {past.epoch - 1 for past in history if past.kind == "returned"}
    began = max((past.epoch for past in history if past.kind == "reopened"), default=0)
    told: dict[str, tuple[int, str]] = {}
    released: dict[str, int] = {}
    for row in outbox.messages_of(desk.session, incident.id):
        unit = str(row.message.get("unit", ""))
        if row.kind == RELEASE:
            released[unit] = max(row.epoch, released.get(unit, 0))
        elif unit and row.kind in (LEAD, HELPER) and row.state in _TOLD and began <= row.epoch < event.epoch:
            if row.kind == LEAD and row.epoch in sent_back:
                continue
            told[unit] = max(told.get(unit, (0, "")), (row.epoch, row.kind))
    for unit, (epoch, kind) in sorted(told.items()):
        department = desk.bundle.departments.get(unit)
        if department is None or unit in now or released.get(unit, 0) > epoch:
            continue
        text = "{unit}不再承办 {number}" if kind == LEAD else "{unit}不再协办 {number}"
        title = desk.say(text, unit=department.name, number=incident.number)
        when = desk.say("自 {when} 起，无须继续办理。", when=desk.say.at(event.occurred_at))
        message = notice(title, [when], desk.say.language, LEVEL_COLOUR["general"])
        for way in ways_to(desk, department):
            desk.post(incident, way, message, kind=RELEASE, step=1, priority=4, extra={"unit": unit})


def on_complained(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    """A person said whom it complains about: what waits for such a unit is withdrawn, and the duty officer has to act."""
    barred = kept_from(desk, incident, [d.id for d in desk.bundle.departments.departments])
    for row in outbox.messages_of(desk.session, incident.id):
        if row.state == "pending" and row.message.get("unit") in barred and row.kind != RELEASE:
            outbox.withdraw(desk.session, row.id, "the unit is complained of", desk.now)
    mine = [unit for unit in (incident.department, *incident.co) if unit in barred]
    if not mine or not incident.is_open:
        return
    occasion = Occasion(
        desk.say("回避"),
        desk.say("{units}现被投诉，不能继续承办或协办", units=desk.bundle.departments.names(mine)),
        ask=desk.say("请转办其他单位。{law}", law=desk.bundle.departments.conflict_law()),
        urgent=True,
    )
    people = [ladder.on_duty(desk.bundle, "primary", desk.now)]
    desk.tell(incident, people, occasion, kind="update", step=event.version or 0, priority=2)
