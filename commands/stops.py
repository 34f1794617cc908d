"""`quansheng halt`, `resume` and `objections`: what a person types, as incidents.stops and incidents.retention want it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from incidents import retention, stops
from incidents.installation import Installation, Problem
from incidents.stops import Scope, Stop
from spiders import traces
from spiders.redact import pseudonym

COLUMNS = ["kind", "what", "since", "by", "reason"]


@dataclass(frozen=True)
class Target:
    """What a person means."""

    scope: Scope
    target: str


def halt_target(home: Installation, text: str) -> Target:
    """Everything for an empty text, else the source of that id, else the host. Raises Problem."""
    if not text:
        return Target("all", "")
    if home.bundle.source(text) is not None:
        return Target("source", text)
    host = stops.hostname(text) if "://" in text else text
    known = sorted({host for source in home.bundle.sources for host in source.hosts})
    if "." in host or ":" in host or host in known:
        return Target("host", host)
    ids = ", ".join(source.id for source in home.bundle.sources) or "none"
    raise Problem(f"{text!r} is neither a source ({ids}) nor a host name; without it everything is halted")


def objection_target(
    home: Installation, *, page: str, prefix: str, host: str, source: str, author: str
) -> Target:
    """The one thing that was named. An author's name becomes the pseudonym of that source, and is kept nowhere. Raises Problem."""
    if author:
        if len(author) == 32 and not source:
            return Target("author", author)
        if not source or page or prefix or host:
            raise Problem("--author needs --source: the same name at two sites is two pseudonyms")
        key = pseudonym(home.keys.pseudonym, source, author)
        if key is None:
            raise Problem(f"{author!r} names nobody: posts of such authors are kept without a pseudonym")
        return Target("author", key)
    given: list[tuple[Scope, str]] = [("page", page), ("prefix", prefix), ("host", host), ("source", source)]
    named = [Target(scope, text) for scope, text in given if text]
    if len(named) != 1:
        raise Problem("name one of --page, --prefix, --host, --source, or --author with --source")
    return named[0]


def count_stored(home: Installation, what: Target) -> int:
    """Stored posts that an objection would remove."""
    with home.db.reading() as session:
        return len(retention.objected_posts(session, what.scope, what.target))


def halt(home: Installation, what: Target, reason: str, actor: str, now: datetime) -> Stop:
    """Stop fetching at once, also in crawls under way."""
    with home.db.transaction() as session:
        return stops.make(
            session, "halt", what.scope, what.target, reason=reason, actor=actor, channel="cli", now=now
        )


def lift(home: Installation, kind: stops.Kind, what: Target, reason: str, actor: str, now: datetime) -> Stop:
    """Take a halt or an objection back."""
    with home.db.transaction() as session:
        return stops.lift(
            session, kind, what.scope, what.target, reason=reason, actor=actor, channel="cli", now=now
        )


def enter_objection(
    home: Installation, what: Target, reason: str, actor: str, now: datetime
) -> retention.ObjectionReport:
    """Remove what is stored, originals too, and bar it. Raises incidents.states.Refused."""
    return traces.object_to(home, what.scope, what.target, reason=reason, actor=actor, channel="cli", now=now)


def table(home: Installation, found: list[Stop]) -> list[list[str]]:
    """One row each for a terminal."""
    return [
        [
            one.kind,
            one.what,
            f"{one.made_at.astimezone(home.zone):%Y-%m-%d %H:%M}",
            one.actor,
            one.reason,
        ]
        for one in found
    ]


def as_dicts(found: list[Stop]) -> list[dict[str, Any]]:
    """For scripts."""
    return [
        {
            "kind": one.kind,
            "scope": one.scope,
            "target": one.target,
            "since": one.made_at,
            "by": one.actor,
            "reason": one.reason,
        }
        for one in found
    ]


def warnings(home: Installation) -> list[str]:
    """One sentence each: halts in force, enabled sources under an objection, posts that an objection missed."""
    with home.db.reading() as session:
        current = stops.active(session)
        missed = retention.overlooked(session)
    board = stops.Stops(tuple(one for one in current if one.kind == "objection"))
    found = [one.sentence for one in current if one.kind == "halt"]
    for source in home.bundle.sources:
        stop = board.of(source)
        if source.enabled and stop is not None:
            found.append(
                f"source {source.id} is enabled but not read: {stop.sentence}; set `enabled: false` in sources.yaml"
            )
    return found + [
        f"{number} posts are stored although {stop.what} objected (a restored backup?); "
        "`quansheng objections check --remove` removes them"
        for stop, number in missed
    ]


def remove_missed(home: Installation, actor: str, now: datetime) -> int:
    """Remove what is stored in spite of an objection; the number of posts."""
    with home.db.transaction() as session:
        reports = [
            retention.enforce(session, stop, now, actor=actor, channel="cli")
            for stop, _ in retention.overlooked(session)
        ]
        retention.note_check(session, (), now)
    traces.discard(home, [name for report in reports for name in report.names])
    return sum(report.posts for report in reports)
