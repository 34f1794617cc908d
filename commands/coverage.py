"""`quansheng coverage`: which source saw which incident first, what gives nothing, what nobody watches, and what the hot lists knew."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from commands.lengths import span
from config.domains import domain_label
from config.i18n import translator
from console.words import word
from incidents import coverage, hot_titles
from incidents.installation import Installation, Problem
from incidents.proportions import wilson

SOURCE_COLUMNS = ["source", "saw", "first", "alone", "behind the first", "posted to collected"]
CELL_COLUMNS = [
    "domain",
    "district",
    "incidents",
    "sources",
    "by one alone",
    "first most often",
    "at the source",
    "here",
]
ZERO_COLUMNS = ["source", "domain", "district", "weeks without a post", "expected"]
MAP_COLUMNS = ["domain", "district", "state", "own sources", "general", "working"]
HOT_COLUMNS = ["hot title", "outcome", "incident", "lead", "list"]
#: the longest period; a longer one would count what retention has begun to remove
MAX_WEEKS = 26


@dataclass(frozen=True)
class Coverage:
    """Everything of one period."""

    since: datetime
    until: datetime
    ledger: coverage.Ledger
    watch: coverage.Watch
    recall: hot_titles.Recall
    names: dict[str, str]

    def tables(self, language: str) -> list[tuple[str, list[str], list[list[str]]]]:
        """Title, columns and rows of each table for a terminal; empty ones are left out."""
        say = translator("console", language)

        def name(source: str) -> str:
            return self.names.get(source, source)

        def domain(code: str) -> str:
            return domain_label(code, language) if code else say("全部领域")

        def place(text: str) -> str:
            return text or say("全部区县")

        tables = [
            (
                say("各信源"),
                SOURCE_COLUMNS,
                [
                    [
                        name(x.source_id),
                        str(x.seen),
                        str(x.first),
                        str(x.only),
                        span(x.behind),
                        span(x.posted_lag),
                    ]
                    for x in self.ledger.sources
                ],
            ),
            (
                say("领域与区县"),
                CELL_COLUMNS,
                [
                    [
                        domain(x.domain),
                        x.district or "-",
                        str(x.incidents),
                        str(x.sources),
                        str(x.alone),
                        f"{name(x.leader)} ({x.led})",
                        span(x.waited_at_source),
                        span(x.waited_here),
                    ]
                    for x in self.ledger.cells
                ],
            ),
            (
                say("无人覆盖的领域与区县"),
                MAP_COLUMNS,
                [
                    [
                        domain(x.domain),
                        x.district,
                        say(word("coverage", x.state)),
                        str(x.own),
                        str(x.general),
                        str(x.working),
                    ]
                    for x in self.watch.cells
                    if x.state in ("blind", "dark")
                ],
            ),
            (
                say("长期为零"),
                ZERO_COLUMNS,
                [
                    [
                        name(x.source_id),
                        domain(x.domain),
                        place(x.district),
                        str(x.weeks),
                        "-" if x.expected is None else f"{x.expected:.1f}",
                    ]
                    for x in self.watch.zeros
                ],
            ),
            (
                say("热榜对照"),
                HOT_COLUMNS,
                [
                    [x.title, say(word("hot_outcome", x.outcome)), x.number or "-", span(x.lead), x.list_name]
                    for x in self.recall.titles
                ],
            ),
        ]
        return [table for table in tables if table[2]]

    def summary(self, language: str) -> str:
        """The recall in a sentence."""
        r = self.recall
        say = translator("console", language)
        if not r.n:
            return say("这段时间热榜上没有本市重点领域的话题。")
        low, high = wilson(r.before, r.n)
        return say(
            "热榜上本市重点领域的话题{n}个，上榜前已发现{before}个（{share}，95%区间{low}–{high}），上榜后发现{after}个，有帖未预警{unraised}个，确认漏报{missed}个，未匹配且未核对{open}个。"
        ).format(
            n=r.n,
            before=r.before,
            share=f"{r.before / r.n:.0%}",
            low=f"{low:.0%}",
            high=f"{high:.0%}",
            after=r.of("after"),
            unraised=r.of("unraised"),
            missed=r.of("missed"),
            open=r.of("open"),
        )

    def as_dict(self) -> dict[str, Any]:
        """For scripts. Lags are seconds."""
        r = self.recall
        return {
            "since": self.since,
            "until": self.until,
            "incidents": [
                {
                    "number": entry.number,
                    "domain": entry.domain,
                    "district": entry.district,
                    "detected_at": entry.detected_at,
                    "posted_to_collected": _seconds(entry.waited_at_source),
                    "collected_to_detected": _seconds(entry.waited_here),
                    "sources": [asdict(one) for one in entry.sightings],
                }
                for entry in self.ledger.entries
            ],
            "without_posts": self.ledger.unseen,
            "sources": [
                asdict(x) | {"behind": _seconds(x.behind), "posted_lag": _seconds(x.posted_lag)}
                for x in self.ledger.sources
            ],
            "cells": [
                asdict(x)
                | {
                    "waited_at_source": _seconds(x.waited_at_source),
                    "waited_here": _seconds(x.waited_here),
                }
                for x in self.ledger.cells
            ],
            "map": [asdict(x) | {"state": x.state} for x in self.watch.cells],
            "zeros": [asdict(x) for x in self.watch.zeros],
            "hot": {
                "n": r.n,
                "outcomes": {outcome: r.of(outcome) for outcome in hot_titles.COUNTED},
                "interval": wilson(r.before, r.n),
                "titles": [asdict(x) for x in r.titles],
                "others": [asdict(x) for x in r.others],
            },
        }


def coverage_of(home: Installation, now: datetime, weeks: int) -> Coverage:
    """The ledger of the last `weeks` weeks. Raises Problem for a period that is too long."""
    if not 1 <= weeks <= MAX_WEEKS:
        raise Problem(f"--weeks {weeks}: expected 1 to {MAX_WEEKS}")
    since = now - timedelta(weeks=weeks)
    watched = home.settings.analysis.watched_domains
    with home.db.reading() as session:
        return Coverage(
            since,
            now,
            coverage.ledger(session, since, now),
            coverage.watch(
                session,
                home.bundle.sources,
                watched,
                [district.name for district in home.bundle.places.districts],
                now,
                weeks,
            ),
            hot_titles.recall(session, since, now, watched),
            {source.id: source.name for source in home.bundle.sources},
        )


def _seconds(length: timedelta | None) -> float | None:
    return length.total_seconds() if length is not None else None
