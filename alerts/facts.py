"""Collects what a message says about an incident: the only part of messages that reads the database."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from alerts.message import Clock, Facts
from alerts.wording import Wording
from config.bundle import Bundle
from config.departments import Suggestion
from config.domains import domain_label
from config.rules import Rule
from incidents import clocks, lifecycle, queries
from incidents.queries import IncidentView
from incidents.session import Session


def wording_of(bundle: Bundle) -> Wording:
    """Language and time zone of this installation's messages."""
    return Wording(bundle.settings.city.language, ZoneInfo(bundle.settings.city.timezone))


#: posts that are read for the proposal in a message: an incident of thousands must not hold up a storm of pages
_READ = 200


def facts_of(session: Session, bundle: Bundle, incident: IncidentView) -> Facts:
    """Everything a message says about `incident` at this moment."""
    say = wording_of(bundle)
    glimpse = queries.glimpse(session, incident.id)
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
        sources=max(1, glimpse.sources),
        why=why_sentence(incident.why, say.english),
        sure=_sure(incident, say),
        responsible=_responsible(session, bundle, incident, say),
        clocks=[
            _clock(bundle, clock, say)
            for clock in clocks.deadlines_of(session, incident.id)
            if clock.state == "open"
        ],
        console_url=f"{bundle.settings.link_base}/incidents/{incident.number}",
        example=glimpse.words,
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


def _responsible(session: Session, bundle: Bundle, incident: IncidentView, say: Wording) -> str:
    if incident.department:
        name = f"{bundle.departments.zh(incident.department)} {incident.officer}".strip()
        helpers = [bundle.departments.zh(unit) for unit in incident.co]
        return say("{name}；协办 {names}", name=name, names=say.join(helpers)) if helpers else name
    suggestion = suggestion_of(session, bundle, incident)
    if suggestion.unresolved:
        return say("尚未交办；应当承办的单位都被投诉，须由督办人员或上级机关指定")
    names = say.join([suggestion.department.name, *(d.name for d in suggestion.co)])
    if suggestion.conflict:
        return say("尚未交办；建议 {names}（已回避被投诉单位）", names=names)
    return say("尚未交办；建议 {names}", names=names)


def suggestion_of(session: Session, bundle: Bundle, incident: IncidentView) -> Suggestion:
    """Who should handle an incident, those that it complains about passed over."""
    about = lifecycle.complained_of(session, bundle.departments, incident.id, incident.district, limit=_READ)
    return bundle.departments.suggest(incident.domain, incident.district, complained_about=about.units)


def rule_of(bundle: Bundle, rule_id: str) -> Rule | None:
    """The rule of an id, or None when a newer rule file has dropped it."""
    try:
        return bundle.rules.rule(rule_id)
    except KeyError:
        return None


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
