"""事件页: why it was flagged, how it grew, what was said, what was done, which clocks run. Every look is recorded."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from alerts import rota
from config.rules import Rule
from console import clerk, masks, replies
from console.context import Forbidden, Visit, clean, member
from console.evaluations import FORM, part_of
from console.forms import Posted
from console.render import page
from console.rights import hidden, may_act, may_see
from console.tiles import tiles_of
from console.views.desk import propose
from console.views.proposals import cards
from console.words import STEPS
from incidents import (
    access,
    accounts,
    clocks,
    desk,
    events,
    heads,
    labels,
    looks,
    outbox,
    queries,
    ratings,
    unmask,
)
from incidents.session import Session
from incidents.states import FALSE_ALARM_REASONS, LEVELS, OPEN_STATES, State, allowed

router = APIRouter(include_in_schema=False)
POSTS_SHOWN = 100
#: places named below each district
PLACES_SHOWN = 8
#: events by which the public was told, and the judgement on it
ANSWERS = frozenset({"informed", "press_held", "responded", "evaluated"})
#: the act that moves an incident on, first in the list of actions
MAIN_ACT = {
    State.DETECTED: "confirm",
    State.CONFIRMED: "assign",
    State.ASSIGNED: "sign",
    State.ACKNOWLEDGED: "respond",
    State.RESPONDED: "evaluate",
    State.EVALUATED: "close",
}
#: command class -> act
ACT_OF = {
    "Acknowledge": "ack",
    "Confirm": "confirm",
    "FalseAlarm": "false_alarm",
    "Merge": "merge",
    "Unmerge": "unmerge",
    "Split": "split",
    "Assign": "assign",
    "NameComplained": "complained",
    "SignFor": "sign",
    "Return": "return",
    "Inform": "inform",
    "HoldPress": "press",
    "Respond": "respond",
    "Evaluate": "evaluate",
    "Close": "close",
    "Reopen": "reopen",
    "Restore": "restore",
    "SetLevel": "level",
    "Note": "note",
    "Restrict": "restrict",
    "Unrestrict": "unrestrict",
}


def find(here: Visit, number: str) -> queries.IncidentView:
    """The incident of a number that this person may see; 404 for others, so that numbers tell nothing."""
    with here.console.db.reading() as session:
        incident = queries.get_incident(session, clean(number)) if clean(number) else None
    if incident is None or not may_see(here, incident):
        raise HTTPException(404)
    return incident


def growth(hours: Sequence[queries.HourView], zone: ZoneInfo) -> dict[str, Any]:
    """Bars of the growth chart: by hour up to four days, by day beyond; empty bars included."""
    if not hours:
        return {"unit": "hour", "labels": [], "posts": [], "negative": [], "table": []}
    first, last = hours[0].hour.astimezone(zone), hours[-1].hour.astimezone(zone)
    by_day = last - first > timedelta(days=4)

    def slot(at: datetime) -> datetime:
        local = at.astimezone(zone)
        return local.replace(hour=0, minute=0) if by_day else local

    step = timedelta(days=1) if by_day else timedelta(hours=1)
    posts: dict[datetime, int] = {}
    negative: dict[datetime, int] = {}
    for hour in hours:
        at = slot(hour.hour)
        posts[at] = posts.get(at, 0) + hour.posts
        negative[at] = negative.get(at, 0) + hour.negative
    slots: list[datetime] = []
    at = slot(first)
    while at <= slot(last) and len(slots) < 1000:
        slots.append(at)
        at += step
    labels = [at.strftime("%m-%d" if by_day else "%m-%d %H:00") for at in slots]
    rows = [(label, posts.get(at, 0), negative.get(at, 0)) for label, at in zip(labels, slots, strict=True)]
    return {
        "unit": "day" if by_day else "hour",
        "labels": labels,
        "posts": [row[1] for row in rows],
        "negative": [row[2] for row in rows],
        "table": [row for row in rows if row[1]],
    }


def rule_of(here: Visit, rule_id: str) -> Rule | None:
    """A rule in force, None when the present rule file no longer has it."""
    try:
        return here.console.bundle.rules.rule(rule_id)
    except KeyError:
        return None


def acts_of(incident: queries.IncidentView) -> list[str]:
    """Acts that the present state accepts, the one that moves on first."""
    acts = [ACT_OF[command.__name__] for command in allowed(incident.state) if command.__name__ in ACT_OF]
    main = MAIN_ACT.get(incident.state, "")
    return sorted(acts, key=lambda act: act != main)


def _record_view(here: Visit, incident: queries.IncidentView, posts: Sequence[queries.PostView]) -> None:
    """One event an hour for a person and an incident, and one more when there are new posts to see."""
    grant = masks.granted(here, incident)
    newest = max((post.id for post in posts), default=0)
    looks.note(
        here.console.db,
        "viewed",
        {
            "number": incident.number,
            "posts": len(posts),
            **({"masked": True} if masks.applies(here, incident) else {}),
            **({"unmasked_by": grant.id} if grant else {}),
        },
        about=f"{incident.id}/{newest}/{grant.id if grant else 0}",
        actor=here.account.login,
        channel="console",
        now=here.now,
        incident_id=incident.id,
    )


@dataclass(frozen=True)
class Answer:
    """What was told to the public, or how it was judged: the event, and minutes from the detection to it."""

    event: queries.EventView
    published_at: datetime
    after: timedelta | None


def answers_of(incident: queries.IncidentView, record: Sequence[queries.EventView]) -> list[Answer]:
    """Official information, press conferences, answers and evaluations of the record, oldest first."""
    found = []
    for event in record:
        if event.kind in ANSWERS:
            given = event.payload.get("published_at") or event.payload.get("held_at")
            at = datetime.fromisoformat(given) if given else event.occurred_at
            found.append(Answer(event, at, at - incident.detected_at if incident.detected_at else None))
    return found


def places_of(posts: Sequence[queries.PostView]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Districts and the places in them that the shown posts speak of, with how many posts do; copies count."""
    areas: Counter[str] = Counter()
    named: dict[str, Counter[str]] = {}
    for post in posts:
        weight = 1 + post.copies
        for district in post.districts or ("",):
            areas[district] += weight
            inner = named.setdefault(district, Counter())
            for name in dict.fromkeys(post.places):
                inner[name] += weight
    return [
        (district, [(district, count), *named[district].most_common(PLACES_SHOWN)])
        for district, count in areas.most_common()
        if district or named[district]
    ]


def links_of(incident: queries.IncidentView, signed_at: datetime | None) -> list[tuple[str, timedelta]]:
    """How long each link of the chain took, from the first post to the closing; what has not come is left out."""
    at = {
        "posted": incident.first_posted_at,
        "detected": incident.detected_at,
        "alerted": incident.alerted_at,
        "page_acknowledged": incident.acknowledged_at,
        "confirmed": incident.confirmed_at,
        "assigned": incident.assigned_at,
        "signed": signed_at,
        "responded": incident.responded_at,
        "evaluated": incident.evaluated_at,
        "closed": incident.closed_at,
    }
    known = sorted(((name, when) for name, when in at.items() if when is not None), key=lambda link: link[1])
    return [(name, when - before) for (_, before), (name, when) in itertools.pairwise(known)]


def _proof(session: Session, incident_id: int) -> dict[str, Any]:
    """The check of the incident's events, made anew for each look, and the noted head of a day that covers them."""
    proof = events.proof_of(session, session.info["audit_key"], incident_id)
    return {
        "proof": proof,
        "covered": next((head for head in heads.noted(session) if head.seq >= proof.last), None),
    }


def _model(here: Visit, incident: queries.IncidentView) -> dict[str, Any]:
    proposal, left_out, away = propose(here, incident), 0, hidden(here)
    with here.console.db.reading() as session:
        posts = queries.posts_of(session, incident.id, limit=POSTS_SHOWN + 1)
        parent = queries.get_incident(session, incident.parent_id) if incident.parent_id else None
        members = queries.family(session, incident.id)
        questions, said = (
            cards(session, incident.id, hidden=away),
            labels.latest(session, [post.id for post in posts]),
        )
        record, messages = queries.events_of(session, incident.id), outbox.messages_of(session, incident.id)
        posts, messages = masks.posts(here, incident, posts), masks.messages(here, messages)
        if masks.applies(here, incident):
            questions = []
        if clerk.is_clerk(here):
            posts, left_out = clerk.posts(
                here, incident, proposal.about, posts, unmasked=masks.granted(here, incident) is not None
            )
            record, messages = clerk.events(record), clerk.messages(here, messages)
            # what is said of another matter may complain about the clerk's unit
            parent, members, questions, said = None, [incident.id], [], {}
        model: dict[str, Any] = {
            "posts": posts[:POSTS_SHOWN],
            "more_posts": len(posts) > POSTS_SHOWN,
            "said": said,
            "questions": questions,
            "sources": queries.sources_of(session, incident.id),
            "growth": growth(queries.growth_of(session, incident.id), here.console.zone),
            "left_out": left_out,
            "proposal": proposal,
            "conflict": [
                unit for unit in (incident.department, *incident.co) if unit and unit in proposal.barred
            ],
            "events": record,
            "answers": answers_of(incident, record),
            **replies.of_incident(here, session, incident, posts[:POSTS_SHOWN], record),
            "places": (places := places_of(posts[:POSTS_SHOWN])),
            "tiles": tiles_of(here.console.bundle.places, {name: rows[0][1] for name, rows in places}),
            **_proof(session, incident.id),
            "messages": messages,
            "clocks": [
                (clock, rule_of(here, clock.rule_id)) for clock in clocks.deadlines_of(session, incident.id)
            ],
            "page_state": desk.page_states(session, {incident.id: incident.epoch}).get(
                incident.id, desk.PageState()
            ),
            "parent": parent,
            "children": [queries.get_incident(session, child) for child in members if child != incident.id],
            "candidates": [
                one for one in queries.merge_candidates(session, incident.id) if one.id not in away
            ]
            if incident.state in OPEN_STATES
            else [],
            "could_unmask": masks.could_ask(here, incident),
            "unmask": masks.request_of(here, incident) if masks.could_ask(here, incident) else None,
            "asking": unmask.waiting(session, here.now, incident.id)
            if here.account.role in access.MAY_RESTRICT
            else [],
            "readers": access.readers_of(session, incident.id),
            "evaluation": part_of(here, session, incident),
            "people": [one for one in accounts.list_accounts(session) if not one.disabled]
            if may_act(here, "restrict", incident)
            else [],
            "likely": _likely(here, session, incident) if may_act(here, "restrict", incident) else [],
        }
    running = [clock for clock, _ in model["clocks"] if clock.state == "open"]
    return model | {"next_clock": min(running, key=lambda clock: clock.due_at, default=None)}


def _likely(here: Visit, session: Session, incident: queries.IncidentView) -> list[str]:
    """Who will have to know in any case: who is on duty, and the clerks of the department that has it."""
    roster = rota.in_force(session, here.console.bundle, here.now).roster
    duty = {roster.on_duty(here.now, role).person.id for role in ("primary", "secondary", "leader")}
    return [
        one.login
        for one in accounts.list_accounts(session)
        if one.login in duty or (one.department and one.department in (incident.department, *incident.co))
    ]


def show_incident(
    here: Visit,
    number: str,
    *,
    status: int = 200,
    error: str = "",
    failed: str = "",
    draft: Posted | None = None,
) -> Response:
    """The page. After a refused act: its sentence, which form it was, and what had been typed into it."""
    incident = find(here, number)
    model = _model(here, incident)
    _record_view(here, incident, model["posts"])
    signed_at = next((e.occurred_at for e in reversed(model["events"]) if e.kind == "signed"), None)
    return page(
        here,
        "incident.html",
        status=status,
        incident=incident,
        links=links_of(incident, signed_at),
        acts=acts_of(incident),
        steps=STEPS,
        signed_at=signed_at,
        departments=here.console.bundle.departments.departments,
        reasons=FALSE_ALARM_REASONS,
        levels=LEVELS,
        return_late=any(
            clock.stops_on == "returned" and clock.overdue(here.now) and clock.state == "open"
            for clock, _rule in model["clocks"]
        ),
        error=error,
        failed=failed,
        draft=draft or {},
        draft_people=[name.removeprefix("who-") for name in draft or {} if name.startswith("who-")],
        done=here.done,
        evaluation_form=FORM,
        colour=ratings.colour,
        **model,
    )


@router.get("/incidents/{number}")
def incident_page(number: str, here: Annotated[Visit, Depends(member)]) -> Response:
    """One incident."""
    return show_incident(here, number)


@router.get("/incidents")
def incidents_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """The list of all incidents is the search without a query."""
    if here.account.role == "department":
        raise Forbidden("部门承办人只能查看本部门的事件，不能检索全部帖子。")
    return RedirectResponse("/search?kind=incidents", 303)
