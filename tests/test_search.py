"""Search finds exactly what the text holds, on both databases, and says in Chinese where a query is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text as sql

from incidents import judgements
from incidents import search as search_module
from incidents.grams import body_of, comparable, grams, spellings
from incidents.hanzi import SIMPLIFIED
from incidents.index import rebuild_index, remove_from_index
from incidents.migrate import upgrade
from incidents.posts import NewPost, save_posts
from incidents.querylang import And, Near, Not, Or, Term
from incidents.search import PostFilter, QueryError, parse, search_incidents, search_posts
from incidents.session import Database

#: the migration before the one that made traditional and simplified hanzi equal
BEFORE_FOLDING = "0027"
T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
#: few characters, so that random texts and queries meet often: hanzi (one beyond U+FFFF, one of Unicode 15),
#: full and half width, capitals, punctuation, spaces, emoji, and characters special to SQL, FTS5 and patterns
ALPHABET = "停水电電济濟南发發髮\U00020000\U000323afaAＡb1１é，。,.?*%_'\\^-| \n　😀🈳(["
texts = st.text(ALPHABET, max_size=24)
words = st.text(ALPHABET, min_size=1, max_size=8)
PROPERTY = settings(
    max_examples=60,
    deadline=None,
    # the database is emptied by hand for every example
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def fill(database: Database, posts: Sequence[tuple[str, str]]) -> dict[int, tuple[str, str]]:
    """Store these (title, text) pairs in an emptied database; by id."""
    with database.transaction() as session:
        session.execute(sql("DELETE FROM post"))
        rebuild_index(session)
        new = [
            NewPost("s", f"e{n}", "", title, body, T0, False, T0, None)
            for n, (title, body) in enumerate(posts)
        ]
        saved = save_posts(session, new)
        assert saved.saved == len(posts)
    return dict(zip(saved.ids, posts, strict=True))


def found(database: Database, query: str) -> set[int]:
    with database.reading() as session:
        hits = search_posts(session, query, limit=1000)
        # a further page takes another way to the same posts
        assert search_posts(session, query, limit=1000, counts=False).rows == hits.rows
    assert hits.total == len(hits.rows)
    assert sum(count for _, count in hits.timeline) == hits.total
    return {row.id for row in hits.rows}


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("學校食堂", "学校"),
        ("学校食堂", "學校"),
        ("頭髮", "发"),
        ("發電", "发电"),
        ("裡面", "裏面"),
        ("臺灣", "台湾"),
        ("學校", "學校"),
    ],
)
def test_traditional_and_simplified_find_one_another(any_db: Database, written: str, asked: str) -> None:
    stored = fill(any_db, [("", written), (written, ""), ("", "今天天气好")])
    assert found(any_db, asked) == set(sorted(stored)[:2])
    assert found(any_db, f"-{asked}") == set(sorted(stored)[2:])
    with any_db.transaction() as session:
        # forgotten by the same tokens by which it was found
        remove_from_index(session, sorted(stored)[:1])
        session.execute(sql("DELETE FROM post WHERE id = :id"), {"id": min(stored)})
    assert found(any_db, asked) == {sorted(stored)[1]}


def test_an_index_from_before_is_written_anew_when_the_house_is_brought_up_to_date(
    any_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("incidents.grams.SIMPLIFIED", {})
        stored = fill(any_db, [("", "學校食堂"), ("", "学校食堂"), ("", "暖氣")])
    assert found(any_db, "食堂 学校") == {sorted(stored)[1]}
    with any_db.transaction() as session:
        session.execute(sql("UPDATE alembic_version SET version_num = :old"), {"old": BEFORE_FOLDING})
    upgrade(any_db.engine)
    assert found(any_db, "食堂 学校") == set(sorted(stored)[:2])
    assert found(any_db, "暖气") == {sorted(stored)[2]}


def test_one_hanzi_stands_for_another_of_one_character_and_for_good() -> None:
    for code, simple in SIMPLIFIED.items():
        assert comparable(chr(code)) == comparable(simple) == simple
        assert len(simple) == 1
        assert chr(code) in (spellings(simple) or chr(code)), chr(code)
    assert comparable("著名的學校與皇后") == "著名的学校与皇后"


@PROPERTY
@given(
    posts=st.lists(st.tuples(st.text(ALPHABET, max_size=6), texts), min_size=1, max_size=12),
    queries=st.lists(words, min_size=1, max_size=6),
)
def test_a_phrase_finds_exactly_the_posts_that_hold_it(
    any_db: Database, posts: list[tuple[str, str]], queries: list[str]
) -> None:
    stored = fill(any_db, posts)
    # also pieces of the stored texts, which surely are somewhere
    queries += [body[at : at + 4] for at, (_, body) in enumerate(posts)]
    for query in queries:
        wanted = comparable(query)
        if not wanted or '"' in query:
            continue
        truth = {
            id_
            for id_, (title, body) in stored.items()
            if wanted in comparable(title) or wanted in comparable(body)
        }
        assert found(any_db, f"“{query}”") == truth, query


terms = st.text("停水电济南aé1，.😀", min_size=1, max_size=3).map(lambda word: f'"{word}"')
queries = st.recursive(
    terms | st.tuples(terms, st.integers(0, 9), terms).map(lambda t: f"{t[0]} ~{t[1]} {t[2]}"),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda t: f"({t[0]}) ({t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]}) | ({t[1]})"),
        inner.map(lambda q: f"-({q})"),
    ),
    max_leaves=5,
)


@PROPERTY
@given(
    posts=st.lists(st.tuples(st.text("停水电aA，", max_size=5), texts), min_size=1, max_size=12),
    asked=st.lists(queries, min_size=1, max_size=5),
)
def test_operators_mean_the_same_in_the_index_as_in_plain_words(
    any_db: Database, posts: list[tuple[str, str]], asked: list[str]
) -> None:
    stored = fill(any_db, posts)
    for query in asked:
        parsed = parse(query)
        truth = {id_ for id_, (title, body) in stored.items() if parsed.matches(title, body)}
        assert found(any_db, query) == truth, query


@pytest.mark.parametrize(
    ("query", "holds", "fails"),
    [
        ("停水 没人管", "停水两天没人管", "停水两天"),
        ("停水 与 没人管", "停水两天没人管", "没人管"),
        ("停水|停电", "停电", "停气"),
        ("停水 或 停电", "停水", "停气"),
        ("停水 -广告", "停水了", "停水广告"),
        ("停水 非 广告", "停水了", "停水广告"),
        ("“没人 管”", "没人  管", "没人管"),
        ("医院 ~3 孩子", "孩子在某医院", "孩子今天不在某医院"),
        ("医院 ~0 孩子", "医院孩子", "医院的孩子"),
        ("济南电", "去济南电站", "济南，南电"),
        ("医院~3 孩子", "医院里的孩子", "医院"),
        ("（停水 ｜ 停电） －历下", "停水市中", "停水历下"),
        ("ＷＩＦＩ", "没有wifi", "没有 wi fi"),
        # traditional and simplified are one character, and so are full and half width
        ("電梯壞", "电梯坏了", "楼梯坏了"),
        ("１２３４５", "打12345", "打1234，5"),
        ("𠀀𣎴", "住𠀀𣎴小区", "住𠀀，𣎴小区"),
        ("r1线", "地铁R1线停运", "地铁R1，线路停运"),
        ("3.5元", "每斤3.5元", "每斤35元"),
    ],
)
def test_the_language(any_db: Database, query: str, holds: str, fails: str) -> None:
    stored = fill(any_db, [("", holds), ("", fails)])
    assert [stored[id_][1] for id_ in found(any_db, query)] == [holds]


def test_precedence_is_not_then_and_then_or() -> None:
    assert parse("a -b|c d").node == Or((And((Term("a"), Not(Term("b")))), And((Term("c"), Term("d")))))
    assert parse("a ~2 b ~3 c").node == And((Near(Term("a"), Term("b"), 2), Near(Term("b"), Term("c"), 3)))
    assert parse(" 　").node is None


@pytest.mark.parametrize(
    ("query", "position", "says"),
    [
        ("停水 “没人管", 3, "第 4 个字：引号没有配对"),
        ("停水 (历下", 3, "第 4 个字：括号没有配对"),
        ("停水)", 2, "第 3 个字：右括号没有配对的左括号"),
        ("()", 1, "第 2 个字：右括号前面缺少词"),
        ("停水 |", 4, "第 5 个字：查询在这里中断"),
        ("| 停水", 0, "第 1 个字：“|”的位置不对"),
        ("停水 | 或 停电", 5, "第 6 个字：“或”的位置不对"),
        ("医院 ~ 孩子 ~101 a", 8, "第 9 个字：“~”后的字数最多为 100"),
        ("(医院 a) ~3 孩子", 7, "第 8 个字：“~”两边只能是词"),
        ("a “ ”", 2, "第 3 个字：短语是空的"),
        ("水" * 501, 500, "查询太长，最多 500 个字"),
        ("a " * 51, 100, "查询的词太多，最多 50 个"),
        ("(" * 30, 20, "括号套得太深，最多 20 层"),
        ("-" * 30 + "a", 20, "括号套得太深，最多 20 层"),
    ],
)
def test_a_wrong_query_is_told_where_it_is_wrong(query: str, position: int, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(query)
    assert caught.value.position == position
    assert says in caught.value.message_zh


@given(st.text("停水a ()（）|｜或与非-~～12“”\"'*:", max_size=20))
def test_any_input_is_understood_or_refused_with_a_place(query: str) -> None:
    position = 0
    try:
        parse(query)
    except QueryError as error:
        position = error.position
    assert 0 <= position <= len(query)


def test_grams_end_at_punctuation() -> None:
    assert grams("停水了，R1 线") == ["停水", "水了", "了", "r1", "1", "线"]


@pytest.fixture
def city(any_db: Database, post: Callable[..., NewPost]) -> Database:
    """Six posts: domains, tones, two sources, districts, and days on both sides of a local midnight."""
    rows = [
        ("停水第一天", "services", "neg", "forum", ["历下区"], "2026-03-01T15:59:00"),
        ("停水第二天", "services", "neg", "forum", ["历下区", "市中区"], "2026-03-01T16:01:00"),
        ("停水停电", "services", "neu", "mayor", [], "2026-03-02T15:00:00"),
        ("食堂停水", "schooling", "neg", "mayor", ["市中区"], "2026-03-02T16:00:00"),
        ("停水公告", "services", "pos", "mayor", ["历下区"], "2026-03-05T02:00:00"),
        ("没有判断的停水", "", "", "forum", [], "2026-03-06T02:00:00"),
    ]
    with any_db.transaction() as session:
        new = [
            post(body, source_id=source, published_at=datetime.fromisoformat(f"{when}+00:00"))
            for body, _, _, source, _, when in rows
        ]
        ids = save_posts(session, new).ids
        items = [
            judgements.NewJudgement(
                id_, domain, 0.9, tone, 0.8, 0.2, True, 0.7, 1, 0.3, "test-1", districts=districts
            )
            for id_, (_, domain, tone, _, districts, _) in zip(ids, rows, strict=True)
            if domain
        ]
        judgements.save_judgements(session, items, T0)
    return any_db


def test_counts_by_facet_and_local_day(city: Database) -> None:
    with city.reading() as session:
        hits = search_posts(session, "停水")
    assert hits.total == 6
    assert hits.facets == {
        "domain": {"services": 4, "": 1, "schooling": 1},
        "tone": {"neg": 3, "": 1, "neu": 1, "pos": 1},
        "source": {"forum": 3, "mayor": 3},
        "district": {"历下区": 3, "市中区": 2},
        "risk": {"1": 5, "0": 1},
    }
    assert hits.timeline == [
        (date(2026, 3, 1), 1),
        (date(2026, 3, 2), 2),
        (date(2026, 3, 3), 1),
        (date(2026, 3, 5), 1),
        (date(2026, 3, 6), 1),
    ]
    assert list(hits.facets["domain"]) == ["services", "", "schooling"]


@pytest.mark.parametrize(
    ("zone", "last", "first"),
    [
        ("Asia/Shanghai", "2026-03-01T15:59", "2026-03-01T16:00"),
        ("Asia/Kathmandu", "2026-03-01T18:14", "2026-03-01T18:15"),
        ("America/St_Johns", "2026-03-02T03:29", "2026-03-02T03:30"),
        ("UTC", "2026-03-01T23:59", "2026-03-02T00:00"),
    ],
)
def test_days_are_those_of_the_zone(
    any_db: Database, post: Callable[..., NewPost], zone: str, last: str, first: str
) -> None:
    with any_db.transaction() as session:
        save_posts(
            session, [post(published_at=datetime.fromisoformat(f"{when}:00+00:00")) for when in (last, first)]
        )
        hits = search_posts(session, "", zone=zone)
    assert hits.timeline == [(date(2026, 3, 1), 1), (date(2026, 3, 2), 1)]


@pytest.mark.parametrize(
    ("wanted", "texts_found"),
    [
        (PostFilter(domain="schooling"), {"食堂停水"}),
        (PostFilter(tone="pos"), {"停水公告"}),
        (PostFilter(source="forum"), {"停水第一天", "停水第二天", "没有判断的停水"}),
        (PostFilter(district="市中区"), {"停水第二天", "食堂停水"}),
        (PostFilter(since=datetime(2026, 3, 5, 2, tzinfo=UTC)), {"停水公告", "没有判断的停水"}),
        (PostFilter(until=datetime(2026, 3, 1, 16, tzinfo=UTC)), {"停水第一天"}),
        (PostFilter(domain="services", district="历下区", tone="neg"), {"停水第一天", "停水第二天"}),
        (PostFilter(incident_id=99), set()),
    ],
)
@pytest.mark.parametrize("query", ["停水", ""])
def test_filters(city: Database, wanted: PostFilter, texts_found: set[str], query: str) -> None:
    with city.reading() as session:
        hits = search_posts(session, query, filters=wanted)
    assert {row.text for row in hits.rows} == texts_found
    assert hits.total == len(texts_found)


@pytest.mark.parametrize("letter", ["的", "白", "正", "車", "食"])
def test_a_hanzi_in_many_posts_is_found_in_their_words_as_in_the_index(
    sqlite_db: Database, post: Callable[..., NewPost], letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # ⽩ and ㊣ and the compatibility forms are made equal to hanzi, or to words that hold them
    texts = [
        "我的",
        "白的",
        "⽩天",
        "㊣版",
        "正的",
        "\uf902",
        "車的",
        "车票",
        "⻝品",
        "食⾷",
        "没有",
        "无",
        "A",
        "\ufa2a",
    ] * 20
    with sqlite_db.transaction() as session:
        save_posts(session, [post(text=text, title=f"{n}") for n, text in enumerate(texts)])
    truth = sum(comparable(letter) in body_of("", text) for text in texts)
    assert truth
    found: dict[float, list[int]] = {}
    for share in (0.0, 1.1):  # always in the words; always in the index
        monkeypatch.setattr(search_module, "_COMMON", share)
        with sqlite_db.reading() as session:
            hits = search_posts(session, letter, limit=500)
            narrowed = search_posts(session, letter, limit=500, filters=PostFilter(up_to_id=100))
        found[share] = [row.id for row in hits.rows]
        assert (hits.total, narrowed.total) == (truth, sum(row.id <= 100 for row in hits.rows))
    assert found[0.0] == found[1.1]


def test_pages_follow_each_other_without_gap_or_repeat(any_db: Database) -> None:
    stored = fill(any_db, [("", f"停水{n}") for n in range(7)])
    seen: list[int] = []
    before = None
    with any_db.reading() as session:
        for _ in range(3):
            hits = search_posts(session, "停水", limit=3, before_id=before, counts=before is None)
            seen += [row.id for row in hits.rows]
            before = hits.next_before_id
    assert seen == sorted(stored, reverse=True)
    assert before is None


def test_posts_of_one_incident_include_the_merged_ones(city: Database) -> None:
    with city.transaction() as session:
        rows = search_posts(session, "停水").rows
        parent, child = (
            judgements.open_watching(
                session, title="停水", domain="services", district="", first_posted_at=T0, sketch={}
            )
            for _ in range(2)
        )
        for incident, row in ((parent, rows[0]), (child, rows[1])):
            judgements.add_post(
                session,
                incident,
                row.id,
                similarity=1,
                voice=True,
                published_at=row.published_at,
                negative=True,
                now=T0,
            )
        session.execute(sql("UPDATE incident SET parent_id = :p WHERE id = :c"), {"p": parent, "c": child})
    with city.reading() as session:
        hits = search_posts(session, "停水", filters=PostFilter(incident_id=parent))
    assert [row.id for row in hits.rows] == [rows[0].id, rows[1].id]
    assert [row.incident_id for row in hits.rows] == [parent, child]


def test_incidents_are_found_by_title_and_number(any_db: Database) -> None:
    with any_db.transaction() as session:
        ids = [
            judgements.open_watching(
                session, title=title, domain=domain, district=district, first_posted_at=T0, sketch={}
            )
            for title, domain, district in [
                ("历下区某校食堂学生呕吐", "food_safety", "历下区"),
                ("市中区停水", "services", "市中区"),
                ("历下区停水", "services", "历下区"),
            ]
        ]
        for number, id_ in enumerate(ids[:2], start=1):
            session.execute(
                sql("UPDATE incident SET state = 'detected', number = :number WHERE id = :id"),
                {"number": f"QS-2026-00000{number}", "id": id_},
            )
    with any_db.reading() as session:
        by_title = search_incidents(session, "食堂 -停水")
        assert ([row.id for row in by_title.rows], by_title.total) == ([ids[0]], 1)
        assert [row.id for row in search_incidents(session, "qs-2026-000002").rows] == [ids[1]]
        # a cluster that has not emerged is nobody's incident, unless asked for
        assert [row.id for row in search_incidents(session, "停水").rows] == [ids[1]]
        assert [row.id for row in search_incidents(session, "停水", states=["watching"]).rows] == [ids[2]]
        assert [row.id for row in search_incidents(session, "", domain="food_safety").rows] == [ids[0]]
        assert [row.id for row in search_incidents(session, "", district="市中区").rows] == [ids[1]]
        first = search_incidents(session, "", limit=1)
        assert ([row.id for row in first.rows], first.total) == ([ids[1]], 2)
        second = search_incidents(session, "", limit=1, before_id=first.next_before_id)
        assert ([row.id for row in second.rows], second.next_before_id) == ([ids[0]], None)


def test_a_day_of_posts_is_searched_in_the_blink_of_an_eye(sqlite_db: Database) -> None:
    """A guard against a plan that scans: 4,000 posts, 2-character word, all counts (about 10 ms here)."""
    fill(
        sqlite_db,
        [("", f"历下区第{n}号楼又停水了，没人管" if n % 9 == 0 else f"今天天气{n}不错") for n in range(4000)],
    )
    with sqlite_db.reading() as session:
        search_posts(session, "停水")
        before = datetime.now(UTC)
        hits = search_posts(session, "停水")
        took = datetime.now(UTC) - before
    assert hits.total == 445
    assert took < timedelta(milliseconds=500)
