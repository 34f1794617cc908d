"""Time of the coverage ledger, the map and the recall: `python benchmarks/coverage_ledger.py [INCIDENTS] [SOURCES]`.

Invented incidents of four weeks with 20 posts each from three to eight sources, written as rows. CPU seconds of the second
look, on SQLite.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from config.bundle import load_bundle
from incidents import coverage, hot_titles
from incidents.migrate import upgrade
from incidents.models import HotTitle, Incident, IncidentPost, Judgement, Post, SourceState
from incidents.session import Database

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
DOMAINS = ("schooling", "housing", "food_safety", "health")
POSTS = 20


def build(db: Database, incidents: int, sources: int, districts: list[str]) -> None:
    """The rows."""
    chance = random.Random(1)
    with db.transaction() as session:
        session.execute(
            insert(SourceState),
            [
                {
                    "source_id": f"s{n}",
                    "state": "ok",
                    "evidence": "",
                    "failures": 0,
                    "posts_total": 0,
                    "cursor": {"health": {"first": (NOW - timedelta(weeks=9)).isoformat()}},
                }
                for n in range(sources)
            ],
        )
        for start in range(0, incidents, 500):
            rows: dict[type, list[dict[str, object]]] = {
                Incident: [],
                Post: [],
                Judgement: [],
                IncidentPost: [],
            }
            for n in range(start, min(incidents, start + 500)):
                begun = NOW - timedelta(minutes=chance.uniform(200, 28 * 1440))
                domain, district = chance.choice(DOMAINS), chance.choice(districts)
                mine = [f"s{chance.randrange(sources)}" for _ in range(chance.randint(3, 8))]
                common = {"domain": domain, "voices": POSTS, "posts": POSTS, "version": 1}
                rows[Incident].append(
                    common
                    | {
                        "id": n + 1,
                        "number": f"QS-2026-{n:06}",
                        "title": "停水",
                        "district": district,
                        "state": "detected",
                        "first_posted_at": begun,
                        "last_post_at": begun + timedelta(hours=3),
                        "detected_at": begun + timedelta(hours=1),
                        "why": {},
                        "sketch": {},
                    }
                )
                for k in range(POSTS):
                    id_, at = n * POSTS + k + 1, begun + timedelta(minutes=8 * k)
                    rows[Post].append(
                        {
                            "id": id_,
                            "source_id": chance.choice(mine),
                            "external_id": str(id_),
                            "text": "停水",
                            "published_at": at,
                            "published_estimated": False,
                            "fetched_at": at + timedelta(minutes=chance.uniform(1, 40)),
                            "content_sha256": "",
                            "engagement": {},
                            "provenance": {},
                        }
                    )
                    rows[Judgement].append(
                        {
                            "post_id": id_,
                            "domain": domain,
                            "tone": "neg",
                            "signal": True,
                            "risk": 1,
                            "model_version": "t",
                            "judged_at": at,
                            "districts": [district],
                            "places": [],
                            "reasons": {},
                        }
                        | dict.fromkeys(
                            ("domain_score", "tone_score", "snownlp_score", "signal_score", "risk_score"), 0.5
                        )
                    )
                    rows[IncidentPost].append(
                        {"post_id": id_, "incident_id": n + 1, "similarity": 1.0, "added_at": at}
                    )
            for table, values in rows.items():
                session.execute(insert(table), values)
        session.execute(
            insert(HotTitle),
            [
                {
                    "source_id": "hot",
                    "external_id": str(n),
                    "title": f"济南{n}",
                    "domain": "housing",
                    "first_seen_at": NOW - timedelta(hours=n),
                    "last_seen_at": NOW,
                    "incident_id": 1 + n,
                    "districts": [],
                    "places": [],
                }
                for n in range(min(500, incidents))
            ],
        )


def main() -> None:
    """Build, look twice, print."""
    incidents = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    sources = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    with tempfile.TemporaryDirectory() as folder:
        bundle = load_bundle(None, data_dir=Path(folder))
        districts = [district.name for district in bundle.places.districts]
        some = bundle.sources[0]
        read = [some.model_copy(update={"id": f"s{n}", "enabled": True}) for n in range(sources)]
        db = Database(f"sqlite:///{Path(folder) / 'c.db'}", audit_key=b"k" * 32)
        upgrade(db.engine)
        build(db, incidents, sources, districts)
        since = NOW - timedelta(weeks=4)
        with db.reading() as session:
            looks: dict[str, Callable[[], object]] = {
                "ledger": lambda: len(coverage.ledger(session, since, NOW).entries),
                "map and zeros": lambda: len(coverage.watch(session, read, DOMAINS, districts, NOW, 4).zeros),
                "recall": lambda: hot_titles.recall(session, since, NOW, DOMAINS).n,
                "one incident": lambda: len(coverage.of_incident(session, 7)),
            }
            for name, look in looks.items():
                look()
                began = time.process_time()
                answer = look()
                print(f"{name}: {time.process_time() - began:.2f} s CPU, {answer}", flush=True)
        db.close()


if __name__ == "__main__":
    main()
