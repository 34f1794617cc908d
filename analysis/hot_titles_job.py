"""Titles of hot lists, judged and held against the incidents of the week before and after. Nothing is counted or opened by them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from analysis.cluster import Clusterer, ClusterItem
from analysis.judge import Judge, JudgeInput
from analysis.places import Place
from incidents import hot_titles
from incidents.beats import beat, get_beat
from incidents.session import Database, Session

BEAT = "hot_titles"
#: a title without an incident is held against the new ones so often
AGAIN = timedelta(minutes=30)
_DAY = 86400.0


def run(
    db: Database, judge: Callable[[], Judge], index: Callable[[Session], Clusterer], now: datetime
) -> int:
    """Judge new titles and look for the incidents of those that have none yet; returns how many were looked at.

    `judge` and `index` are asked only when a title waits: an idle house loads nothing for it.
    """
    with db.reading() as session:
        titles = hot_titles.waiting(session, now)
        last = get_beat(session, BEAT)
    fresh = [title for title in titles if not title.judged]
    rested = last is None or now - last.ok_at >= AGAIN
    if not titles or not (fresh or rested):
        return 0
    outputs = {
        output.id: output
        for output in judge().judge_batch(
            [
                JudgeInput(
                    id=title.id,
                    title=title.title,
                    text=title.text,
                    published_at=title.first_seen_at,
                    source=title.source_id,
                )
                for title in fresh
            ],
            explain=False,
        )
    }
    with db.transaction() as session:
        hot_titles.save_judged(
            session,
            [
                hot_titles.Judged(
                    id=output.id,
                    domain=output.domain,
                    domain_score=output.domain_score,
                    districts=output.districts,
                    places=[dict(place.as_dict()) for place in output.places],
                    model_version=output.model,
                    elsewhere=output.where == "elsewhere",
                )
                for output in outputs.values()
            ],
            now,
        )
        clusterer = index(session)
        for title in titles if rested else fresh:
            output = outputs.get(title.id)
            places = (
                output.places
                if output is not None
                else tuple(Place(p["kind"], p["name"], p["norm"]) for p in title.places)
            )
            _match(session, clusterer, title, places, output.districts if output else title.districts, now)
        if rested:
            beat(session, BEAT, now)
    return len(titles if rested else fresh)


def _match(
    session: Session,
    clusterer: Clusterer,
    title: hot_titles.Waiting,
    places: tuple[Place, ...],
    districts: tuple[str, ...],
    now: datetime,
) -> None:
    item = ClusterItem(
        id=f"hot-{title.id}",
        title=title.title,
        text=title.text,
        published_at=title.first_seen_at,
        places=places,
        author=None,
        districts=districts,
    )
    since = (title.first_seen_at - hot_titles.AROUND).timestamp() / _DAY
    until = (title.first_seen_at + hot_titles.AROUND).timestamp() / _DAY
    found = clusterer.nearest(item, since, until)
    if found is None:
        return
    incident, score = found
    enough = score >= clusterer.model.threshold
    hot_titles.save_match(session, title.id, incident if enough else None, incident, score, now)
