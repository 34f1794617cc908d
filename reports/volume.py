"""Posts of the week as rows of the report: in all, by day, by domain and district, by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from config.bundle import Bundle
from incidents.weekly_numbers import PostCell, SourceCount
from reports.model import CountRow, DayRow, SourceRow, Volume
from reports.period import Period


def volume(cells: Sequence[PostCell], before: Sequence[PostCell]) -> Volume:
    def count(among: Sequence[PostCell], tone: str = "") -> int:
        return sum(cell.posts for cell in among if cell.tone and tone in ("", cell.tone))

    return Volume(
        posts=sum(cell.posts for cell in cells),
        before=sum(cell.posts for cell in before),
        copies=sum(cell.copies for cell in cells),
        judged=count(cells),
        negative=count(cells, "neg"),
        neutral=count(cells, "neu"),
        positive=count(cells, "pos"),
        judged_before=count(before),
        negative_before=count(before, "neg"),
    )


def days(period: Period, cells: Sequence[PostCell], before: Sequence[PostCell]) -> tuple[DayRow, ...]:
    posts, tones, old = Counter[int](), Counter[tuple[int, str]](), Counter[int]()
    for cell in cells:
        posts[cell.day] += cell.posts
        tones[cell.day, cell.tone] += cell.posts
    for cell in before:
        old[cell.day] += cell.posts
    return tuple(
        DayRow(
            day=start.date(),
            posts=posts[index],
            negative=tones[index, "neg"],
            neutral=tones[index, "neu"],
            positive=tones[index, "pos"],
            before=old[index] if index < len(period.before) - 1 else None,
            hour=start.hour if period.kind == "daily" else None,
        )
        for index, start in enumerate(period.slots[:-1])
        if start < period.as_of  # a day to come has no figure, not a zero
    )


def counts(
    cells: Sequence[PostCell], before: Sequence[PostCell], keys: Callable[[PostCell], Iterable[str]]
) -> tuple[CountRow, ...]:
    """Posts by key in both weeks, the largest first."""
    posts, negative, old = Counter[str](), Counter[str](), Counter[str]()
    for cell in cells:
        for key in set(keys(cell)):
            posts[key] += cell.posts
            negative[key] += cell.posts if cell.tone == "neg" else 0
    for cell in before:
        for key in set(keys(cell)):
            old[key] += cell.posts
    order = sorted(posts | old, key=lambda key: (-posts[key], -old[key], key))
    return tuple(CountRow(id=key, posts=posts[key], before=old[key], negative=negative[key]) for key in order)


def sources(bundle: Bundle, given_counts: Sequence[SourceCount]) -> tuple[SourceRow, ...]:
    """Configured sources and those that gave posts anyway (imports, removed ones); the silent ones last."""
    given = {count.source_id: count for count in given_counts}
    configured = {source.id: source for source in bundle.sources}
    rows = []
    for source_id in sorted(given.keys() | configured.keys()):
        count, source = given.get(source_id), configured.get(source_id)
        rows.append(
            SourceRow(
                id=source_id,
                name=source.name if source else source_id,
                enabled=source.enabled if source else False,
                posts=count.posts if count else 0,
                days=count.days if count else 0,
                last_at=count.last_at if count else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.posts, not row.enabled, row.id)))
