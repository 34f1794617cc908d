"""Files in: good rows become posts, bad rows are set aside with file, row, field and reason, twice changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import openpyxl
import pytest

from config.settings import ConfigError
from incidents.posts import NewPost, list_quarantine, unjudged
from incidents.session import Database
from spiders.importer import BadRow, UnreadableFile, import_file, read_posts, retry_set_aside
from spiders.profiles import Profile, load_profile

KEY = b"k" * 32
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
HEADER = "工单编号,来电时间,诉求内容,区县,街道,联系电话,姓名"


def write(folder: Path, name: str, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes("\r\n".join(lines).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_work_orders_of_any_usual_encoding_go_in(db: Database, tmp_path: Path, encoding: str) -> None:
    path = write(
        tmp_path,
        "a.csv",
        HEADER,
        "G1,2026-11-20 09:30,停水三天，电话13812345678,历下区,泉城路街道,13812345678,张三",
        encoding=encoding,
    )
    report = import_file(db, path, None, KEY, NOW)
    assert (report.rows, report.saved, report.bad) == (1, 1, 0)
    with db.reading() as session:
        row = unjudged(session, 10)[0]
    assert row.text == "停水三天，电话[手机号]"
    assert row.published_at == datetime(2026, 11, 20, 1, 30, tzinfo=UTC)
    assert row.place_hint == "历下区 泉城路街道"
    assert "张三" not in repr(row)


def test_bad_rows_are_set_aside_and_good_ones_go_in(db: Database, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "a.csv",
        HEADER,
        "G1,2026-11-20 09:30,停水,历下区,,,",
        "G2,什么时候,停电,历下区,,13912345678,李四",
        "G3,2026-11-20,,历下区,,,",
        "G4,2026-11-20,噪音,扰民,历下区,,13912345678,李四",
        "G5,2027-01-01,停暖,历下区,,,",
        "G1,2026-11-20 09:30,别的内容,历下区,,,",
        "G6,2026-11-21,油烟,历下区,,,",
    )
    report = import_file(db, path, None, KEY, NOW)
    assert (report.rows, report.saved, report.bad) == (7, 2, 5)
    told = [(bad.row, bad.field) for bad in report.bad_rows]
    assert told == [(3, "来电时间"), (4, "诉求内容"), (5, ""), (6, "来电时间"), (7, "工单编号")]
    assert "'什么时候' is no time" in report.bad_rows[0].sentence()
    assert "8 values for 7 columns" in report.bad_rows[2].reason
    assert "future" in report.bad_rows[3].reason
    assert "row 2 has the same id" in report.bad_rows[4].reason
    with db.reading() as session:
        aside = list_quarantine(session)
    assert len(aside) == 5
    assert {entry.origin for entry in aside} == {"a.csv"}
    assert not any(secret in repr(aside) for secret in ("13912345678", "李四"))


def test_importing_twice_changes_nothing(any_db: Database, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "a.csv",
        HEADER,
        "G1,2026-11-20,停水,历下区,,,",
        "G2,2026-11-20,,历下区,,,",
        ",2026-11-20,没有编号,历下区,,,",
    )
    assert import_file(any_db, path, None, KEY, NOW).saved == 2
    again = import_file(any_db, path, None, KEY, NOW)
    assert (again.saved, again.repeats, again.bad) == (0, 2, 1)
    with any_db.reading() as session:
        assert len(list_quarantine(session)) == 1


def test_a_dry_run_writes_nothing(db: Database, tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", HEADER, "G1,2026-11-20,停水,历下区,,,", "G2,x,停水,历下区,,,")
    report = import_file(db, path, None, KEY, NOW, dry_run=True)
    assert (report.saved, report.bad) == (1, 1)
    with db.reading() as session:
        assert unjudged(session, 10) == []
        assert list_quarantine(session) == []


def test_progress_comes_to_the_end(db: Database, tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", HEADER, *(f"G{n},2026-11-20,停水{n},历下区,,," for n in range(900)))
    seen: list[tuple[int, float]] = []
    import_file(db, path, None, KEY, NOW, progress=lambda rows, share: seen.append((rows, share)))
    assert [rows for rows, _ in seen] == [400, 800, 900]
    assert seen[-1][1] == 1.0


def test_a_workbook_with_a_title_line_and_true_dates(db: Database, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["济南市12345工单导出"])
    sheet.append(HEADER.split(","))
    sheet.append(
        [
            20261120001,
            datetime(2026, 11, 20, 9, 30, tzinfo=UTC).replace(tzinfo=None),
            "暖气不热",
            "历下区",
            "",
            13812345678,
            "张三",
        ]
    )
    sheet.append([20261120002, "昨天 08:00", None, "历下区", "", None, None])
    book.save(tmp_path / "a.xlsx")
    report = import_file(db, tmp_path / "a.xlsx", None, KEY, NOW)
    assert (report.saved, report.bad, report.bad_rows[0].row) == (1, 1, 4)
    posts = [p for p in read_posts(tmp_path / "a.xlsx", KEY, NOW) if isinstance(p, NewPost)]
    assert posts[0].external_id == "20261120001"
    assert posts[0].published_at == datetime(2026, 11, 20, 1, 30, tzinfo=UTC)


def test_json_lines_of_the_stream_kind(tmp_path: Path) -> None:
    good = {
        "id": "7",
        "published_at": "2026-11-20T09:30:00+08:00",
        "author": "647c",
        "title": "停水",
        "text": "停水三天",
        "likes": 3,
        "dislikes": 1,
    }
    other = {"id": 8, "time": "2026-11-20 10:00", "content": "停电了", "source": "微博", "点赞": "5"}
    path = write(
        tmp_path,
        "a.jsonl",
        json.dumps(good, ensure_ascii=False),
        "{broken",
        "[1]",
        "",
        json.dumps(other, ensure_ascii=False),
    )
    found = list(read_posts(path, KEY, NOW))
    first, broken, array, second = found
    assert isinstance(first, NewPost)
    assert isinstance(second, NewPost)
    assert (first.external_id, first.engagement) == ("7", {"likes": 3, "dislikes": 1})
    assert first.author_key is not None
    assert (second.source_id, second.external_id, second.engagement) == ("微博", "8", {"likes": 5})
    assert isinstance(broken, BadRow)
    assert (broken.row, "not JSON" in broken.reason) == (2, True)
    assert isinstance(array, BadRow)
    assert array.row == 3


def test_own_columns_by_a_profile(db: Database, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "name: vendor\nsource_id: vendor\ncolumns:\n  id: [编码]\n  text: [正文内容]\n", "utf-8"
    )
    path = write(tmp_path, "a.csv", "编码,正文内容", "1,停水")
    assert import_file(db, path, load_profile(tmp_path / "p.yaml"), KEY, NOW).saved == 1
    with db.reading() as session:
        assert unjudged(session, 1)[0].source_id == "vendor"


@pytest.mark.parametrize(
    ("profile", "expectation"),
    [
        ("name: v\ncolumns: {text: [a], colour: [b]}", "colour"),
        ("name: v\ncolumns: {id: [a]}", "text"),
        ("name: v\ntimezone: Mars\ncolumns: {text: [a]}", "zone"),
        ("name: v\nencoding: klingon\ncolumns: {text: [a]}", "encoding"),
        ("columns: {text: [a]}", "name"),
    ],
)
def test_a_wrong_profile_is_told(tmp_path: Path, profile: str, expectation: str) -> None:
    (tmp_path / "p.yaml").write_text(profile, "utf-8")
    with pytest.raises(ConfigError, match=expectation):
        load_profile(tmp_path / "p.yaml")


def test_unreadable_files_are_told_in_one_sentence(db: Database, tmp_path: Path) -> None:
    cases = {
        "none.csv": None,
        "kind.pdf": b"%PDF",
        "noheader.csv": "甲,乙\r\n1,2\r\n".encode(),
        "bytes.csv": b"\xff\xff\x00\x80" * 10,
        "broken.xlsx": b"PK\x03\x04 no workbook",
        "broken.json": b"[1, 2",
        "empty.csv": b"",
    }
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableFile, match=name.replace(".", r"\.")):
            import_file(db, tmp_path / name, None, KEY, NOW)


def test_a_set_aside_row_goes_in_when_the_profile_is_corrected(any_db: Database, tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", HEADER, "G1,24/11/20 什么,停水,历下区,,,")
    strict = load_profile()
    assert import_file(any_db, path, strict, KEY, NOW).bad == 1
    assert retry_set_aside(any_db, strict, KEY, NOW).saved == 0
    lenient = Profile.model_validate(
        {**strict.model_dump(), "columns": {"id": ["工单编号"], "text": ["诉求内容"]}}
    )
    again = retry_set_aside(any_db, lenient, KEY, NOW)
    assert (again.tried, again.saved, again.still_bad) == (1, 1, ())
    with any_db.reading() as session:
        assert list_quarantine(session) == []
        assert unjudged(session, 5)[0].text == "停水"


def test_a_row_without_time_is_kept_with_the_time_of_reading(tmp_path: Path) -> None:
    found = next(read_posts(write(tmp_path, "a.csv", "id,text", "1,停水"), KEY, NOW))
    assert isinstance(found, NewPost)
    assert (found.published_at, found.published_estimated) == (NOW, True)


def test_another_text_under_a_known_id_is_set_aside_and_not_lost(any_db: Database, tmp_path: Path) -> None:
    # exports that number their rows 1, 2, 3 anew each week
    import_file(any_db, write(tmp_path, "w1.csv", "id,内容", "1,停水三天", "2,噪音扰民"), None, KEY, NOW)
    again = write(tmp_path, "w2.csv", "id,内容", "1,食堂饭菜变质", "2,噪音扰民", "3,路灯不亮")
    told = import_file(any_db, again, None, KEY, NOW, dry_run=True)
    report = import_file(any_db, again, None, KEY, NOW)
    assert (report.saved, report.repeats, report.bad) == (1, 1, 1)
    assert told.bad == 1
    assert report.bad_rows[0].row == 2
    assert "is known already" in report.bad_rows[0].sentence()
    with any_db.reading() as session:
        assert list_quarantine(session)[0].payload["内容"] == "食堂饭菜变质"
    import_file(any_db, again, None, KEY, NOW)
    with any_db.reading() as session:
        assert len(list_quarantine(session)) == 1


def test_days_at_the_edge_of_the_calendar_are_bad_rows(db: Database, tmp_path: Path) -> None:
    path = write(
        tmp_path, "a.csv", "id,内容,时间", "1,甲,0001-01-01", "2,乙,9999-12-31 23:59:59", "3,丙,2026-11-20"
    )
    report = import_file(db, path, None, KEY, NOW)
    assert (report.saved, report.bad) == (1, 2)
    assert "is no time" in report.bad_rows[0].reason
    assert "future" in report.bad_rows[1].reason


def test_half_characters_and_nul_do_not_stop_an_import(db: Database, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "a.jsonl",
        '{"id": "n\\u0000\\ud800", "text": "食堂\\ud83d停业\\u0000", "author": "\\ud800", "time": "\\ud800"}',
        '{"id": "b", "text": "食堂\\ud83d停业", "author": "\\ud800", "place": "\\udfff"}',
    )
    report = import_file(db, path, None, KEY, NOW)
    assert (report.saved, report.bad) == (1, 1)
    report.bad_rows[0].sentence().encode()


def test_one_damaged_line_of_json_lines_costs_that_line_only(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        '{"id":"1","text":"停水"}\n'.encode() + b"\xff\xfe\n" + '{"id":"3","text":"停电"}\n'.encode()
    )
    report = import_file(db, path, None, KEY, NOW)
    assert (report.saved, report.bad) == (2, 1)
    assert report.bad_rows[0].row == 2


def test_a_line_without_end_costs_that_line_only(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text":"' + b"a" * 25_000_000 + b'"}\n' + '{"id":"2","text":"停电"}\n'.encode())
    report = import_file(db, path, None, KEY, NOW)
    assert (report.rows, report.saved, report.bad) == (2, 1, 1)
    assert "longer than 10 MB" in report.bad_rows[0].reason


def test_a_very_long_text_is_cut_between_words_and_still_redacted(db: Database, tmp_path: Path) -> None:
    body = "停水，电话13812345678。" * 500_000
    path = write(tmp_path, "a.csv", "id,内容", f"1,{body}")
    assert import_file(db, path, None, KEY, NOW).saved == 1
    with db.reading() as session:
        row = unjudged(session, 1)[0]
    assert len(row.text) == 20_000
    assert "138" not in row.text


def test_a_quotation_mark_that_is_never_closed_is_told(db: Database, tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "id,内容", '1,"有引号,也有逗号"', '2,"没有结尾', "3,后面一行", "4,又一行")
    report = import_file(db, path, None, KEY, NOW)
    assert (report.saved, report.bad) == (1, 1)
    assert report.bad_rows[0].row == 3
    assert "the 2 lines after it were not read" in report.bad_rows[0].reason
    whole = write(tmp_path, "b.csv", "id,内容", '5,"两行', '的内容"')
    assert import_file(db, whole, None, KEY, NOW).saved == 1


def test_unicode_text_of_excel_goes_in(db: Database, tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "id\t内容", "1\t停水三天", encoding="utf-16")
    assert import_file(db, path, None, KEY, NOW).saved == 1


def test_an_empty_file_is_called_empty(db: Database, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(UnreadableFile, match="is empty"):
        import_file(db, tmp_path / "a.csv", None, KEY, NOW)


def test_a_row_whose_id_belongs_to_another_post_is_not_lost_when_it_is_tried_again(
    db: Database, tmp_path: Path
) -> None:
    for name, text in (("a.csv", "停水三天"), ("b.csv", "路灯不亮")):
        (tmp_path / name).write_text(f"工单编号,诉求内容\nG1,{text}\n", "utf-8")
        import_file(db, tmp_path / name, None, KEY, NOW)
    again = retry_set_aside(db, None, KEY, NOW)
    assert (again.tried, again.saved, len(again.still_bad)) == (1, 0, 1)
    assert "another text is known already" in again.still_bad[0]
    with db.reading() as session:
        (entry,) = list_quarantine(session)
    assert entry.payload["诉求内容"] == "路灯不亮"
