"""A report reaches each recipient once for each period, or again as a marked correction; its mail stands alone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email import policy
from email.parser import BytesParser
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.extract import extract
from sqlalchemy import text

from alerts.email import Inline, Mail, compose
from config.bundle import Bundle
from config.i18n import ROOT, catalogue
from config.keys import Keys
from incidents import report_runs
from incidents.outbox import OutboxRow, latest
from incidents.session import Database
from incidents.trouble import Problem
from reports import job
from reports.charts import days_chart, pairs_chart
from reports.delivery import ReportSummary
from reports.job import due_period
from reports.reasons import detection_reason
from tests.fakes.week import MONDAY, WEEK, Town, at, bundle_in

KEYS = Keys.derive(b"a secret that opens nothing at all")
RECIPIENTS = ("office@example.invalid", "leader@example.invalid")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundle_in(tmp_path / "city")


@pytest.fixture
def quiet_town(db: Database) -> Database:
    """A few posts in the week of the report."""
    posts(db, 16, 17, 18)
    return db


def posts(db: Database, *days: int) -> None:
    """One post on each of these days of November, in a town that had none."""
    with db.reading() as session:
        known = session.execute(text("SELECT count(*) FROM post")).scalar_one()
    town = Town(db, first=known)
    for day in days:
        town.post(at(day), "housing", ("历下区",), "neg")
    town.play()


def run(
    db: Database, bundle: Bundle, now: datetime = MONDAY, *, week: str | None = WEEK, send: bool = True
) -> ReportSummary:
    return job.run(db, bundle, KEYS, now, period=week, send=send)


def mails(db: Database) -> list[OutboxRow]:
    with db.reading() as session:
        return [row for row in latest(session) if row.kind == "report"]


# --- exactly once ----------------------------------------------------------------------------------------------


def test_each_recipient_gets_one_mail_however_often_it_runs(quiet_town: Database, bundle: Bundle) -> None:
    first = run(quiet_town, bundle)
    assert first.queued == RECIPIENTS
    assert first.new_revision
    for hours in (1, 2, 30):
        again = run(quiet_town, bundle, MONDAY + timedelta(hours=hours))
        assert again.queued == ()
        assert not again.new_revision
    assert sorted(row.recipient for row in mails(quiet_town)) == sorted(RECIPIENTS)
    with quiet_town.reading() as session:
        (row,) = report_runs.runs(session, "weekly", WEEK)
    assert row.sent_at == MONDAY


def test_without_send_it_only_writes_files(quiet_town: Database, bundle: Bundle) -> None:
    written = run(quiet_town, bundle, send=False)
    assert mails(quiet_town) == []
    assert written.folder == bundle.settings.data_path / "reports" / WEEK
    names = {path.name for path in written.files}
    papers = {"weekly.pdf", "weekly.docx", "weekly.xlsx"}
    assert names == {"weekly.html", "weekly.txt", "days.png", "domains.png"} | papers
    assert all(path.is_file() for path in written.files)
    assert written.summary[0].startswith("采集公开帖文3条")
    page = (written.folder / "weekly.html").read_text(encoding="utf-8")
    assert set(re.findall(r'<img[^>]*src="([^"]+)"', page)) == {"days.png", "domains.png"}


def test_two_weeks_are_two_reports(quiet_town: Database, bundle: Bundle) -> None:
    run(quiet_town, bundle)
    run(quiet_town, bundle, week="2026-W46")
    assert len(mails(quiet_town)) == 4


def test_a_new_recipient_gets_the_report_and_nobody_gets_it_twice(
    quiet_town: Database, bundle: Bundle, tmp_path: Path
) -> None:
    run(quiet_town, bundle)
    more = bundle_in(tmp_path / "city", recipients=(*RECIPIENTS, "new@example.invalid"))
    assert run(quiet_town, more).queued == ("new@example.invalid",)


def test_a_recipient_named_twice_gets_one_mail(quiet_town: Database, tmp_path: Path) -> None:
    twice = bundle_in(tmp_path / "twice", recipients=("office@example.invalid", "office@example.invalid"))
    assert run(quiet_town, twice).queued == ("office@example.invalid",)


# --- corrections and previews ----------------------------------------------------------------------------------


def test_late_data_is_a_marked_correction_that_says_what_changed(
    quiet_town: Database, bundle: Bundle
) -> None:
    run(quiet_town, bundle)
    posts(quiet_town, 19)
    tuesday = MONDAY + timedelta(days=1)
    corrected = run(quiet_town, bundle, tuesday)
    assert (corrected.edition, corrected.revision, corrected.queued) == ("correction", 2, RECIPIENTS)
    assert corrected.subject.startswith("【更正】")
    body = (corrected.folder / "weekly.txt").read_text(encoding="utf-8")
    assert "更正：本期为第2版，取代11月23日 08:07发出的版本。" in body
    assert "帖文 3→4" in body
    assert run(quiet_town, bundle, tuesday).queued == ()
    assert len(mails(quiet_town)) == 4


def test_a_report_that_was_never_sent_is_replaced_without_a_correction(
    quiet_town: Database, bundle: Bundle
) -> None:
    run(quiet_town, bundle, send=False)
    posts(quiet_town, 19)
    second = run(quiet_town, bundle)
    assert (second.edition, second.revision) == ("first", 2)
    assert "更正" not in second.subject


def test_a_waiting_mail_keeps_its_own_pictures(quiet_town: Database, bundle: Bundle) -> None:
    run(quiet_town, bundle)
    (old, *_) = mails(quiet_town)
    pictures = {part["path"]: Path(part["path"]).read_bytes() for part in old.message["inline"]}
    posts(quiet_town, 19, 19, 20)
    run(quiet_town, bundle, MONDAY + timedelta(days=1))
    assert len(pictures) == 2
    assert {path: Path(path).read_bytes() for path in pictures} == pictures


def test_deleted_posts_do_not_correct_an_old_report(quiet_town: Database, bundle: Bundle) -> None:
    sent = run(quiet_town, bundle)
    with quiet_town.transaction() as session:
        session.execute(text("DELETE FROM post"))
    much_later = MONDAY + timedelta(days=bundle.settings.privacy.post_days + 1)
    again = run(quiet_town, bundle, much_later)
    assert (again.queued, again.new_revision, again.summary) == ((), False, sent.summary)


def test_a_source_entered_later_corrects_no_earlier_week(
    quiet_town: Database, bundle: Bundle, tmp_path: Path
) -> None:
    run(quiet_town, bundle)
    listed = tmp_path / "city" / "sources.yaml"
    entries = listed.read_text(encoding="utf-8")
    listed.write_text(
        entries + entries.removeprefix("sources:\n").replace("id: ", "id: second-"), encoding="utf-8"
    )
    again = run(quiet_town, bundle_in(tmp_path / "city", keep_sources=True))
    assert (again.queued, again.edition, again.new_revision) == ((), "first", False)


def test_a_running_week_is_sent_once_as_a_preview_then_in_full(quiet_town: Database, bundle: Bundle) -> None:
    preview = run(quiet_town, bundle, at(18, "12:00"))
    assert (preview.edition, preview.queued) == ("preview", RECIPIENTS)
    assert preview.subject.startswith("【阶段】")
    assert run(quiet_town, bundle, at(18, "13:00")).queued == ()
    full = run(quiet_town, bundle)
    assert (full.edition, full.queued) == ("final", RECIPIENTS)
    assert "取代11月18日 12:00发出的阶段版" in (full.folder / "weekly.txt").read_text(encoding="utf-8")
    assert run(quiet_town, bundle).queued == ()


# --- the scheduler's question ----------------------------------------------------------------------------------


def due(db: Database, bundle: Bundle, now: datetime) -> str | None:
    with db.reading() as session:
        return due_period(session, bundle.settings, "weekly", now)


def test_it_is_due_at_its_time_and_until_it_was_sent(quiet_town: Database, bundle: Bundle) -> None:
    assert due(quiet_town, bundle, MONDAY - timedelta(minutes=1)) is None
    assert due(quiet_town, bundle, MONDAY) == WEEK
    run(quiet_town, bundle, send=False)
    assert due(quiet_town, bundle, MONDAY) == WEEK
    run(quiet_town, bundle)
    assert due(quiet_town, bundle, MONDAY) is None
    assert due(quiet_town, bundle, MONDAY + timedelta(days=7)) == "2026-W48"


def test_a_machine_that_slept_on_monday_sends_on_thursday(quiet_town: Database, bundle: Bundle) -> None:
    thursday = MONDAY + timedelta(days=3)
    summary = job.run_due(quiet_town, bundle, KEYS, thursday)
    assert summary is not None
    assert summary.period == WEEK
    assert job.run_due(quiet_town, bundle, KEYS, thursday) is None


def test_a_preview_does_not_count_as_the_report(quiet_town: Database, bundle: Bundle) -> None:
    run(quiet_town, bundle, at(18, "12:00"))
    assert due(quiet_town, bundle, MONDAY) == WEEK


def test_without_recipients_it_is_written_once(quiet_town: Database, tmp_path: Path) -> None:
    nobody = bundle_in(tmp_path / "nobody", recipients=())
    assert job.run_due(quiet_town, nobody, KEYS, MONDAY) is not None
    assert job.run_due(quiet_town, nobody, KEYS, MONDAY) is None
    assert mails(quiet_town) == []


def test_sending_is_on_the_record(quiet_town: Database, bundle: Bundle) -> None:
    run(quiet_town, bundle)
    run(quiet_town, bundle)
    with quiet_town.reading() as session:
        acts = session.execute(text("SELECT payload FROM incident_event WHERE kind = 'report_sent'")).all()
    assert len(acts) == 1
    assert '"recipients":2' in acts[0][0].replace(" ", "")


# --- the mail --------------------------------------------------------------------------------------------------


def test_the_mail_stands_alone(quiet_town: Database, bundle: Bundle) -> None:
    run(quiet_town, bundle)
    row = mails(quiet_town)[0]
    message = row.message
    page = message["html"]
    assert "<style" not in page
    assert "<script" not in page
    assert "<link" not in page
    assert re.findall(r'(?:src|href)="(?!cid:)[^"]*"', page) == []
    used = {source.removeprefix("cid:") for source in re.findall(r'src="(cid:[^"]+)"', page)}
    assert used == {part["cid"] for part in message["inline"]}
    assert all(len(alt) > 10 for alt in re.findall(r'<img[^>]*alt="([^"]*)"', page))
    assert "采集公开帖文3条" in message["text"]


def test_the_whole_mail_is_below_one_megabyte_and_holds_text_and_pictures(
    quiet_town: Database, bundle: Bundle
) -> None:
    run(quiet_town, bundle)
    row = mails(quiet_town)[0]
    content = compose(
        Mail(
            outbox_id=row.id,
            recipient=row.recipient,
            sender="quansheng@example.invalid",
            subject=row.message["subject"],
            text=row.message["text"],
            date=MONDAY,
            html=row.message["html"],
            inline=[Inline(part["cid"], Path(part["path"])) for part in row.message["inline"]],
        )
    ).as_bytes()
    assert len(content) < 1_000_000
    read = BytesParser(policy=policy.default).parsebytes(content)
    kinds = [part.get_content_type() for part in read.walk()]
    assert kinds.count("image/png") == 2
    assert {"text/plain", "text/html"} <= set(kinds)


def test_a_title_cannot_break_out_of_the_page(db: Database, bundle: Bundle, tmp_path: Path) -> None:
    source = (tmp_path / "city" / "sources.yaml").read_text(encoding="utf-8")
    (tmp_path / "city" / "sources.yaml").write_text(
        source.replace("社区公告栏", "<script>alert(1)</script>"), encoding="utf-8"
    )
    run(db, bundle_in(tmp_path / "city", keep_sources=True))
    page = mails(db)[0].message["html"]
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_same_figures_draw_the_same_picture() -> None:
    def draw(posts: int) -> tuple[bytes, bytes]:
        return (
            days_chart(["一"], [(1, 2, 0)], [posts], [2], ("负面", "中性", "正面", "未研判", "上周")),
            pairs_chart(["住房", "就学"], [posts, 1], [2, 3], ("本周", "上周")),
        )

    assert draw(3) == draw(3)
    assert draw(3)[0] != draw(4)[0]
    assert all(picture.startswith(b"\x89PNG") for picture in draw(3))


# --- words -----------------------------------------------------------------------------------------------------


def texts_in_use() -> set[str]:
    found: set[str] = set()
    for path in sorted((ROOT / "reports").rglob("*")):
        method = {".py": "python", ".html": "jinja2.ext:babel_extract"}.get(path.suffix)
        if method:
            with path.open("rb") as stream:
                found |= {str(entry[1]) for entry in extract(method, stream, keywords={"_": None})}
    return found


def test_every_text_has_an_english_one_and_none_is_left_over() -> None:
    english = catalogue("reports", "en")
    assert english is not None
    known = {str(message.id): str(message.string) for message in english if message.id}
    used = texts_in_use()
    assert len(used) > 80
    assert used - known.keys() == set()
    assert known.keys() - used == set()
    assert [key for key, value in known.items() if not value.strip()] == []


def test_both_languages_fill_the_same_places() -> None:
    english = catalogue("reports", "en")
    assert english is not None

    def places(template: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(template) if name}

    assert [
        str(message.id)
        for message in english
        if message.id and places(str(message.id)) != places(str(message.string))
    ] == []


def test_the_reason_says_only_what_the_event_holds() -> None:
    assert detection_reason({}, "zh_CN") == ""
    burst = {
        "window_h": 2,
        "posts": 32,
        "voices": 29,
        "expected": 3.1,
        "negative": 28,
        "sources": 4,
        "p": 1e-9,
    }
    assert detection_reason(burst, "zh_CN") == "2小时内29人发帖32条，平常应有3.1人，其中负面28条，4个信源"
    assert detection_reason(burst, "en").startswith("32 posts from 29 authors in 2 h, usually 3.1 authors")
    assert detection_reason({"window_h": 72, "posts": 9, "voices": 8}, "zh_CN") == "3天内8人发帖9条"
    fast = {"words": [{"word": "呕吐", "clause": "孩子呕吐"}, {"word": "呕吐"}, {"word": "就医"}]}
    assert detection_reason(fast, "zh_CN") == "一条帖文说到“呕吐”、“就医”"
    assert detection_reason({"sentence_zh": "另一种通道。", "x": 1}, "zh_CN") == "另一种通道"
    # more negative posts than posts: not said
    assert "负面" not in detection_reason(burst | {"negative": 99}, "zh_CN")


def test_a_report_that_cannot_be_written_is_told_with_its_place(quiet_town: Database, bundle: Bundle) -> None:
    blocked = bundle.settings.data_path / "reports"
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("a file where the folder should be")
    with pytest.raises(Problem, match="cannot be written"):
        run(quiet_town, bundle)
    blocked.unlink()
    assert run(quiet_town, bundle).files
