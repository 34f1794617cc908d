"""Collects what a message says about an incident: the only part of messages that reads the database."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from alerts.message import Clock, Facts
from alerts.wording import Wording
from config.bundle import Bundle
from config.domains import domain_label
from config.rules import Rule
from incidents import clocks, queries
from incidents.queries import IncidentView
from incidents.session import Session


def wording_of(bundle: Bundle) -> Wording:
    """Language and time zone of this installation's messages."""
    return Wording(bundle.settings.city.language, ZoneInfo(bundle.settings.city.timezone))


def facts_of(session: Session, bundle: Bundle, incident: IncidentView) -> Facts:
    """Everything a message says about `incident` at this moment."""
    say = wording_of(bundle)
    first = queries.posts_of(session, incident.id, limit=1)
    return Facts(
        number=incident.number,
        title=incident.title,
        place=incident.district or bundle.settings.city.name,
        domain=domain_label(incident.domain, say.language),
        level=incident.level,
        proposed=incident.why.get("level_proposed") is True,
        first_posted_at=incident.first_posted_at,
        detected_at=incident.detected_at or incident.last_post_at,
        posts=incident.posts,
        voices=incident.voices,
        sources=max(1, len(queries.sources_of(session, incident.id))),
        why=why_sentence(incident.why, say.english),
        sure=_sure(incident, say),
        responsible=_responsible(bundle, incident, say),
        clocks=[
            _clock(bundle, clock, say)
            for clock in clocks.deadlines_of(session, incident.id)
            if clock.state == "open"
        ],
        console_url=f"{bundle.settings.link_base}/incidents/{incident.number}",
        example=(first[0].title or first[0].text) if first else "",
    )


def why_sentence(why: dict[str, Any], english: bool) -> str:
    """The arithmetic of the detection: its own sentence if it has one, else its numbers."""
    for key in ("sentence_en", "sentence_zh") if english else ("sentence_zh", "sentence_en"):
        if isinstance(why.get(key), str) and why[key]:
            return str(why[key])
    numbers = [f"{key}={value}" for key, value in why.items() if isinstance(value, int | float | str)]
    return ", ".join(numbers)


def _sure(incident: IncidentView, say: Wording) -> str:
    given = incident.why.get("confidence")
    if isinstance(given, int | float):
        return say("{percent}%（机器研判，须人工核实）", percent=round(float(given) * 100))
    if incident.track == "manual":
        return say("人工录入")
    return say("机器研判，须人工核实")


def _responsible(bundle: Bundle, incident: IncidentView, say: Wording) -> str:
    if incident.department:
        name = bundle.departments.zh(incident.department)
        return f"{name} {incident.officer}".strip()
    suggestion = bundle.departments.suggest(incident.domain, incident.district)
    return say(
        "尚未交办；建议 {names}",
        names=say.join([suggestion.department.name, *(d.name for d in suggestion.co)]),
    )


def rule_of(bundle: Bundle, rule_id: str) -> Rule | None:
    """The rule of an id, or None when a newer rule file has dropped it."""
    return next((rule for rule in bundle.rules.rules() if rule.id == rule_id), None)


def _clock(bundle: Bundle, clock: clocks.DeadlineView, say: Wording) -> Clock:
    rule = rule_of(bundle, clock.rule_id)
    return Clock(
        rule_id=clock.rule_id,
        action=rule.action if rule else clock.rule_id,
        due_at=clock.due_at,
        limit=_limit(rule, say) if rule else "",
        clause=rule.source if rule else "",
        quote=rule.quote if rule else "",
        provisional=clock.provisional,
    )


def _limit(rule: Rule, say: Wording) -> str:
    """5小时, 5个工作日, 15日."""
    if rule.amount is None:
        return ""
    form = {"calendar_hours": "{n}小时", "workdays": "{n}个工作日"}.get(rule.unit, "{n}日")
    return say(form, n=rule.amount)
