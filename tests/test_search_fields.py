"""Fields of the query language: both names, both databases, both kinds of things, and mistakes told at their place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text as sql

from console import words
from incidents import fields, judgements
from incidents.fields import PLAIN, names_of
from incidents.posts import NewPost, save_posts
from incidents.querylang import Facts, Field, QueryError, When, parse
from incidents.search import PostFilter, search_incidents, search_posts
from incidents.session import Database
from tests.console_world import jinan

NOW = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)
NAMES = names_of(jinan(), NOW)
FORUM, MAYOR = (source.id for source in jinan().sources[:2])
#: text, source, domain, tone, risk, districts, posted
ROWS: tuple[tuple[str, str, str, str, int, list[str], str], ...] = (
    ("停水第一天", FORUM, "services", "neg", 2, ["历下区"], "2026-03-01T15:59:59"),
    ("停水第二天", FORUM, "services", "neg", 1, ["历下区", "市中区"], "2026-03-01T16:00:00"),
    ("食堂停水", MAYOR, "schooling", "neu", 3, ["市中区"], "2026-03-05T02:00:00"),
    ("停电公告", MAYOR, "services", "pos", 0, [], "2026-03-09T16:00:00"),
    ("没有研判的停水", FORUM, "", "", 0, [], "2026-03-10T01:00:00"),
)


@pytest.fixture
def city(any_db: Database, post: Callable[..., NewPost]) -> Database:
    """Five posts; the first two belong to an incident that was merged into another, the third to a watched group."""
    with any_db.transaction() as session:
        saved = save_posts(
            session,
            [
                post(row[0], source_id=row[1], published_at=datetime.fromisoformat(f"{row[6]}+00:00"))
                for row in ROWS
            ],
        )
        judged = [
            judgements.NewJudgement(
                id_, row[2], 0.9, row[3], 0.8, 0.2, True, 0.7, row[4], 0.3, "test-1", districts=row[5]
            )
            for id_, row in zip(saved.ids, ROWS, strict=True)
            if row[2]
        ]
        judgements.save_judgements(session, judged, NOW)
        made = [
            judgements.open_watching(
                session, title=title, domain="services", district="历下区", first_posted_at=NOW, sketch={}
            )
            for title in ("历下停水", "又一处停水", "食堂停水")
        ]
        for number, (incident, at) in enumerate(((made[1], 0), (made[1], 1), (made[2], 2))):
            judgements.add_post(
                session,
                incident,
                saved.ids[at],
                similarity=1,
                voice=True,
                published_at=NOW + timedelta(minutes=number),
                negative=True,
                now=NOW,
            )
        session.execute(
            sql(
                "UPDATE incident SET state = 'assigned', level = 'major', department = 'education', number = 'QS-2026-000001',"
                " detected_at = :at WHERE id = :id"
            ),
            {
                "id": made[0],
                "at": "2026-03-02 00:00:00+00:00" if not any_db.is_sqlite else "2026-03-02 00:00:00.000000",
            },
        )
        session.execute(
            sql("UPDATE incident SET state = 'merged', parent_id = :p WHERE id = :c"),
            {"p": made[0], "c": made[1]},
        )
    return any_db


OF_POSTS: tuple[tuple[str, set[int]], ...] = (
    ("领域:政务服务", {0, 1, 3}),
    ("domain:services", {0, 1, 3}),
    ("domain：“public services” | 领域:就学", {0, 1, 2, 3}),
    ("领域:就学、政务服务", {0, 1, 2, 3}),
    ("区县:历下", {0, 1}),
    ("district:市中区 停水", {1, 2}),
    (f"信源:“{jinan().sources[0].name}”", {0, 1, 4}),
    (f"source:{MAYOR}", {2, 3}),
    ("情绪:负面", {0, 1}),
    ("tone:未研判", {4}),
    ("风险:>=2", {0, 2}),
    ("risk:高", {2}),
    ("risk:1..2", {0, 1}),
    ("风险:1+", {0, 1, 2}),
    ("-情绪:负面", {2, 3, 4}),
    ("状态:交办", {0, 1}),
    ("level:major", {0, 1}),
    ("部门:市教育局 -第二", {0}),
    ("日期:2026-03-01", {0}),
    ("date:2026-03-02", {1}),
    ("日期:2026-03-02..2026-03-05", {1, 2}),
    ("日期:2026年3月", {0, 1, 2, 3, 4}),
    ("日期:2026", {0, 1, 2, 3, 4}),
    ("since:2026-03-10", {3, 4}),
    ("截至:2026-03-01", {0}),
    ("date:>2026-03-05", {3, 4}),
    ("日期:今天", {3, 4}),
    ("日期:近2小时", {4}),
    ("停电 | 领域:就学", {2, 3}),
    ("(停水 -领域:就学) | 停电", {0, 1, 3, 4}),
    ("-(停水 领域:政务服务)", {2, 3, 4}),
    ("“水第” | 情绪:正面", {0, 1, 3}),
    ("(“第，一” | 停 ~3 天) 情绪:负面", {0, 1}),
    ("(“第一，” | 情绪:正面) 停", {3}),
    ("(食堂 ~2 停水 | 情绪:正面) -x", {2, 3}),
)


def test_fields_of_posts(city: Database) -> None:
    for query, wanted in OF_POSTS:
        asked = parse(query, NAMES)
        with city.reading() as session:
            hits = search_posts(session, asked)
            further = search_posts(session, asked, counts=False)
            capped = search_posts(session, asked, cap=2)
        assert {row.text for row in hits.rows} == {ROWS[at][0] for at in wanted}, query
        assert hits.total == len(wanted), query
        assert further.rows == hits.rows, query
        assert (capped.total, capped.capped) == (min(len(wanted), 2), len(wanted) > 2), query
        assert capped.rows == hits.rows, query


OF_INCIDENTS: tuple[tuple[str, list[str]], ...] = (
    ("状态:交办", ["历下停水"]),
    ("等级:重大 停水", ["历下停水"]),
    ("部门:education", ["历下停水"]),
    ("停水 | 状态:关注", ["食堂停水", "又一处停水", "历下停水"]),
    ("状态:并入", ["又一处停水"]),
    ("领域:政务服务 -又", ["历下停水"]),
    ("日期:2026-03-02 -又", ["历下停水"]),
    ("日期:2026-03-03", []),
    # of what was merged into it
    ("风险:2 -又", ["历下停水"]),
    ("信源:" + MAYOR + " 状态:关注", ["食堂停水"]),
    ("情绪:中性 -状态:关注", []),
)


def test_fields_of_incidents(city: Database) -> None:
    for query, wanted in OF_INCIDENTS:
        with city.reading() as session:
            hits = search_incidents(session, parse(query, NAMES))
        assert [row.title for row in hits.rows] == wanted, query
        assert sum(hits.facets["state"].values()) == hits.total == len(hits.instants), query


def test_filters_are_the_same_as_fields(city: Database) -> None:
    pairs = (
        (PostFilter(risk="2"), "风险:2"),
        (PostFilter(state="assigned"), "状态:交办"),
        (PostFilter(level="major", tone="neg"), "等级:重大 情绪:负面"),
        (PostFilter(since=NOW - timedelta(microseconds=1)), "since:2027"),
    )
    with city.reading() as session:
        for filters, query in pairs:
            by_field = search_posts(session, parse(query, NAMES))
            assert search_posts(session, "", filters=filters).rows == by_field.rows
        assert search_posts(session, "", filters=PostFilter(up_to_id=2)).total == 2


@pytest.mark.parametrize(
    ("query", "position", "says"),
    [
        ("停水 领域:注房", 6, "“注房”不是字段“领域”的值，您可能要写“住房”"),
        ("停水 情绪:", 6, "字段“情绪”后面缺少要查的值"),
        ("情绪:负面、坏", 6, "“坏”不是字段“情绪”的值，可以写：负面、中性、正面、未研判"),
        ("风险:5", 3, "“5”不是风险等级"),
        ("风险:>=x", 3, "“>=x”不是风险等级"),
        ("日期:2026-13", 3, "日期“2026-13”看不懂"),
        ("日期:2026-03-01..2026-02-30", 15, "日期“2026-02-30”看不懂"),
        ("停水 domian:services", 3, "没有“domian”这个字段，可以用：领域、区县"),
        ("区县:历下 信源:“没有的”", 10, "“没有的”不是字段“信源”的值"),
        ("部门:“没配对", 3, "引号没有配对"),
        ("医院 ~3 领域:住房", 3, "不能是括号或字段"),
    ],
)
def test_a_wrong_field_is_told_where_it_is_wrong(query: str, position: int, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(query, NAMES)
    assert caught.value.position == position
    assert says in caught.value.message_zh


@pytest.mark.parametrize("query", ["12:30", "通知：停水", "http://a.example/x", "https://b.example"])
def test_what_only_looks_like_a_field_is_a_word(query: str) -> None:
    assert parse(query, NAMES).node == parse(f"“{query}”").node


def test_without_a_configuration_values_stand_for_themselves() -> None:
    assert parse("信源:x 领域:住房").node == parse("source:x domain:housing").node
    with pytest.raises(QueryError):
        parse("日期:近7天", PLAIN)
    assert parse("日期:近7天", NAMES).node == When(int(NOW.timestamp()) - 7 * 86400, int(NOW.timestamp()) + 1)


def test_the_meaning_needs_no_index() -> None:
    query = parse("停水 领域:住房 -风险:3", NAMES)
    assert query.matches("", "停水", Facts({"domain": ("housing",), "risk": ("1",)}))
    assert not query.matches("", "停水", Facts({"domain": ("housing",), "risk": ("3",)}))
    assert not query.matches("", "停水")
    assert parse("情绪:未研判").node == Field("tone", ("",))


def test_values_are_called_as_on_the_pages() -> None:
    for name, table in (
        ("state", words.STATES),
        ("tone", words.TONES),
        ("level", words.LEVELS),
        ("risk", words.RISKS),
    ):
        for code, shown in table.items():
            assert PLAIN.known[name][shown] == str(code), (name, shown)
    assert len(fields.FIELD_OF) == sum(map(len, fields.FIELDS.values())), "a name stands for two fields"
