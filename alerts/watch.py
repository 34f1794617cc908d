"""The outside dead-man ping: somebody else learns that we are silent, because the ping comes only after a clean audit.

Clean means: nothing that alerts.troubles knows of, except what others have to answer for (sources that cannot be read).
What is not clean is told to the officer on duty as well (alerts.alarms), and to <ping_url>/fail with its reasons.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx

from alerts import alarms, doors, rota, troubles
from alerts.results import Refused, Retry, Unknown
from alerts.robots import Caller
from config.bundle import Bundle
from incidents import beats
from incidents.session import Database, Session
from incidents.trouble import Problem

PING = "watch.ping"
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Audit:
    """What an audit found. `reasons` are sentences; none means clean."""

    reasons: tuple[str, ...]
    pinged: bool = False
    told: tuple[str, ...] = ()
    #: the configuration with the roster in force, for a last cry that cannot ask the database
    bundle: Bundle | None = field(default=None, compare=False, repr=False)

    def describe(self) -> str:
        """For the log."""
        state = "clean" if not self.reasons else "; ".join(self.reasons)
        return f"{state}{', pinged' if self.pinged else ''}"


def audit(session: Session, bundle: Bundle, key: bytes, now: datetime) -> list[str]:
    """Reasons for which nobody outside may be told that all is well. Writes nothing."""
    found, _ = troubles.find(session, bundle, key, now)
    return [trouble.text for trouble in found if trouble.outside]


def run(db: Database, bundle: Bundle, key: bytes, now: datetime) -> Audit:
    """One audit, the alarms and the ping that follow from it. No transaction is open while the network is asked.

    A database that cannot be used is told outside before the error is raised.
    """
    try:
        doors.knock(db, bundle, now)
        with db.transaction() as session:
            bundle = rota.in_force(session, bundle, now)
            found, place = troubles.find(session, bundle, key, now)
            told = tuple(alarms.work(session, bundle, found, now))
            if place is not None:
                beats.beat(session, troubles.CHAIN, now, {"seq": place.seq, "hash": place.hash})
            last = beats.get_beat(session, PING)
    except Problem as trouble:
        ping(bundle, [str(trouble)])
        raise
    reasons = tuple(trouble.text for trouble in found if trouble.outside)
    due = last is None or not timedelta(0) <= now - last.ok_at < timedelta(
        minutes=bundle.settings.watch.ping_min
    )
    if not reasons and not due:
        return Audit(reasons, told=told, bundle=bundle)
    answer = ping(bundle, reasons)
    good = isinstance(answer, httpx.Response) and answer.is_success
    if good and not reasons:
        with db.transaction() as session:
            beats.beat(session, PING, now, {})
    if isinstance(answer, Retry | Refused | Unknown):
        return Audit((*reasons, answer.reason), told=told, bundle=bundle)
    return Audit(reasons, pinged=good, told=told, bundle=bundle)


def ping(
    bundle: Bundle, reasons: tuple[str, ...] | list[str]
) -> httpx.Response | Retry | Refused | Unknown | None:
    """Tell outside that all is well, or with `reasons` that it is not; None when nobody is to be told."""
    watch = bundle.settings.watch
    url = watch.ping_url.get_secret_value()
    if not url or (reasons and not watch.ping_fail):
        return None
    return Caller("dead-man ping", _TIMEOUT_S).request(
        "POST" if reasons else "GET",
        f"{url.rstrip('/')}/fail" if reasons else url,
        "\n".join(reasons).encode() if reasons else None,
        {"Content-Type": "text/plain; charset=utf-8"},
    )
