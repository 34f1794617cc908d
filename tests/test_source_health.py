"""Whether a source is alive: each state from its evidence, silence against the source's own habits, twelve faults, a clean day."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from incidents.session import Database
from incidents.source_health import (
    KEY,
    STATES,
    Memory,
    Poll,
    Verdict,
    binomial_tail,
    dispersion,
    expect,
    judge,
    learn,
    negative_binomial_tail,
    percentile,
    rates_of,
    silence,
)
from incidents.sources import HEALTHY, get_state, record_crawl
from spiders.connectors.rss import RssConnector
from spiders.page_class import garbled, wall_of
from spiders.reactor import crawler_thread
from tests.console_world import client, world
from tests.fakes.crawl import crawl, source
from tests.fakes.site import Site, article, rss

#: a Tuesday, 10:00 in Shanghai
T0 = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
EVERY = timedelta(minutes=5)
SINCE = T0 - timedelta(days=21)
LOGIN = "<html><head><title>用户登录</title></head><body><form>{}<input name=u><input type='password' name=p></form></body></html>"
CHALLENGE = "<html><head><script>var arg1='A1';document.cookie='acw_sc__v2='+arg1;location.reload()</script></head><body></body></html>"


def a_poll(at: datetime = T0, **more: object) -> Poll:
    base: dict[str, object] = {"status": 200, "lists": 1, "found": 20, "taken": 20, "body": "b", "items": "i"}
    have = {"title": 20, "text": 20, "published_at": 20, "author": 12}
    return Poll(at=at, **{**base, "have": have, **more})  # type: ignore[arg-type]


def rate(at: datetime) -> float:
    """Posts an hour of an ordinary forum of the city: nights are silent, evenings and working days are busy."""
    local = at + timedelta(hours=8)
    if local.hour < 6:
        return 0.05 if local.hour in (0, 1, 5) else 0.0
    busy = 6.0 + 4.0 * math.sin((local.hour - 6) / 18 * math.pi)
    return busy * (0.6 if local.weekday() >= 5 else 1.0)


def drawn(chance: random.Random, at: datetime, every: timedelta) -> int:
    """New posts in the interval before `at`. Each hour of a source's life is livelier or duller than usual (gamma of 4): bursts."""
    mood = random.Random(at.timestamp() // 3600).gammavariate(4, 1 / 4)
    mean = rate(at) * mood * (every / timedelta(hours=1))
    left, count = math.exp(-mean), 0
    draw = chance.random()
    while draw > left:
        draw *= chance.random()
        count += 1
    return count


def lived(seed: int = 1, *, days: float = 21, every: timedelta = EVERY, until: datetime = T0) -> Memory:
    """The memory of a source that was read for `days` without a fault, up to `until`."""
    chance, memory = random.Random(seed), Memory()
    at = until - timedelta(days=days)
    while at <= until:
        memory = ordinary(memory, chance, at, every)[0]
        at += every
    return memory


def ordinary(memory: Memory, chance: random.Random, at: datetime, every: timedelta) -> tuple[Memory, Verdict]:
    """One good reading: what is new by chance, unchanged when nothing is, an author to six posts in ten."""
    new = drawn(chance, at, every)
    if new:
        authors = sum(chance.random() < 0.6 for _ in range(20))
        poll = a_poll(at, new=new, have={"title": 20, "text": 20, "published_at": 20, "author": authors})
    else:
        poll = a_poll(at, unchanged=1, found=0, taken=0, have={})
    verdict = judge(memory, poll, every)
    return learn(memory, poll, verdict), verdict


@pytest.fixture(scope="module")
def habit() -> dict[str, object]:
    """Three weeks of an ordinary source, learnt reading by reading; as it lies in the cursor."""
    memory = lived()
    assert memory.first is not None
    assert T0 - memory.first >= timedelta(days=20)
    return memory.dump()


# --- the pure parts


def test_each_state_follows_from_its_evidence() -> None:
    memory = lived(days=3)
    cases = {
        "ok": a_poll(new=1),
        "unchanged": a_poll(unchanged=1, found=0, taken=0, have={}),
        "empty": a_poll(found=0, taken=0, have={}),
        "frozen": a_poll(T0 + timedelta(days=2), unchanged=1, found=0, taken=0, have={}),
        "blocked": a_poll(problem="blocked", sentence="403"),
        "changed": a_poll(new=3, future=20),
        "robots": a_poll(problem="robots", sentence="forbidden"),
        "login": a_poll(found=20, taken=0, have={}, pages=4, unreadable=4, walls=4),
        "error": Poll(at=T0, requests=0),
    }
    assert {state: judge(memory, poll, EVERY).state for state, poll in cases.items()} == {
        s: s
        for s in STATES
        if s != "few"  # needs weeks: below
    }
    assert "login" in judge(memory, cases["login"], EVERY).why
    assert "without a single request" in judge(memory, cases["error"], EVERY).why


def test_an_empty_list_is_trouble_unless_it_is_often_empty() -> None:
    empty = a_poll(found=0, taken=0, have={})
    assert judge(Memory(), empty, EVERY).state == "empty"
    search = Memory()
    for n in range(20):
        poll = a_poll(T0 + n * EVERY, found=n % 3, taken=n % 3, have={}, new=n % 3)
        search = learn(search, poll, judge(search, poll, EVERY))
    assert judge(search, empty, EVERY) == Verdict("ok", "the list holds no entry, which happens often here")


def test_trouble_stays_while_the_same_page_comes_again_and_goes_with_better_proof() -> None:
    memory = lived(days=3)
    empty = a_poll(found=0, taken=0, have={})
    memory = learn(memory, empty, judge(memory, empty, EVERY))
    same = a_poll(T0 + EVERY, unchanged=1, found=0, taken=0, have={})
    assert judge(memory, same, EVERY).state == "empty"
    assert judge(memory, a_poll(T0 + EVERY, new=1), EVERY).state == "ok"
    broken = a_poll(future=20, new=2)
    memory = learn(memory, broken, judge(memory, broken, EVERY))
    assert judge(memory, same, EVERY).state == "changed"
    assert judge(memory, a_poll(T0 + EVERY, new=1), EVERY).state == "ok"


def test_a_field_that_was_always_there_is_missed_and_one_that_comes_and_goes_is_not() -> None:
    memory = lived(days=3)
    lost = {"title": 20, "text": 20, "published_at": 3, "author": 12}
    verdict = judge(memory, a_poll(new=1, have=lost), EVERY)
    assert verdict.state == "changed"
    assert "3 of 20 posts have published_at" in verdict.why
    fewer = {"title": 20, "text": 20, "published_at": 20, "author": 8}
    assert judge(memory, a_poll(new=1, have=fewer), EVERY).state == "ok"


def test_pages_without_text_add_up_over_readings_and_one_with_text_clears_them() -> None:
    memory = lived(days=3)
    one = a_poll(found=20, taken=0, have={}, pages=1, unreadable=1)
    states = []
    for n in range(1, 4):
        poll = Poll(**{**vars(one), "at": T0 + n * EVERY})
        verdict = judge(memory, poll, EVERY)
        memory = learn(memory, poll, verdict)
        states.append(verdict.state)
    assert states == ["ok", "ok", "changed"]
    assert judge(memory, a_poll(T0 + 4 * EVERY, found=20, new=1, taken=1, pages=1), EVERY).state == "ok"


def test_hours_of_the_week_are_learnt(habit: dict[str, object]) -> None:
    memory = Memory.load(habit)
    rates = rates_of(memory, mature=True)
    errors = [
        rates[int((SINCE + timedelta(hours=h)).timestamp() // 3600) % 168] - rate(SINCE + timedelta(hours=h))
        for h in range(168)
    ]
    assert abs(sum(errors)) / 168 < 0.5
    assert math.sqrt(sum(e * e for e in errors) / 168) < 3.5
    assert max(rates[h] for h in range(168) if rate(datetime.fromtimestamp(h * 3600, UTC)) == 0.0) < 0.2
    size = dispersion(memory)
    assert size is not None
    assert 1.5 < size < 10


def test_a_night_is_expected_and_the_same_silence_by_day_is_not(habit: dict[str, object]) -> None:
    memory = Memory.load(habit)
    night, day = T0.replace(hour=16), T0.replace(hour=2)  # 00:00 and 10:00 in Shanghai
    assert expect(memory, night, night + timedelta(hours=5))[1] > 0.1
    assert expect(memory, day, day + timedelta(hours=5))[1] < 0.001


def test_nothing_is_expected_before_two_days_and_little_before_fourteen() -> None:
    young = lived(days=1.5)
    assert expect(young, T0, T0 + timedelta(hours=3)) == (0.0, 1.0)
    week, old = lived(days=7), lived(days=21)
    assert (
        0.2 < expect(week, T0, T0 + timedelta(hours=3))[0] / expect(old, T0, T0 + timedelta(hours=3))[0] < 0.8
    )


def test_silence_has_to_be_both_long_and_unlikely() -> None:
    memory = lived(seed=3)
    assert memory.last_new is not None
    gap = percentile(memory.gaps, 0.95)
    quiet = silence(memory, memory.last_new + timedelta(minutes=4 * gap - 1), EVERY)
    assert quiet is not None
    assert not quiet.unusual
    assert quiet.limit == max(timedelta(minutes=4 * gap), 3 * EVERY)
    slow = silence(memory, memory.last_new + timedelta(minutes=4 * gap + 60), timedelta(hours=8))
    assert slow is not None
    assert slow.limit == timedelta(hours=24)
    assert not slow.unusual


def test_a_source_that_never_brought_anything_is_found_after_two_weeks() -> None:
    memory = Memory()
    for day in range(16):
        at = T0 + timedelta(days=day)
        poll = a_poll(at, unchanged=int(day > 0), new=0)
        verdict = judge(memory, poll, timedelta(days=1))
        memory = learn(memory, poll, verdict)
        assert verdict.state == ("ok" if day == 0 else "unchanged" if day <= 14 else "frozen"), day


def test_a_dead_source_does_not_become_the_habit() -> None:
    memory, at = lived(), T0
    for _ in range(288 * 10):
        at += EVERY
        poll = a_poll(at, unchanged=1, found=0, taken=0, have={})
        memory = learn(memory, poll, judge(memory, poll, EVERY))
    assert judge(memory, a_poll(at + EVERY, unchanged=1, found=0, taken=0), EVERY).state == "frozen"


def thinned(memory: Memory, days: float, keep: float, seed: int = 9) -> list[tuple[float, str]]:
    """Hourly readings of the habit's source of which only a part of the posts comes; (day, state) of each."""
    chance, hour, states = random.Random(seed), timedelta(hours=1), []
    start = memory.last or T0
    for n in range(1, int(days * 24) + 1):
        at = start + n * hour
        new = sum(chance.random() < keep for _ in range(drawn(chance, at, hour)))
        poll = a_poll(at, new=new)
        verdict = judge(memory, poll, hour)
        memory = learn(memory, poll, verdict)
        states.append((n / 24, verdict.state))
        if n == int(days * 24):
            states.append((n / 24, json.dumps(memory.dump())))
    return states


def test_a_source_that_gives_unusually_few_is_told_and_is_well_again_when_it_gives_what_it_gave() -> None:
    memory = lived(days=28, every=timedelta(hours=1))
    *states, (_, kept) = thinned(memory, 6, 0.25)
    first = next(day for day, state in states if state == "few")
    assert first < 4
    assert {state for day, state in states if day > 5} == {"few"}
    after = Memory.load(json.loads(kept))
    assert after.few_since is not None
    # what it was expected to give is not unlearnt meanwhile
    before = sum(rates_of(memory, mature=True))
    assert sum(rates_of(after, mature=True)) > 0.85 * before
    *again, _ = thinned(after, 3, 1.0)
    assert {state for day, state in again if day > 1.5} == {"ok"}


def test_four_weeks_of_few_are_the_new_habit() -> None:
    memory = lived(days=28, every=timedelta(hours=1))
    *states, (_, kept) = thinned(memory, 40, 0.25)
    assert states[-1][1] == "ok"
    after = Memory.load(json.loads(kept))
    assert after.first is not None
    assert after.first > T0 + timedelta(days=25)


@pytest.mark.parametrize("seed", [3, 4])
def test_ordinary_weeks_are_never_few(seed: int) -> None:
    memory = lived(seed, days=28, every=timedelta(hours=1))
    *states, _ = thinned(memory, 21, 1.0, seed)
    assert {state for _, state in states} == {"ok"}


def test_the_tail_of_the_negative_binomial_is_exact() -> None:
    # size 1 is the geometric distribution: p = 1 / (1 + mean)
    assert negative_binomial_tail(2, 4.0, 20.0) == pytest.approx(1 - 0.8**3)
    assert negative_binomial_tail(0, 3.0, 3.0) == pytest.approx(math.exp(-3))
    assert negative_binomial_tail(5, 0.0, 0.0) == 1.0


def test_a_memory_survives_its_json_and_is_small(habit: dict[str, object]) -> None:
    text = json.dumps(habit)
    assert Memory.load(json.loads(text)).dump() == habit
    assert len(text) < 12_000
    assert Memory.load({"bins": [1]}) == Memory()


def test_the_binomial_tail_is_exact() -> None:
    assert binomial_tail(1, 3, 0.5) == pytest.approx(0.5)
    assert binomial_tail(3, 3, 0.5) == pytest.approx(1.0)
    assert binomial_tail(0, 20, 0.6) == pytest.approx(0.4**20)


@pytest.mark.parametrize(
    ("asked", "final", "text", "state"),
    [
        ("https://a.cn/list", "https://a.cn/member/login.html", "", "login"),
        ("https://a.cn/list", "https://a.cn/list", LOGIN.format(""), "login"),
        ("https://a.cn/list", "https://a.cn/list", CHALLENGE, "blocked"),
        ("https://a.cn/list", "https://a.cn/list", "<html><title>安全验证</title>", "blocked"),
        (
            "https://a.cn/list",
            "https://a.cn/list",
            "<html><title>论坛</title><input type=password><a href=/login>登录</a>",
            None,
        ),
        ("https://a.cn/list", "https://a.cn/list", LOGIN.format("字" * 20_001), None),
        ("https://a.cn/list", "https://a.cn/list/", "<rss><item><title>登录困难</title></item></rss>", None),
        ("https://a.cn/passport", "https://a.cn/passport/", "", None),
    ],
)
def test_walls_are_known_by_address_title_and_script(
    asked: str, final: str, text: str, state: str | None
) -> None:
    found = wall_of(asked, final, text)
    assert (found[0] if found else None) == state


def test_garbage_is_told_from_text() -> None:
    text = "历下区某小区自来水发黄，居民多次反映，物业表示正在检修。" * 5
    assert garbled(text) == 0.0
    assert garbled(text.encode().decode("latin-1")) > 0.5
    assert garbled(text.encode().decode("gb18030", "replace")) > 0.05
    assert garbled(text.encode("gb18030").decode("utf-8", "replace")) > 0.5
    assert garbled("café naïve " * 20) == 0.0


# --- a clean day


@pytest.mark.parametrize("seed", range(20))
def test_a_clean_day_of_288_readings_raises_no_alarm(seed: int, habit: dict[str, object]) -> None:
    chance, memory, at = random.Random(1000 + seed), Memory.load(habit), T0
    if (
        seed % 7
    ):  # every day of the week; the days between are an outage of ours, and the first reading finds what they brought
        at += timedelta(days=seed % 7)
        late = a_poll(at, new=20)
        memory = learn(memory, late, judge(memory, late, EVERY))
    states = []
    for _ in range(288):
        at += EVERY
        memory, verdict = ordinary(memory, chance, at, EVERY)
        states.append(verdict.state)
    assert set(states) == {"ok", "unchanged"}


# --- twelve faults, through the real crawler


def entries(site: Site, count: int, at: datetime) -> list[dict[str, str]]:
    return [
        {
            "title": f"小区停水第{n}天",
            "link": f"{site.url}/p/{n}",
            "guid": f"g{n}",
            "date": format_datetime(at - timedelta(minutes=n)),
            "text": f"某小区停水第{n}天，物业说正在检修",
            "author": "张三",
        }
        for n in range(count)
    ]


def remember(db: Database, name: str, habit: dict[str, object], at: datetime) -> None:
    """The source has been read for three weeks."""
    memory = Memory.load(habit)
    with db.transaction() as session:
        record_crawl(
            session,
            name,
            state="ok",
            evidence="",
            now=at,
            next_due_at=at,
            new_posts=1,
            cursor={KEY: memory.dump()},
        )


Break = Callable[[Site, pytest.MonkeyPatch], None]


def _answer(
    status: int = 200, body: str | bytes = "", kind: str = "text/html; charset=utf-8", **headers: str
) -> Break:
    def act(site: Site, patch: pytest.MonkeyPatch) -> None:
        site.page("/f", body, status=status, kind=kind, headers=headers)

    return act


def _refused(site: Site, patch: pytest.MonkeyPatch) -> None:
    """Its robots.txt is still known, but nobody listens any more."""
    site._server.shutdown()
    site._server.server_close()


def _robots(site: Site, patch: pytest.MonkeyPatch) -> None:
    site.page("/robots.txt", "User-agent: *\nDisallow: /\n", kind="text/plain")
    crawler_thread().forget_robots()  # its day is over


def _markup(site: Site, patch: pytest.MonkeyPatch) -> None:
    site.page("/f", "<html><body><div id=app></div><script src=/app.js></script></body></html>")


def _garbage(site: Site, patch: pytest.MonkeyPatch) -> None:
    text = rss(entries(site, 20, T0)).decode().encode().decode("latin-1").encode()
    site.page("/f", text, kind="text/xml")


def _future(site: Site, patch: pytest.MonkeyPatch) -> None:
    site.page("/f", rss(entries(site, 20, T0 + timedelta(days=400))), kind="text/xml")


def _no_request(site: Site, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RssConnector, "start", lambda self: iter(()))


def _frozen(site: Site, patch: pytest.MonkeyPatch) -> None:
    """Nothing is done: the feed stays as it is, answers 304 and never changes again."""


FAULTS: dict[str, tuple[Break, str]] = {
    "a page without items": (_answer(body=rss([]), kind="text/xml"), "empty"),
    "a login wall with 200": (_answer(body=LOGIN.format("")), "login"),
    "a check of the browser": (_answer(body=CHALLENGE), "blocked"),
    "403": (_answer(403), "blocked"),
    "429": (_answer(429, **{"Retry-After": "60"}), "blocked"),
    "5xx": (_answer(502), "error"),
    "a refused connection": (_refused, "error"),
    "robots.txt forbids": (_robots, "robots"),
    "other markup": (_markup, "changed"),
    "garbage for characters": (_garbage, "changed"),
    "all dates in the future": (_future, "changed"),
    "a crawl without requests": (_no_request, "error"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_flagged_within_two_readings(
    fault: str, db: Database, habit: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    act, expected = FAULTS[fault]
    with Site() as site:
        remember(db, "f", habit, T0)
        site.feed("/f", entries(site, 20, T0))
        feed = source("f", "rss", site.url + "/f", every_min=5)
        (before,) = crawl(db, feed, now=T0 + EVERY).sources
        assert before.state == "ok"
        act(site, monkeypatch)
        states = []
        for n in (2, 3):
            (told,) = crawl(db, feed, now=T0 + n * EVERY, only=("f",)).sources
            states.append(told.state)
            if told.state == "paused":  # left alone after the first refusal, as the state already says
                break
        assert states[0] == expected
        with db.reading() as session:
            kept = get_state(session, "f")
        assert kept.state == expected
        assert kept.state not in HEALTHY
        assert kept.evidence
        assert kept.failures >= 1
        assert kept.cursor is not None
        assert kept.cursor[KEY]["polls"][-1]["state"] == expected


def test_a_frozen_feed_is_flagged_within_two_readings_of_its_limit(
    db: Database, habit: dict[str, object]
) -> None:
    with Site() as site:
        remember(db, "f", habit, T0)
        site.feed("/f", entries(site, 20, T0))
        feed = source("f", "rss", site.url + "/f", every_min=5)
        assert crawl(db, feed, now=T0 + EVERY).sources[0].state == "ok"
        at, states = T0 + EVERY, []
        flagged = None
        while flagged is None and at < T0 + timedelta(hours=12):
            at += EVERY
            with db.reading() as session:
                cursor = get_state(session, "f").cursor or {}
            quiet = silence(Memory.load(cursor[KEY]), at, EVERY)
            assert quiet is not None
            (told,) = crawl(db, feed, now=at).sources
            states.append((told.state, quiet.unusual))
            flagged = at if told.state == "frozen" else None
        assert flagged is not None
        assert states[-1] == ("frozen", True)
        assert all(state == ("unchanged", False) for state in states[:-1])  # neither too early nor late
        assert flagged - (T0 + EVERY) < timedelta(hours=6)
        site.feed("/f", entries(site, 25, T0))
        assert crawl(db, feed, now=flagged + EVERY).sources[0].state == "ok"


def test_a_clean_day_through_the_crawler_raises_no_alarm(db: Database, habit: dict[str, object]) -> None:
    """288 readings of a feed over HTTP, with validators, bursts and a night."""
    chance, at, posted = random.Random(7), T0, 20
    counts: dict[str, int] = {}
    with Site() as site:
        remember(db, "f", habit, T0)
        feed = source("f", "rss", site.url + "/f", every_min=5)
        entry = entries(site, 20, T0)
        for _ in range(288):
            at += EVERY
            for _ in range(drawn(chance, at, EVERY)):
                words = f"某小区第{posted}次停水"
                newest = {
                    **entry[0],
                    "guid": f"n{posted}",
                    "link": f"{site.url}/n/{posted}",
                    "title": words,
                    "text": words,
                }
                newest["date"] = format_datetime(at)
                entry, posted = [newest, *entry[:19]], posted + 1
            site.feed("/f", entry)
            (told,) = crawl(db, feed, now=at).sources
            counts[told.state] = counts.get(told.state, 0) + 1
    assert set(counts) == {"ok", "unchanged"}
    assert sum(counts.values()) == 288
    assert counts["ok"] > 30
    with db.reading() as session:
        kept = get_state(session, "f")
    assert kept.failures == 0
    assert kept.posts_total == posted + 1  # each post once; the 1 is what `remember` noted


def test_the_same_words_under_new_keys_do_not_pass_for_new(db: Database) -> None:
    with Site() as site:
        feed = source("f", "rss", site.url + "/f", every_min=5)
        (one,) = entries(site, 1, T0)
        for n in range(4):
            site.feed("/f", [{**one, "guid": f"again{n}"}])
            crawl(db, feed, now=T0 + n * EVERY)
        with db.reading() as session:
            kept = get_state(session, "f").cursor or {}
    assert [poll.get("new", 0) for poll in kept[KEY]["polls"]] == [1, 0, 0, 0]


def test_article_pages_behind_a_login_are_not_taken_for_quiet(db: Database) -> None:
    with Site() as site:
        links = "".join(f'<li><a href="/art/{n}">标题</a></li>' for n in range(4))
        site.page("/list", f"<html><title>栏目</title><body>{links}</body></html>")
        for n in range(4):
            site.page(f"/art/{n}", LOGIN.format("请登录后查看"))
        (told,) = crawl(db, source("c", "column", site.url + "/list", link_pattern="/art/")).sources
        assert told.state == "login"
        assert told.new_posts == 0


def test_a_login_page_gives_no_posts_although_it_has_links(db: Database) -> None:
    with Site() as site:
        site.page("/list", LOGIN.format("".join(f'<a href="/help/{n}">帮助</a>' for n in range(9))))
        for n in range(9):
            site.page(f"/help/{n}", article("帮助", "如何找回密码，请联系管理员。\n" * 9))
        (told,) = crawl(db, source("c", "column", site.url + "/list")).sources
        assert (told.state, told.new_posts) == ("login", 0)
        assert site.hits("/help/0") == 0


# --- what people see


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        (
            "zh",
            (
                "久无新帖",
                "请打开网页核对：若有新帖而这里没有",
                "同期应有约",
                "次采集的证据",
                "标题 20/20",
                "5d41402abc4b",
            ),
        ),
        (
            "en",
            (
                "silent too long",
                "Open the page: if there are new posts",
                "were to be expected",
                "Evidence of the last",
                "Title 20/20",
                "5d41402abc4b",
            ),
        ),
    ],
)
def test_the_console_shows_state_advice_silence_and_evidence(
    lang: str, words: tuple[str, ...], db: Database, tmp_path: Path, habit: dict[str, object]
) -> None:
    town = world(db, tmp_path)
    town.account()
    name = town.bundle.sources[0].id
    memory = lived(until=town.now.astimezone(UTC) - timedelta(hours=9), every=timedelta(minutes=30))
    poll = a_poll(town.now.astimezone(UTC) - timedelta(minutes=4), items="5d41402abc4b")
    every = timedelta(minutes=town.bundle.sources[0].every_min)
    verdict = judge(memory, poll, every)
    assert verdict.state == "frozen"
    cursor = {KEY: learn(memory, poll, verdict).dump()}
    with db.transaction() as session:
        record_crawl(
            session,
            name,
            state=verdict.state,
            evidence=verdict.why,
            now=poll.at,
            next_due_at=None,
            cursor=cursor,
        )
    on = tuple(source.model_copy(update={"enabled": True}) for source in town.bundle.sources)
    town.bundle = replace(town.bundle, sources=on)
    page = client(town).get("/sources", params={"lang": lang}).text
    for word in words:
        assert word in page, word
