"""What a report says of the house itself and of the year before: figures that stand as of the writing, not of the period.

Left out of the digest: a source that is added today, a model trained tomorrow or a stored report that is deleted corrects
no earlier report. A report that says the same is shown as it was stored, these figures included.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from config.bundle import Bundle
from incidents import coverage, labels, report_runs
from incidents import weekly_numbers as numbers
from incidents.session import Session
from reports.accountability import build_accountability
from reports.model import (
    BlindSpots,
    ChargeLine,
    Charges,
    LastYear,
    ModelFigure,
    ModelFigures,
    OwnWord,
    ReportModel,
    UnitLine,
)
from reports.period import Period, year_before

#: the map of what is watched looks back so many weeks
WEEKS = 4
#: blind cells and silent sources that are named
NAMED = 6


def last_year(session: Session, bundle: Bundle, period: Period, now: datetime) -> LastYear:
    """The same period one year earlier: posts from its stored report or, while they are kept, counted; incidents from the record."""
    then = year_before(period)
    whole = period.as_of == period.until
    stored = report_runs.runs(session, period.kind, then.name) if whole else []
    posts = negative = judged = None
    if stored:
        volume = ReportModel.model_validate(stored[-1].model).volume
        posts, negative, judged = volume.posts, volume.negative, volume.judged
    elif (now - then.since).days < bundle.settings.privacy.post_days:
        cells = numbers.post_cells(session, then.seen)
        if cells:
            posts = sum(cell.posts for cell in cells)
            judged = sum(cell.posts for cell in cells if cell.tone)
            negative = sum(cell.posts for cell in cells if cell.tone == "neg")
    recorded = numbers.head_before(session, then.since).seq > 0
    counts = numbers.count_events(session, ("detected", "closed"), then.since, then.as_of) if recorded else {}
    return LastYear(
        period=then.name,
        posts=posts,
        judged=judged,
        negative=negative,
        detected=counts.get("detected", 0) if recorded else None,
        closed=counts.get("closed", 0) if recorded else None,
    )


def blind_spots(session: Session, bundle: Bundle, period: Period) -> BlindSpots:
    """Which watched domains in which districts nobody looks at, and which sources give nothing of what they are read for."""
    watched = bundle.settings.analysis.watched_domains
    districts = [district.name for district in bundle.places.districts]
    seen = coverage.watch(session, bundle.sources, watched, districts, period.as_of, WEEKS)
    states = Counter(cell.state for cell in seen.cells)
    dark = [cell for cell in seen.cells if cell.state in ("blind", "dark")]
    names = {source.id: source.name for source in bundle.sources}
    silent = dict.fromkeys(names.get(zero.source_id, zero.source_id) for zero in seen.zeros)
    return BlindSpots(
        cells=len(seen.cells),
        blind=states["blind"],
        dark=states["dark"],
        general=states["general"],
        named=tuple((cell.domain, cell.district) for cell in dark[:NAMED]),
        silent=tuple(silent)[:NAMED],
        silent_count=len(silent),
        weeks=WEEKS,
    )


def model_figures(session: Session, bundle: Bundle) -> ModelFigures:
    """What training measured of the model in force beside its targets, and what this city's people said of its judgements."""
    from analysis import figures
    from analysis.model_store import folder_of, in_force

    held = in_force(folder_of(bundle.settings.data_path))
    said = labels.verdicts(session)
    first: dict[str, ModelFigure] = {}  # of each task; the page 模型 has all
    for one in figures.stored(held.model):
        if one.value is not None and one.least is not None:
            first.setdefault(
                one.area,
                ModelFigure(
                    task=one.area, name=one.name, value=round(one.value, 3), target=one.least, n=one.n
                ),
            )
    return ModelFigures(
        version=held.model.version,
        figures=tuple(first.values()),
        said=tuple(OwnWord(kind=kind, right=right, n=n) for kind, (right, n) in said.by_kind.items()),
    )


def charges(session: Session, bundle: Bundle, period: Period, now: datetime) -> Charges | None:
    """Whose time the missed clocks were, and the departments' shares, from the table of accountability; None for a day."""
    if period.kind == "daily":
        return None
    table = build_accountability(session, bundle, period.name, now)
    return Charges(
        min_n=table.min_n,
        near_ceiling=table.near_ceiling,
        links=tuple(
            ChargeLine(link=line.link, missed=line.missed, numbers=line.numbers) for line in table.charges
        ),
        units=tuple(
            UnitLine(
                name=line.name,
                kept=line.rate.kept,
                missed=line.rate.missed,
                share=line.rate.share,
                low=line.rate.low,
                high=line.rate.high,
                expected=line.expected,
                others=line.others,
                appeals=line.appeals_waiting,
                numbers=line.missed_numbers,
            )
            for line in table.departments
            if line.rate.kept or line.rate.missed or line.others or line.appeals_waiting
        ),
    )
