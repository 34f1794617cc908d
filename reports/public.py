"""Build the public edition 公开版 of one month, and write it as pages and open data once a named person has approved it.

Only whole months: a week or a quarter beside them would let somebody subtract one from the other.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime
from io import StringIO
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from config.bundle import Bundle
from config.domains import domain_label
from config.i18n import translator
from incidents import public_numbers
from incidents.public_numbers import NOWHERE, SEVERAL, Cell
from incidents.session import Session
from incidents.weekly_numbers import stories
from reports.accountability import build_accountability
from reports.accountability_model import AccountabilityModel
from reports.period import PeriodError, named
from reports.public_model import PublicCell, PublicDepartment, PublicLink, PublicModel, PublicSum
from reports.suppress import OTHER, Grid, protect, protect_line

REPORT = "public"
_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), undefined=StrictUndefined, autoescape=True
)


def build_public(session: Session, bundle: Bundle, period: str, now: datetime) -> PublicModel:
    """The public edition of a whole month. Raises PeriodError for another kind of period, or one that still runs."""
    zone = ZoneInfo(bundle.settings.city.timezone)
    span = named(period, now, zone)
    if span.kind != "monthly" or span.running:
        raise PeriodError(
            f"the public edition is of whole months that are over, such as 2026-11, not of {period}"
        )
    k = bundle.settings.accountability.public_k
    table = build_accountability(session, bundle, period, now)
    cells = public_numbers.cells(session, span.since, span.until)
    grid = protect(cells, k)
    units = _departments(session, table, k)
    withheld = [name for name, one in (("cells", grid), ("departments", units)) if one is None]
    return PublicModel(
        period=period,
        city=bundle.settings.city.name,
        since=span.since,
        until=span.until,
        generated_at=now,
        k=k,
        posts=sum(cell.posts for cell in cells.values()) if grid is not None else 0,
        cases=table.cases if units is not None else 0,
        kept=table.rate.kept if units is not None else 0,
        missed=table.rate.missed if units is not None else 0,
        cells=_cells(grid),
        districts=tuple(PublicSum(id=row, posts=grid.row_sum(row)) for row in grid.rows) if grid else (),
        domains=tuple(PublicSum(id=one, posts=grid.column_sum(one)) for one in grid.columns) if grid else (),
        joined=grid.joined if grid else (),
        departments=units or (),
        links=tuple(
            PublicLink(
                part=one.part,
                n=one.took.n if one.took.n >= table.min_n else None,
                median=one.took.median if one.took.n >= table.min_n else None,
            )
            for one in table.links
        )
        if units is not None
        else (),
        withheld=tuple(withheld),
    )


def _cells(grid: Grid | None) -> tuple[PublicCell, ...]:
    if grid is None:
        return ()
    return tuple(
        PublicCell(district=row, domain=column, posts=grid.shown(row, column))
        for row in grid.rows
        for column in grid.columns
    )


def _departments(session: Session, table: AccountabilityModel, k: int) -> tuple[PublicDepartment, ...] | None:
    """Departments by the authors of their cases; None when the whole city has too few."""
    ids = {story.number: story.id for story in stories(session, table.since, table.as_of)}
    authors = public_numbers.authors_of(
        session,
        {line.id: [ids[number] for number in line.numbers if number in ids] for line in table.departments},
    )
    cells = {
        line.id: Cell(line.led + line.rate.kept + line.rate.missed, authors[line.id])
        for line in table.departments
    }
    if len(set().union(*(cell.authors for cell in cells.values()))) < k:
        return None
    hidden = protect_line(cells, k)
    if hidden is None:
        return None
    return tuple(
        PublicDepartment(id=line.id, name=line.name, cases=None, kept=None, missed=None)
        if line.id in hidden
        else PublicDepartment(
            id=line.id, name=line.name, cases=line.led, kept=line.rate.kept, missed=line.rate.missed
        )
        for line in table.departments
    )


# --- files ---------------------------------------------------------------------------------------------------------


def place_name(id: str, language: str) -> str:
    """What a row is called."""
    _ = translator("reports", language)
    return {NOWHERE: _("未指明区县"), SEVERAL: _("多个区县"), OTHER: _("其他区县")}.get(id, id)


def domain_name(id: str, language: str) -> str:
    """What a column is called."""
    _ = translator("reports", language)
    return _("其他领域") if id == OTHER else domain_label(id, language)


def files(model: PublicModel) -> dict[str, bytes]:
    """Everything that is published, by file name: two pages, three tables, a dictionary of the data."""
    return {
        "index.html": page(model, "zh_CN").encode(),
        "index.en.html": page(model, "en").encode(),
        "cells.csv": _csv(
            ("period", "district", "domain", "posts"),
            [(model.period, one.district, one.domain, _told(one.posts)) for one in model.cells],
        ),
        "departments.csv": _csv(
            ("period", "department", "name", "cases", "clocks_kept", "clocks_missed"),
            [
                (model.period, one.id, one.name, _told(one.cases), _told(one.kept), _told(one.missed))
                for one in model.departments
            ],
        ),
        "links.csv": _csv(
            ("period", "part", "n", "median_seconds"),
            [(model.period, one.part, _told(one.n), _told(one.median)) for one in model.links],
        ),
        "dictionary.csv": _csv(("file", "column", "zh", "en"), DICTIONARY),
    }


def _told(value: int | None) -> str:
    return "" if value is None else str(value)


def _csv(head: tuple[str, ...], rows: object) -> bytes:
    out = StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows(rows)  # type: ignore[arg-type]  # rows of text, whatever holds them
    # offices open it by a double click
    return ("\ufeff" + out.getvalue()).encode()


#: what each column means; an empty value is one that is not told
DICTIONARY = (
    ("*", "period", "月份", "month"),
    (
        "cells.csv",
        "district",
        "区县；空为未指明，* 为多个区县，other 为合并的其他区县",
        "district; empty: none named, *: several, other: put together",
    ),
    ("cells.csv", "domain", "领域代码；other 为合并的其他领域", "code of the domain; other: put together"),
    (
        "cells.csv",
        "posts",
        "公开帖文数；空为不足最少人数而不公布，或为防推算而不公布",
        "public posts; empty: too few authors, or hidden so that others cannot be computed",
    ),
    ("departments.csv", "department", "部门代码", "code of the department"),
    ("departments.csv", "name", "部门名称", "name of the department"),
    ("departments.csv", "cases", "主办事件数", "cases led"),
    ("departments.csv", "clocks_kept", "按时完成的时限数", "clocks kept"),
    ("departments.csv", "clocks_missed", "记在该部门的超时时限数", "missed clocks charged to the department"),
    ("links.csv", "part", "环节（代码）", "part of the way (code)"),
    ("links.csv", "n", "本月完成的件数；过少不公布", "ended in the month; not told when too few"),
    ("links.csv", "median_seconds", "用时中位数（秒）", "median length in seconds"),
)


def page(model: PublicModel, language: str) -> str:
    """The page in one language; plain HTML that needs nothing from anywhere."""
    _ = translator("reports", language)
    posts = {(one.district, one.domain): one.posts for one in model.cells}
    return _PAGES.get_template("public.html").render(
        m=model,
        _=_,
        lang="en" if language == "en" else "zh-CN",
        posts=posts,
        place=lambda id: place_name(id, language),
        domain=lambda id: domain_name(id, language),
        joined=[domain_label(one, language) for one in model.joined if domain_label(one, language) != one]
        + [place_name(one, language) for one in model.joined if domain_label(one, language) == one],
        part=lambda id: parts(_)[id],
        hours=lambda seconds: f"{seconds / 3600:.1f}",
    )


def parts(_: Callable[[str], str]) -> dict[str, str]:
    """Names of the parts of the way."""
    return {
        "posted_fetched": _("发帖至采集"),
        "posted_detected": _("发帖至发现"),
        "fetched_detected": _("采集至发现"),
        "detected_alerted": _("发现至提醒"),
        "alerted_acknowledged": _("提醒至确认"),
        "acknowledged_assigned": _("确认至交办"),
        "returned_assigned": _("退回至再交办"),
        "reopened_assigned": _("重开至交办"),
        "assigned_signed": _("交办至签收"),
        "signed_answered": _("签收至回应"),
        "approval": _("等待审批"),
    }
