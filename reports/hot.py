"""What the hot lists of the week knew about the city, and whether the system knew before: a test of its own misses."""

from __future__ import annotations

from config.bundle import Bundle
from incidents import hot_titles
from incidents.proportions import wilson
from incidents.session import Session
from reports.model import HotLists, HotMiss
from reports.period import Period


def hot_lists(session: Session, bundle: Bundle, period: Period) -> HotLists | None:
    """The week's hot matters as they were known at its end; None when no hot list is read and none was kept."""
    watched = bundle.settings.analysis.watched_domains
    found = hot_titles.recall(session, period.since, period.as_of, watched, as_of=period.as_of)
    reads = any(
        source.enabled and (source.kind == "newsnow" or getattr(source, "hot_list", False))
        for source in bundle.sources
    )
    if not (reads or found.titles or found.others):
        return None
    low, high = wilson(found.before, found.n)
    return HotLists(
        n=found.n,
        before=found.before,
        after=found.of("after"),
        unraised=found.of("unraised"),
        missed=found.of("missed"),
        open=found.of("open"),
        low=round(low, 4),
        high=round(high, 4),
        misses=tuple(
            HotMiss(title=title.title, outcome=title.outcome, number=title.number)
            for title in found.titles
            if title.outcome != "before"
        ),
    )
