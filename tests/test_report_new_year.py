"""The week over New Year with its traps, in every format as it was, and every figure of it recounted by SQL."""

from __future__ import annotations

import io
import os
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from sqlalchemy import text

from incidents.session import Database
from incidents.states import (
    Acknowledge,
    Assign,
    Close,
    Confirm,
    Evaluate,
    Merge,
    Reopen,
    Respond,
)  # fmt: skip
from reports.build import build_weekly
from reports.files import Written, write
from reports.layout import Edition
from reports.model import ReportModel
from tests.conftest import AUDIT_KEY
from tests.fakes.week import Case, Town, at, bundle_in, utc
from tests.test_report_files import docx_text, pdf_text

WEEK = "2026-W53"
GOLDEN = Path(__file__).parent / "data" / "golden"
#: days as the fake counts them: 58 is Monday, 28 December, 62 is New Year's Day
MONDAY = at(65, "08:07")
SINCE, UNTIL, BEFORE = utc(at(58, "00:00")), utc(at(65, "00:00")), utc(at(51, "00:00"))


def _answer(when: datetime) -> Respond:
    return Respond(url="https://gov.example.invalid/a", published_at=when)


def _handled(detected: datetime, department: str, *acts: tuple[datetime, Any]) -> list[tuple[datetime, Any]]:
    first = [Acknowledge(1), Confirm(), Assign(department)]
    return [(detected.replace(minute=10 * (index + 1)), act) for index, act in enumerate(first)] + list(acts)


def new_year(db: Database) -> None:
    town = Town(db)
    for day, count in zip(range(51, 65), (21, 25, 19, 23, 20, 12, 11, 24, 22, 26, 18, 9, 8, 14), strict=True):
        town.background(day, count)
    why: dict[str, object] = {
        "track": "fast",
        "words": [{"word": "停暖", "category": "harm", "clause": "停暖"}],
    }
    school = {
        f"school{index}": Case(
            f"天桥区第{index}小学供暖不足", "schooling", "天桥区", {day: 3}, at(day, "10:00"), "fast", why,
            paged=at(day, "10:01"), acts=_handled(at(day, "10:00"), "education", *answers),
        )
        for index, day, answers in (
            (1, 58, [(at(59, "09:00"), _answer(at(59, "08:30")))]),
            (2, 59, [(at(60, "09:00"), _answer(at(60, "08:30")))]),
            (3, 59, []),
        )
    }  # fmt: skip
    cases = {
        "over": Case(
            "历下区跨年夜供水管道爆裂", "housing", "历下区", {60: 5, 61: 9, 62: 7}, at(60, "20:00"), "fast", why,
            paged=at(60, "20:01"),
            acts=_handled(at(60, "20:00"), "housing-construction", (at(63, "09:00"), _answer(at(62, "18:00")))),
        ),
        "back": Case(
            "章丘区垃圾清运不及时", "environment", "章丘区", {51: 4, 59: 5}, at(51, "09:00"), "fast", why,
            paged=at(51, "09:01"),
            acts=_handled(
                at(51, "09:00"), "zhangqiu", (at(52, "09:00"), _answer(at(52, "08:00"))),
                (at(52, "15:00"), Evaluate(80)), (at(52, "16:00"), Close()), (at(59, "11:00"), Reopen("又堆满")),
            ),
        ),
        "middle": Case(
            "历下区多处停水", "housing", "历下区", {60: 4}, at(60, "21:00"), "fast", why,
            paged=at(60, "21:01"), acts=[(at(60, "21:10"), Acknowledge(1)), (at(62, "09:00"), Merge(0))],
        ),
        "small": Case(
            "历下区某路停水", "housing", "历下区", {60: 2}, at(60, "22:00"), "fast", why,
            paged=at(60, "22:01"), acts=[(at(60, "22:10"), Acknowledge(1)), (at(61, "09:00"), Merge(0))],
        ),
        **school,
    }  # fmt: skip
    town.parents = {
        cases["small"].title: cases["middle"],
        cases["middle"].title: cases["over"],
    }
    for case in cases.values():
        town.case(case)
    town.play()


@pytest.fixture(scope="module")
def found(
    migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ReportModel, Written]:
    path = tmp_path_factory.mktemp("newyear") / "town.db"
    shutil.copyfile(migrated_sqlite, path)
    db = Database(f"sqlite:///{path}", audit_key=AUDIT_KEY)
    new_year(db)
    with db.reading() as session:
        model = build_weekly(session, bundle_in(tmp_path_factory.mktemp("city")), WEEK, MONDAY)
    db.close()
    model = model.model_copy(update={"rules_version": "golden", "judging": None})
    return path, model, write(model, Edition(), "zh_CN")


def golden(name: str, content: str) -> None:
    path = GOLDEN / name
    content = re.sub(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", "0" * 64, content)
    if os.environ.get("QUANSHENG_WRITE_GOLDEN"):
        path.write_text(content, encoding="utf-8")
    assert content == path.read_text(encoding="utf-8")


def test_mail_and_papers_are_as_they_were(found: tuple[Path, ReportModel, Written]) -> None:
    _, _, written = found
    golden(f"weekly-{WEEK}.mail.txt", written.rendered.mail_text)
    golden(f"weekly-{WEEK}.pdf.txt", pdf_text(written.papers["pdf"]).replace("。", "。\n") + "\n")
    golden(f"weekly-{WEEK}.docx.txt", docx_text(written.papers["docx"]) + "\n")
    book = openpyxl.load_workbook(io.BytesIO(written.papers["xlsx"]))
    cells = [
        f"{sheet.title}!{cell.coordinate}\t{cell.value}"
        for sheet in book.worksheets
        for row in sheet.iter_rows()
        for cell in row
        if cell.value is not None
    ]
    golden(f"weekly-{WEEK}.xlsx.txt", "\n".join(cells) + "\n")


def test_every_figure_equals_a_recount(found: tuple[Path, ReportModel, Written]) -> None:
    path, model, _ = found
    db = Database(f"sqlite:///{path}", audit_key=AUDIT_KEY)

    def one(statement: str, **values: object) -> Any:
        with db.engine.connect() as connection:
            values = {"since": SINCE, "until": UNTIL, "before": BEFORE} | values
            return connection.execute(text(statement), values).scalar_one()

    posts = "SELECT count(*) FROM post p LEFT JOIN judgement j ON j.post_id = p.id WHERE p.published_at >= :since AND p.published_at < :until"
    v = model.volume
    assert v.posts == one(posts)
    assert v.before == one(
        "SELECT count(*) FROM post WHERE published_at >= :before AND published_at < :since"
    )
    assert (v.negative, v.neutral, v.positive) == tuple(
        one(f"{posts} AND j.tone = :t", t=t) for t in ("neg", "neu", "pos")
    )
    assert v.copies == one(f"{posts} AND j.near_copy_of IS NOT NULL")
    for row in model.domains:
        assert row.posts == one(f"{posts} AND j.domain = :d", d=row.id)
        assert row.negative == one(f"{posts} AND j.domain = :d AND j.tone = 'neg'", d=row.id)
    happened = "SELECT count(*) FROM incident_event WHERE kind = :k AND occurred_at >= :since AND occurred_at < :until"
    assert model.detected == one(happened, k="detected") == 6
    assert model.confirmed == one(happened, k="confirmed")
    assert len(model.merged) == one(happened, k="merged") == 2
    assert len(model.reopened) == one(happened, k="reopened") == 1
    assert len(model.open_incidents) == one(
        "SELECT count(*) FROM incident WHERE number IS NOT NULL AND state NOT IN ('closed', 'false_alarm', 'merged')"
    )
    over = next(line for line in model.new if "跨年夜" in line.title)
    assert {pair.parent for pair in model.merged} == {
        over.number
    }  # merged twice: both stand for the last one
    assert over.posts == one(
        """SELECT count(*) FROM incident_post ip JOIN post p ON p.id = ip.post_id JOIN incident i ON i.id = ip.incident_id
           WHERE i.district = '历下区' AND i.domain = 'housing' AND p.published_at >= :since AND p.published_at < :until"""
    )
    assert model.kept == one(
        "SELECT count(*) FROM deadline WHERE state = 'met' AND closed_at >= :since AND closed_at < :until AND closed_at <= due_at"
    )
    assert model.ran_out == one(
        "SELECT count(*) FROM deadline WHERE state != 'cancelled' AND due_at >= :since AND due_at < :until AND (closed_at IS NULL OR closed_at > due_at)"
    )
    (school,) = [row for row in model.departments if row.id == "education"]
    assert (school.kept, school.missed) == (2, 1)
    assert [row.posts for row in model.days] == [
        one(
            "SELECT count(*) FROM post WHERE published_at >= :a AND published_at < :b",
            a=utc(at(day, "00:00")),
            b=utc(at(day + 1, "00:00")),
        )
        for day in range(58, 65)
    ]
    db.close()


def test_three_clocks_of_a_department_give_no_rate(found: tuple[Path, ReportModel, Written]) -> None:
    _, _, written = found
    book = openpyxl.load_workbook(io.BytesIO(written.papers["xlsx"]))
    rates = {row[0]: row[8] for row in book["部门办理"].iter_rows(min_row=2, values_only=True)}
    assert rates["市教育局"] == "数据不足"
    assert "按时率66.7%" not in written.rendered.mail_text
