"""Figures of the weekly report that no other test counts again, each by SQL written from its definition in docs/reports.md."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from config.bundle import Bundle, load_bundle
from incidents import hot_verdicts
from incidents.judgements import add_post, save_judgements
from incidents.posts import NewPost, save_posts
from incidents.session import Database
from incidents.sources import record_crawl
from incidents.states import Assign, Close, Evaluate, FalseAlarm, Reopen, Respond
from reports.build import build_weekly
from reports.model import ReportModel
from tests.fakes.ledger import MONDAY, URL, ZONE, Ledger, returned
from tests.judged import judged

WEEK = "2026-W45"
NEXT = datetime(2026, 11, 9, 8, 7, tzinfo=ZONE)
#: the week, and the one 52 weeks before, as SQLite stores times
SPAN = {"since": "2026-11-01 16:00:00.000000", "until": "2026-11-08 16:00:00.000000"}
THEN = {"since": "2025-11-02 16:00:00.000000", "until": "2025-11-09 16:00:00.000000"}
_SOURCE = """  - {{id: {id}, name: "{id}", kind: rss, url: "https://{id}.jinan-demo.test/feed/", enabled: {on}, tier: A,
     every_min: 30, legal_basis: 已公开信息, impact_note: 每30分钟1次请求, owner_unit: 市政府办公厅{hints}}}
"""
#: id, enabled, domain, district
SOURCES = (
    ("forum", True, "", "历下区"),
    ("school", True, "schooling", "历下区"),
    ("dead", True, "housing", "市中区"),
    ("off", False, "", ""),
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    folder = tmp_path / "city"
    folder.mkdir()
    lines = []
    for name, on, domain, district in SOURCES:
        hints = (f", domain_hint: {domain}" if domain else "") + (
            f", district_hint: {district}" if district else ""
        )
        lines.append(_SOURCE.format(id=name, on=str(on).lower(), hints=hints))
    (folder / "sources.yaml").write_text("sources:\n" + "".join(lines), encoding="utf-8")
    (folder / "quansheng.toml").write_text("", encoding="utf-8")
    return load_bundle(folder / "quansheng.toml", privacy={"post_days": 3000})


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return Ledger(db)


def weekly(ledger: Ledger, bundle: Bundle) -> ReportModel:
    with ledger.db.reading() as session:
        return build_weekly(session, bundle, WEEK, NEXT)


def rows(ledger: Ledger, statement: str, **values: object) -> list[tuple[Any, ...]]:
    with ledger.db.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


# --- the same week of the year before ----------------------------------------------------------------------------


def test_the_same_week_of_last_year_equals_a_recount(ledger: Ledger, bundle: Bundle) -> None:
    year = MONDAY - timedelta(days=364)
    ledger.plain("education", begun=year - timedelta(days=10))  # the record has begun before that week
    for day in range(3):
        ledger.plain("education", begun=year + timedelta(days=day), authors=2 + day)
    done = ledger.plain("education", begun=year + timedelta(days=1, hours=1))
    done.do(30, Evaluate(80)).do(31, Close())
    with ledger.db.transaction() as session:
        when = year + timedelta(days=2)
        new = [_post(when + timedelta(hours=n), n) for n in range(9)]
        ids = save_posts(session, new).ids
        tones = ("neg", "neu", "pos", "neg", "neg", "neu")  # three are not judged
        save_judgements(
            session, [judged(post, tone=tone) for post, tone in zip(ids, tones, strict=False)], when
        )
    told = weekly(ledger, bundle).last_year
    assert told is not None
    assert told.period == "2025-W45"
    ((posts, of_them, negative),) = rows(
        ledger,
        """SELECT count(*), count(j.post_id), sum(j.tone = 'neg') FROM post p LEFT JOIN judgement j ON j.post_id = p.id
           WHERE p.published_at >= :since AND p.published_at < :until""",
        **THEN,
    )
    assert (told.posts, told.judged, told.negative) == (posts, of_them, negative)
    assert posts > of_them > negative > 0
    events = dict(
        rows(
            ledger,
            "SELECT kind, count(*) FROM incident_event WHERE occurred_at >= :since AND occurred_at < :until GROUP BY kind",
            **THEN,
        )
    )
    assert (told.detected, told.closed) == (events["detected"], events["closed"]) == (4, 1)


def test_a_year_before_the_record_began_has_no_figures(ledger: Ledger, bundle: Bundle) -> None:
    ledger.plain("education")
    told = weekly(ledger, bundle).last_year
    assert told is not None
    assert (told.posts, told.judged, told.negative, told.detected, told.closed) == (None,) * 5


def _post(when: datetime, number: int) -> NewPost:
    return NewPost(
        source_id="forum", external_id=f"y{number}", url=f"https://forum.example.invalid/y{number}", title="",
        text=f"虚构帖文去年第{number}号", published_at=when, published_estimated=False, fetched_at=when, author_key=f"y{number}",
    )  # fmt: skip


# --- whose time missed clocks were -------------------------------------------------------------------------------

#: by the definition in docs/accountability.md, for one clock of each incident: stretches from one act to the next, each with its
#: link; the part of each within the clock; then the three rules in their order
CHARGED = """
WITH act AS (
  SELECT incident_id, seq, kind, json_extract(payload, '$.department') AS unit,
         julianday(CASE WHEN kind = 'responded' AND json_extract(payload, '$.published_at') IS NOT NULL
                   THEN min(strftime('%Y-%m-%d %H:%M:%f', json_extract(payload, '$.published_at')), occurred_at)
                   ELSE occurred_at END) AS at
  FROM incident_event
  WHERE kind IN ('detected', 'page_sent', 'page_acknowledged', 'assigned', 'returned', 'approval_asked', 'approval_given', 'responded')
), stretch AS (
  SELECT incident_id, at AS a, coalesce(lead(at) OVER w, julianday(:until)) AS b,
         CASE kind WHEN 'detected' THEN 'system' WHEN 'page_sent' THEN 'desk' WHEN 'page_acknowledged' THEN 'desk'
              WHEN 'assigned' THEN 'department' WHEN 'returned' THEN 'desk' WHEN 'approval_asked' THEN 'approver'
              WHEN 'approval_given' THEN 'department' END AS link,
         CASE WHEN kind = 'assigned' THEN unit WHEN kind = 'approval_given' THEN lag(unit, 2) OVER w ELSE '' END AS unit
  FROM act WINDOW w AS (PARTITION BY incident_id ORDER BY seq)
), missed AS (
  SELECT id, incident_id, julianday(started_at) AS a, julianday(due_at) AS due,
         julianday(coalesce(closed_at, :until)) AS stop
  FROM deadline WHERE state <> 'cancelled' AND due_at >= :since AND due_at < :until AND (closed_at IS NULL OR closed_at > due_at)
), used AS (
  SELECT m.id, m.incident_id, s.link, s.unit, sum(max(0, min(s.b, m.stop) - max(s.a, m.a))) AS took,
         m.due - m.a AS allowed, m.stop - m.a AS whole
  FROM missed m JOIN stretch s ON s.incident_id = m.incident_id AND s.link IS NOT NULL GROUP BY m.id, s.link, s.unit
), own AS (
  SELECT id, unit, max(took) AS took FROM used
  WHERE link = 'department' AND took + min(1 / 24.0, whole - took) > allowed + 1e-9 GROUP BY id
), other AS (
  SELECT id, link, max(took) AS most, sum(took) AS others FROM (
    SELECT id, link, sum(took) AS took FROM used WHERE link <> 'department' AND took > 0 GROUP BY id, link) GROUP BY id
)
SELECT i.number,
       CASE WHEN own.id IS NOT NULL THEN 'department'
            WHEN other.id IS NOT NULL AND (NOT EXISTS (SELECT 1 FROM used u WHERE u.id = m.id AND u.link = 'department' AND u.took > 0)
                 OR (m.stop - m.a) - max(0, other.others - 1 / 24.0) <= m.due - m.a) THEN other.link
            ELSE 'shared' END,
       coalesce(own.unit, '')
FROM missed m JOIN incident i ON i.id = m.incident_id LEFT JOIN own ON own.id = m.id LEFT JOIN other ON other.id = m.id
ORDER BY i.number
"""


def test_lateness_by_link_equals_a_recount(ledger: Ledger, bundle: Bundle) -> None:
    ledger.plain("education", assigned=1, answered=60)  # its own time
    ledger.plain("education", assigned=1, answered=20)  # kept
    ledger.plain("education", assigned=1, answered=48.6)  # the desk was within its hour
    ledger.plain("market-regulation", assigned=47, answered=57)  # the desk slept
    ledger.plain("market-regulation", assigned=20, answered=60)  # without the desk it had been kept
    ledger.plain("market-regulation", assigned=50, paged=40, answered=60)  # nobody was told
    ledger.matter(paged=None).clock(0.2, 24)  # nobody ever was
    ledger.plain("civil-affairs", assigned=1, answered=None)  # never answered
    waited = ledger.plain("civil-affairs", assigned=1, answered=None)
    waited.note(2, "approval_asked").note(50, "approval_given").do(51, Respond(URL))
    turn = ledger.plain("civil-affairs", assigned=1, answered=None)
    turn.do(25, returned()).do(25.1, Assign("education")).do(50, Respond(URL))
    first = ledger.plain("civil-affairs", assigned=1, answered=None)
    first.do(52, returned()).do(52.1, Assign("education")).do(53, Respond(URL))
    model = weekly(ledger, bundle)
    counted = rows(ledger, CHARGED, **SPAN)
    by_link: dict[str, list[str]] = {}
    by_unit: dict[str, int] = {}
    for number, link, unit in counted:
        by_link.setdefault(link, []).append(number)
        if unit:
            by_unit[unit] = by_unit.get(unit, 0) + 1
    assert model.charges is not None
    assert {line.link: sorted(line.numbers) for line in model.charges.links if line.missed} == by_link
    assert {line.link: line.missed for line in model.charges.links if line.missed} == {
        link: len(numbers) for link, numbers in by_link.items()
    }
    assert set(by_link) == {"department", "desk", "system", "approver", "shared"}
    names = {unit: next(d.zh for d in bundle.departments.departments if d.id == unit) for unit in by_unit}
    assert {line.name: line.missed for line in model.charges.units if line.missed} == {
        names[unit]: n for unit, n in by_unit.items()
    }
    assert sum(line.missed for line in model.charges.links) == model.ran_out == len(counted)


# --- what nobody watches -----------------------------------------------------------------------------------------


def test_blind_spots_equal_a_recount(ledger: Ledger, bundle: Bundle) -> None:
    for day in range(4):
        ledger.plain("education", begun=MONDAY + timedelta(days=day), answered=3)
    read = NEXT.astimezone(UTC) - timedelta(days=1)
    with ledger.db.transaction() as session:
        for name, state in (("forum", "ok"), ("school", "ok"), ("dead", "blocked")):
            record_crawl(
                session, name, state=state, evidence="test", now=read, next_due_at=None,
                cursor={"health": {"first": (read - timedelta(weeks=20)).isoformat()}},
            )  # fmt: skip
    told = weekly(ledger, bundle).blind
    assert told is not None
    domains = bundle.settings.analysis.watched_domains
    districts = [district.name for district in bundle.places.districts]
    with ledger.db.transaction() as session:
        session.execute(text("CREATE TEMP TABLE set_up (id TEXT, domain TEXT, district TEXT)"))
        session.execute(text("CREATE TEMP TABLE grid (domain TEXT, district TEXT)"))
        for name, on, domain, district in SOURCES:
            if on:
                session.execute(
                    text("INSERT INTO set_up VALUES (:a, :b, :c)"), {"a": name, "b": domain, "c": district}
                )
        for domain in domains:
            for district in districts:
                session.execute(text("INSERT INTO grid VALUES (:a, :b)"), {"a": domain, "b": district})
        cells = session.execute(
            text(
                """SELECT g.domain, g.district, count(s.id),
                          sum(s.id IS NOT NULL AND coalesce(t.state, 'new') IN ('ok', 'unchanged', 'few', 'new')),
                          sum(s.id IS NOT NULL AND (s.domain <> '' OR s.district <> ''))
                   FROM grid g LEFT JOIN set_up s ON s.domain IN ('', g.domain) AND s.district IN ('', g.district)
                   LEFT JOIN source_state t ON t.source_id = s.id GROUP BY 1, 2"""
            )
        ).all()
        silent = session.execute(
            text(
                """SELECT s.id FROM set_up s WHERE NOT EXISTS (
                     SELECT 1 FROM post p JOIN judgement j ON j.post_id = p.id
                     WHERE p.source_id = s.id AND p.fetched_at >= :begin AND p.fetched_at < :until
                       AND (s.domain = '' OR j.domain = s.domain)
                       AND (s.district = '' OR EXISTS (SELECT 1 FROM json_each(j.districts) d WHERE d.value = s.district)))"""
            ),
            {"begin": "2026-10-11 16:00:00.000000", "until": SPAN["until"]},
        ).all()
    assert told.cells == len(cells) == len(domains) * len(districts)
    assert told.blind == sum(not all_ for _d, _p, all_, _w, _o in cells) > 0
    assert told.dark == sum(bool(all_) and not working for _d, _p, all_, working, _o in cells) == 1
    assert told.general == sum(bool(working) and not own for _d, _p, _a, working, own in cells) == 0
    assert set(told.silent) == {row[0] for row in silent} == {"school", "dead"}
    assert told.silent_count == len(silent)


# --- the model ---------------------------------------------------------------------------------------------------


def test_what_people_found_right_equals_a_recount(ledger: Ledger, bundle: Bundle) -> None:
    ledger.plain("education", authors=6)
    said = (
        (1, "tone", "neg", "neg"), (2, "tone", "neu", "neg"), (2, "tone", "neg", "neu"), (3, "domain", "housing", "food_safety"),
        (4, "domain", "food_safety", "food_safety"), (5, "tone", "pos", "neg"), (6, "risk", "0", "0"),
    )  # fmt: skip
    with ledger.db.transaction() as session:
        for post, kind, value, was in said:
            session.execute(
                text(
                    """INSERT INTO label (post_id, kind, value, was, model_version, actor, reason, created_at)
                       VALUES (:post, :kind, :value, :was, 'test', 'ke', '', '2026-11-03 00:00:00.000000')"""
                ),
                {"post": post, "kind": kind, "value": value, "was": was},
            )
    told = weekly(ledger, bundle).judging
    assert told is not None
    # the machine's word is what stood there before the first person spoke; the last word of people counts
    counted = rows(
        ledger,
        """SELECT kind, sum(machine = word), count(*) FROM (
             SELECT DISTINCT post_id, kind, first_value(was) OVER (PARTITION BY post_id, kind ORDER BY id) AS machine,
                    first_value(value) OVER (PARTITION BY post_id, kind ORDER BY id DESC) AS word FROM label)
           GROUP BY kind""",
    )
    assert {(one.kind, one.right, one.n) for one in told.said} == set(counted)
    assert ("tone", 2, 3) in counted


def test_what_training_measured_is_told_as_the_model_holds_it(ledger: Ledger, bundle: Bundle) -> None:
    from analysis import figures
    from analysis.model_store import folder_of, in_force

    told = weekly(ledger, bundle).judging
    held = in_force(folder_of(bundle.settings.data_path)).model
    assert told is not None
    assert told.version == held.version
    stored = {(one.area, one.name): (one.value, one.least, one.n) for one in figures.stored(held)}
    assert len(told.figures) == len({area for area, _name in stored if stored[area, _name][1] is not None})
    for one in told.figures:
        value, least, n = stored[one.task, one.name]
        assert value is not None
        assert (one.value, one.target, one.n) == (round(value, 3), least, n)


# --- incidents and departments -----------------------------------------------------------------------------------


def test_incidents_departments_and_sources_equal_a_recount(ledger: Ledger, bundle: Bundle) -> None:
    old = MONDAY - timedelta(days=6)
    ledger.plain("education", begun=old, answered=10).do(20, Evaluate(90)).do(30, Close()).do(150, Reopen("复发")).do(151, Assign("education"))  # fmt: skip
    ledger.plain("education", assigned=1, answered=9)
    ledger.plain("civil-affairs", assigned=2, answered=30, begun=MONDAY + timedelta(hours=3))
    back = ledger.plain("civil-affairs", assigned=1, answered=None, begun=MONDAY + timedelta(hours=6))
    back.do(5, returned()).do(6, Assign("education"))
    ledger.matter(MONDAY + timedelta(hours=8)).do(1, FalseAlarm("wrong_place"))
    model = weekly(ledger, bundle)
    of_week = "occurred_at >= :since AND occurred_at < :until"
    reopened = rows(ledger, f"SELECT DISTINCT i.number FROM incident_event e JOIN incident i ON i.id = e.incident_id WHERE e.kind = 'reopened' AND {of_week}", **SPAN)  # fmt: skip
    assert list(model.reopened) == [row[0] for row in reopened]
    assert len(reopened) == 1
    new = rows(
        ledger,
        """SELECT number FROM incident WHERE detected_at >= :since AND detected_at < :until
           AND state NOT IN ('closed', 'false_alarm', 'merged')""",
        **SPAN,
    )
    assert {line.number for line in model.new} == {row[0] for row in new}
    assert len(new) == 3
    # acts of the week, each of the department that had the matter then
    acts = rows(
        ledger,
        f"""SELECT u.unit, sum(e.kind = 'assigned'), sum(e.kind = 'returned'), sum(e.kind = 'responded') FROM incident_event e
            JOIN (SELECT a.seq, a.incident_id, json_extract(a.payload, '$.department') AS unit,
                         lead(a.seq, 1, 1000000) OVER (PARTITION BY a.incident_id ORDER BY a.seq) AS following
                  FROM incident_event a WHERE a.kind = 'assigned') u
              ON u.incident_id = e.incident_id AND e.seq >= u.seq AND e.seq < u.following
            WHERE {of_week} GROUP BY u.unit""",
        **SPAN,
    )
    told = {row.id: (row.assigned, row.returned, row.responded) for row in model.departments}
    assert told == {unit: (a, b, c) for unit, a, b, c in acts}
    open_ = rows(ledger, "SELECT department, count(*) FROM incident WHERE state IN ('assigned', 'acknowledged', 'responded', 'evaluated') GROUP BY 1")  # fmt: skip
    assert {row.id: row.open for row in model.departments if row.open} == dict(open_)
    days = rows(
        ledger,
        """SELECT source_id, count(*), count(DISTINCT date(fetched_at, '+8 hours')), max(fetched_at) FROM post
           WHERE fetched_at >= :since AND fetched_at < :until GROUP BY 1""",
        **SPAN,
    )
    assert [
        (
            row.id,
            row.posts,
            row.days,
            row.last_at and row.last_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        )
        for row in model.sources
        if row.posts
    ] == days
    heads = rows(
        ledger,
        """SELECT d.day, (SELECT max(seq) FROM incident_event WHERE recorded_at < d.day || ' 16:00:00.000000') FROM (
             SELECT '2026-11-02' AS day UNION SELECT '2026-11-03' UNION SELECT '2026-11-04' UNION SELECT '2026-11-05'
             UNION SELECT '2026-11-06' UNION SELECT '2026-11-07' UNION SELECT '2026-11-08') d ORDER BY 1""",
    )
    assert [(head.day.isoformat(), head.seq) for head in model.heads] == heads


def test_posts_without_a_district_equal_a_recount(ledger: Ledger, bundle: Bundle) -> None:
    with ledger.db.transaction() as session:
        ids = save_posts(session, [_post(MONDAY + timedelta(hours=n), n) for n in range(7)]).ids
        places: list[list[str]] = [[], ["历下区"], ["历下区", "市中区"], []]
        save_judgements(session, [judged(post, districts=where) for post, where in zip(ids, places, strict=False)], MONDAY)  # fmt: skip
    ((without,),) = rows(
        ledger,
        """SELECT count(*) FROM post p LEFT JOIN judgement j ON j.post_id = p.id
           WHERE p.published_at >= :since AND p.published_at < :until AND coalesce(json_array_length(j.districts), 0) = 0""",
        **SPAN,
    )
    assert weekly(ledger, bundle).no_district == without == 5


# --- clocks one by one, links, posts of incidents ----------------------------------------------------------------


def test_rules_misses_and_links_equal_a_recount(ledger: Ledger, bundle: Bundle) -> None:
    for index, answered in enumerate((9, 30, 60, None, 52)):
        ledger.plain(
            "education", begun=MONDAY + timedelta(hours=index), assigned=1 + index, answered=answered
        )
    ledger.plain("education", begun=MONDAY - timedelta(days=5), answered=None)  # ran out before the week
    ledger.plain("education", begun=MONDAY + timedelta(days=5), answered=None)  # runs beyond it
    model = weekly(ledger, bundle)
    ((kept, missed, running),) = rows(
        ledger,
        """SELECT sum(closed_at >= :since AND closed_at < :until AND closed_at <= due_at),
                  sum(due_at >= :since AND due_at < :until AND (closed_at IS NULL OR closed_at > due_at)),
                  sum(started_at < :until AND due_at >= :until AND closed_at IS NULL)
           FROM deadline WHERE state <> 'cancelled' AND rule_id = 'R03'""",
        **SPAN,
    )
    (rule,) = (row for row in model.rules if row.rule == "R03")
    assert (rule.kept, rule.missed, rule.running) == (kept, missed, running) == (2, 3, 1)
    late = rows(
        ledger,
        """SELECT i.number, round((julianday(min(coalesce(d.closed_at, :until), :until)) - julianday(d.due_at)) * 86400),
                  d.due_at < :since, d.closed_at IS NULL
           FROM deadline d JOIN incident i ON i.id = d.incident_id
           WHERE d.due_at < :until AND (d.closed_at IS NULL OR d.closed_at > d.due_at)
             AND (d.due_at >= :since OR d.closed_at IS NULL OR d.closed_at >= :since) ORDER BY i.number""",
        **SPAN,
    )
    told = sorted(model.missed, key=lambda line: line.number)
    assert len(told) == len(late) > 3
    for line, (number, seconds, earlier, unanswered) in zip(told, late, strict=True):
        assert (line.number, line.earlier, line.answered_at is None) == (
            number,
            bool(earlier),
            bool(unanswered),
        )
        assert line.late == pytest.approx(seconds, abs=1)
    link = """SELECT round((julianday(e.at) - julianday(b.at)) * 86400) FROM
      (SELECT incident_id, {end} AS at FROM incident_event WHERE kind = '{stop}') e JOIN
      (SELECT incident_id, {begin} AS at FROM incident_event WHERE kind = '{start}') b ON b.incident_id = e.incident_id
      WHERE e.at >= :since AND e.at < :until ORDER BY 1"""
    known = {row.id: row for row in model.links}
    for name, start, stop in (
        ("acknowledged_assigned", "page_acknowledged", "assigned"),
        ("assigned_responded", "assigned", "responded"),
        ("detected_alerted", "detected", "page_sent"),
    ):
        taken = [row[0] for row in rows(ledger, link.format(end="occurred_at", begin="occurred_at", start=start, stop=stop), **SPAN)]  # fmt: skip
        assert known[name].n == len(taken), name
        assert known[name].worst == pytest.approx(taken[-1], abs=1), name
        middle = len(taken) // 2
        assert known[name].median == pytest.approx((taken[middle] + taken[~middle]) / 2, abs=1), name
    whole = [
        row[0]
        for row in rows(
            ledger,
            """SELECT round((julianday(e.occurred_at) - julianday(i.first_posted_at)) * 86400) FROM incident_event e
               JOIN incident i ON i.id = e.incident_id WHERE e.kind = 'responded' AND e.occurred_at >= :since
               AND e.occurred_at < :until ORDER BY 1""",
            **SPAN,
        )
    ]
    assert known["posted_responded"].n == len(whole)
    assert known["posted_responded"].worst == pytest.approx(whole[-1], abs=1)
    waiting = rows(
        ledger,
        """SELECT number FROM incident i WHERE state NOT IN ('closed', 'false_alarm', 'merged', 'watching')
           AND NOT EXISTS (SELECT 1 FROM incident_event e WHERE e.incident_id = i.id AND e.kind = 'responded') ORDER BY 1""",
    )
    assert sorted(known["assigned_responded"].waiting) == [row[0] for row in waiting]
    assert len(waiting) == 3


def test_posts_of_incidents_and_of_the_week_before_equal_a_recount(ledger: Ledger, bundle: Bundle) -> None:
    before = MONDAY - timedelta(days=7)
    grown = ledger.plain("education", begun=before, answered=None, authors=3)
    ledger.plain("education", authors=4)
    with ledger.db.transaction() as session:
        new = [_post(MONDAY + timedelta(hours=n), n) for n in range(6)]
        ids = save_posts(session, [*new, *[_post(before + timedelta(hours=n), 50 + n) for n in range(5)]]).ids
        save_judgements(
            session, [judged(post, tone="neg" if post % 2 else "neu") for post in ids[:-2]], MONDAY
        )
        for post in ids[:6]:
            add_post(
                session,
                grown.id,
                post,
                similarity=0.9,
                voice=True,
                published_at=MONDAY,
                negative=True,
                now=MONDAY,
            )
    model = weekly(ledger, bundle)
    bounds = {**SPAN, "before": "2026-10-25 16:00:00.000000"}
    counted = {
        number: (now, then)
        for number, now, then in rows(
            ledger,
            """SELECT i.number, sum(p.published_at >= :since), sum(p.published_at < :since) FROM incident_post ip
               JOIN post p ON p.id = ip.post_id JOIN incident i ON i.id = ip.incident_id
               WHERE p.published_at >= :before AND p.published_at < :until GROUP BY 1""",
            **bounds,
        )
    }
    assert {line.number: (line.posts, line.posts_before) for line in model.open_incidents} == counted
    assert [line.number for line in model.growing] == [
        number for number, (now, then) in counted.items() if then and now >= 3 and now > then
    ]
    ((judged_before, negative_before),) = rows(
        ledger,
        """SELECT count(j.post_id), sum(j.tone = 'neg') FROM post p JOIN judgement j ON j.post_id = p.id
           WHERE p.published_at >= :before AND p.published_at < :since""",
        before=bounds["before"],
        since=bounds["since"],
    )
    assert (model.volume.judged_before, model.volume.negative_before) == (judged_before, negative_before)
    assert judged_before > negative_before > 0


def test_what_the_hot_lists_knew_equals_a_recount(ledger: Ledger, bundle: Bundle) -> None:
    early = ledger.matter(MONDAY + timedelta(hours=2))
    late = ledger.matter(MONDAY + timedelta(hours=40))
    hour = timedelta(hours=1)
    titles = [  # when it was first seen, title, domain, elsewhere, incident
        (10 * hour, "食堂午餐后呕吐", "food_safety", False, early.id),
        (
            11 * hour,
            "某食堂午餐后多名学生呕吐",
            "food_safety",
            False,
            early.id,
        ),  # the same matter on another list
        (12 * hour, "某小区停暖", "housing", False, late.id),
        (13 * hour, "插班名额不公开", "schooling", False, None),
        (14 * hour, "学区划分引热议", "schooling", False, None),
        (15 * hour, "某歌手办演唱会", "other", False, None),  # nothing that is watched
        (16 * hour, "外地小区停暖", "housing", True, None),  # names the city, happens elsewhere
        (17 * hour, "新歌发布", "schooling", False, None),
        (-10 * hour, "上周的事", "housing", False, early.id),  # not of this week
    ]
    insert = """INSERT INTO hot_title (source_id, external_id, list_name, title, text, url, first_seen_at, last_seen_at, best_rank,
                  sightings, domain, domain_score, districts, places, model_version, elsewhere, incident_id, score, matched_at)
                VALUES ('list', :id, '', :title, '', '', :at, :at, 3, 1, :domain, 0.9, '[]', '[]', 'm', :elsewhere, :incident, 0.8, :at)"""
    with ledger.db.transaction() as session:
        for number, (offset, title, domain, elsewhere, incident) in enumerate(titles):
            at = (MONDAY + offset).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
            given = {"id": str(number), "title": title, "at": at, "domain": domain, "elsewhere": elsewhere}
            session.execute(text(insert), given | {"incident": incident})
        said = {"学区划分引热议": "missed", "新歌发布": "not_ours"}
        for id_, title in session.execute(text("SELECT id, title FROM hot_title")).all():
            if title in said:
                hot_verdicts.decide(
                    session,
                    id_,
                    said[title],
                    number="",
                    actor="lin",
                    channel="console",
                    now=MONDAY + 30 * hour,
                )
    found = weekly(ledger, bundle).hot
    assert found is not None
    recount = rows(
        ledger,
        """SELECT outcome, count(DISTINCT matter) FROM (
             SELECT coalesce(i.id, t.title) AS matter,
                    CASE WHEN v.verdict = 'missed' THEN 'missed'
                         WHEN i.id IS NULL THEN 'open'
                         WHEN i.detected_at <= t.first_seen_at THEN 'before' ELSE 'after' END AS outcome
             FROM hot_title t LEFT JOIN incident i ON i.id = t.incident_id LEFT JOIN hot_verdict v ON v.title_id = t.id
             WHERE t.first_seen_at >= :since AND t.first_seen_at < :until AND coalesce(v.verdict, '') <> 'not_ours'
               AND (v.verdict IS NOT NULL OR (NOT t.elsewhere AND t.domain IN ('schooling', 'housing', 'food_safety'))))
           GROUP BY outcome ORDER BY outcome""",
        **SPAN,
    )
    assert recount == [("after", 1), ("before", 1), ("missed", 1), ("open", 1)]
    assert [(name, getattr(found, name)) for name in ("after", "before", "missed", "open")] == recount
    assert (found.n, found.unraised) == (sum(n for _, n in recount), 0)
    assert {(line.title, line.outcome) for line in found.misses} == {
        ("某小区停暖", "after"), ("插班名额不公开", "open"), ("学区划分引热议", "missed")
    }  # fmt: skip
