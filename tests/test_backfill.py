"""Back-fill: a range of the past, page by page; resumable, polite, and no news of today."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from config.settings import ConfigError
from config.sources import Source
from incidents import stops
from incidents.backfills import BackfillView, list_backfills
from incidents.models import Post
from incidents.session import Database
from incidents.sources import get_state
from spiders import backfill
from spiders.hostlock import host_locks
from spiders.pageback import PageBack
from spiders.reactor import crawler_thread
from tests.fakes.crawl import KEYS, NOW, bundle, crawl, folder_of, source
from tests.fakes.site import Answer, Hit, Site, article

START, UNTIL = NOW - timedelta(days=20), NOW - timedelta(days=10)
TEXT = "历下区某小区自来水发黄已经三天，居民多次拨打热线反映，物业表示正在检修。\n" * 4


def back(
    db: Database,
    one: Source,
    *more: Source,
    start: datetime = START,
    until: datetime = UNTIL,
    waits: list[float] | None = None,
    **changed: Any,
) -> backfill.Stop:
    crawler_thread().forget_robots()
    waited = waits if waits is not None else []
    options = {name: changed.pop(name) for name in ("max_pages", "progress", "clock") if name in changed}
    home = bundle(one, *more, data_dir=folder_of(db), **changed)
    clock: Callable[[], datetime] = options.pop("clock", lambda: NOW)
    return backfill.run(db, home, KEYS, one.id, start, until, clock, sleep=waited.append, env={}, **options)


def posts_of(db: Database, source_id: str, *, all_: bool = False) -> list[Post]:
    """The posts that a back-fill brought; the ordinary reading that comes first brings the newest."""
    with db.reading() as session:
        posts = list(session.scalars(select(Post).where(Post.source_id == source_id).order_by(Post.id)))
        session.expunge_all()
    return [one for one in posts if all_ or "backfill" in one.provenance]


def when(n: int) -> datetime:
    """Post n of a site that posts every six hours; post 0 is of now."""
    return NOW - timedelta(hours=6 * n)


WANTED = [n for n in range(160) if START <= when(n) < UNTIL]


def api(site: Site, size: int = 10, total: int = 160) -> Source:
    def answer(hit: Hit) -> Answer:
        page = int(parse_qs(urlsplit(hit.path).query)["page"][0])
        rows = [
            {"id": n, "t": f"停水第{n}次", "at": when(n).isoformat()}
            for n in range((page - 1) * size, min(page * size, total))
        ]
        return Answer(200, json.dumps(rows).encode(), {"Content-Type": "application/json"})

    for page in range(1, total // size + 3):
        site.on(f"/api?page={page}", answer)
    return source(
        "api",
        "json",
        f"{site.url}/api?page={{page}}",
        fields={"id": "id", "text": "t", "published_at": "at"},
        pagination={"kind": "page", "size": size, "max_pages": 1},
    )


def column(site: Site, size: int = 8, total: int = 160, dated: bool = True) -> Source:
    for page in range(1, total // size + 1):
        numbers = range((page - 1) * size, page * size)
        rows = "".join(
            f'<li><a href="/art/{n}">自来水发黄{n}</a><i>{when(n):%Y-%m-%d %H:%M}</i></li>'
            if dated
            else f'<li><a href="/art/{n}">自来水发黄{n}</a></li>'
            for n in numbers
        )
        older = f'<a class="next" href="/col/{page + 1}">下一页</a>' if page < total // size else ""
        site.page(f"/col/{page}", f"<html><body><ul>{rows}</ul>{older}</body></html>")
    for n in range(total):
        site.page(f"/art/{n}", article(f"自来水发黄{n}", f"{TEXT}{n}", date=f"{when(n):%Y-%m-%d %H:%M}"))
    return source(
        "col", "column", f"{site.url}/col/1", link_pattern="/art/", next_selector="a.next", tier="A"
    )


def test_a_range_is_read_whole_and_nothing_around_it(any_db: Database) -> None:
    with Site() as site:
        done = back(any_db, api(site))
        assert (done.state, done.view.saved) == ("done", len(WANTED))
        posts = posts_of(any_db, "api")
        assert sorted(int(p.external_id) for p in posts) == WANTED
        assert all(
            START <= p.published_at < UNTIL and p.provenance["backfill"] == done.view.id for p in posts
        )
        # page 9 holds the last post of the range and nine older ones, page 10 none: there it stops
        assert site.hits("/api?page=10") == 1
        assert site.hits("/api?page=11") == 0
        with any_db.reading() as session:
            assert (get_state(session, "api").cursor or {}).get(
                "watermark"
            ) is not None  # of the ordinary reading
        hits = site.hits()
        assert back(any_db, api(site)).state == "done"
        assert site.hits() == hits  # done is done


def test_only_articles_of_the_range_are_fetched(db: Database) -> None:
    with Site() as site:
        one = column(site)
        waits: list[float] = []
        done = back(db, one, waits=waits, delay_s=0)
        assert done.state == "done"
        ids = sorted(int(p.url.rsplit("/", 1)[1]) for p in posts_of(db, "col"))
        fetched = {int(hit.path.rsplit("/", 1)[1]) for hit in site.log() if hit.path.startswith("/art/")}
        assert ids == WANTED
        assert max(fetched) < max(WANTED) + 6  # a day's margin
        assert min(fetched - set(range(8))) > min(WANTED) - 8


def test_a_list_without_dates_is_told_by_its_articles(db: Database) -> None:
    with Site() as site:
        done = back(
            db, column(site, dated=False), start=NOW - timedelta(days=3), until=NOW - timedelta(days=1)
        )
        assert done.state == "done"
        # without a date in the row the page has to be read
        numbers = {int(p.url.rsplit("/", 1)[1]) for p in posts_of(db, "col", all_=True)}
        assert site.hits("/col/4") == 0
        assert {
            n for n in range(160) if NOW - timedelta(days=3) <= when(n) < NOW - timedelta(days=1)
        } <= numbers


def test_it_goes_on_where_it_was_stopped(db: Database) -> None:
    with Site() as site:
        one = api(site)
        seen: list[BackfillView] = []
        first = back(db, one, max_pages=5, progress=seen.append)
        assert (first.state, first.view.pages, len(seen)) == ("stopped", 5, 5)
        assert first.view.share is not None
        assert 0 < first.view.share < 1
        last = back(db, one)
        assert (last.state, last.view.saved) == ("done", len(WANTED))
        assert site.hits("/api?page=3") == 1
        with db.reading() as session:
            assert [one.state for one in list_backfills(session)] == ["done"]


def test_failing_pages_are_asked_for_again_and_then_set_aside(db: Database) -> None:
    with Site() as site:
        one = column(site)
        bad = WANTED[5]
        site.page(f"/art/{bad}", "broken", status=500)
        waits: list[float] = []
        done = back(db, one, waits=waits)
        assert done.state == "done"
        numbers = {int(p.url.rsplit("/", 1)[1]) for p in posts_of(db, "col")}
        assert set(WANTED) - numbers == {bad}
        assert max(waits) >= backfill.RETRY_S  # not at once


def test_a_list_that_fails_stops_it_and_it_goes_on_later(db: Database) -> None:
    with Site() as site:
        one = api(site)
        crawl(db, one)
        good = site._answers["/api?page=6"]
        site.page("/api?page=6", "down", status=500)
        stopped = back(db, one)
        assert (stopped.state, stopped.view.pages) == ("stopped", 5)
        assert "500" in stopped.sentence
        site.on("/api?page=6", good)
        assert back(db, one).view.saved == len(WANTED)


def test_a_refusal_stops_it_and_the_ordinary_readings_too(db: Database) -> None:
    with Site() as site:
        one = api(site)
        crawl(db, one)
        site.page("/api?page=4", "slow down", status=429, headers={"Retry-After": "7200"})
        paused = back(db, one)
        assert paused.state == "paused"
        with db.reading() as session:
            state = get_state(session, "api")
        assert (state.state, state.next_due_at) == ("blocked", NOW + timedelta(hours=2))
        hits = site.hits()
        assert back(db, one).state == "paused"
        assert site.hits() == hits


def test_robots_bind_a_back_fill_too(db: Database) -> None:
    with Site() as site:
        one = column(site)
        site.page("/robots.txt", "User-agent: *\nCrawl-delay: 0.3\nDisallow: /col/4\n", kind="text/plain")
        waits: list[float] = []
        stopped = back(db, one, waits=waits)
        assert stopped.state == "stopped"
        assert "robots.txt forbids" in stopped.sentence
        assert min(waits) >= 0.3  # Crawl-delay holds between two pages too
        assert site.hits("/col/4") == 0


def test_a_halt_binds_a_back_fill_too(db: Database) -> None:
    with Site() as site:
        source_ = api(site)
        with db.transaction() as session:
            stops.make(session, "halt", "all", "", reason="r", actor="lin", channel="cli", now=NOW)
        ended = back(db, source_)
        assert ended.state == "stopped"
        assert "halted by lin" in ended.sentence
        assert site.hits() == 0


def test_the_rate_and_the_hosts_lock_are_those_of_ordinary_readings(db: Database) -> None:
    with Site() as site:
        one = api(site).model_copy(update={"max_rate": 5.0})
        waits: list[float] = []
        back(db, one, waits=waits)
        assert len(waits) >= 8
        assert all(wait >= 0.2 for wait in waits)
        other = api(site).model_copy(update={"id": "api2"})
        folder = bundle(one, data_dir=folder_of(db)).settings.data_path / "locks"
        crawl(db, other)
        hits = site.hits()
        with host_locks(folder, other.hosts):
            held = back(db, other, waits=waits)
        assert held.state == "stopped"
        assert "holds" in held.sentence
        assert site.hits() == hits


def test_due_readings_of_the_host_come_first(db: Database) -> None:
    with Site() as site:
        site.feed("/feed.xml", [{"title": "停水", "guid": "g", "text": "停水三天"}])
        news = source("news", "rss", f"{site.url}/feed.xml")
        back(db, api(site), news)
        paths = [hit.path for hit in site.log() if hit.path != "/robots.txt"]
        assert paths.index("/feed.xml") < paths.index("/api?page=2")
        assert len(posts_of(db, "news", all_=True)) == 1


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (source("feed", "rss", "http://127.0.0.1/feed.xml"), "newest entries only"),
        (source("c", "column", "http://127.0.0.1/c"), "next_selector"),
        (source("hot", "newsnow", "http://127.0.0.1/", list_id="weibo", words=["济南"]), "newest posts only"),
        (
            source("j", "json", "http://127.0.0.1/j", fields={"id": "id", "text": "t"}),
            "no pagination",
        ),
        (
            source(
                "w", "weibo", "http://127.0.0.1/", endpoint="statuses/mentions", token="${T}", reason="试点"
            ),
            "quansheng import",
        ),
    ],
)
def test_what_cannot_page_back_says_so(db: Database, one: Source, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        back(db, one)
    with db.reading() as session:
        assert list_backfills(session) == []


def test_a_range_past_its_time_is_refused(db: Database) -> None:
    with Site() as site, pytest.raises(ConfigError, match="must not be collected again"):
        back(db, api(site), start=NOW - timedelta(days=400))
    with Site() as site, pytest.raises(ConfigError, match="empty"):
        back(db, api(site), start=UNTIL, until=START)


def test_a_server_that_repeats_its_last_page_ends_the_list(db: Database) -> None:
    with Site() as site:
        one = api(site, total=70)
        site.on("/api?page=8", site._answers["/api?page=7"])

        def last(hit: Hit) -> Answer:
            rows = [{"id": n, "t": f"停水第{n}次", "at": when(n).isoformat()} for n in range(60, 70)]
            return Answer(200, json.dumps(rows).encode(), {"Content-Type": "application/json"})

        for page in range(7, 40):
            site.on(f"/api?page={page}", last)
        done = back(db, one)
        assert done.state == "done"
        assert site.hits("/api?page=9") == 0


def test_sitemaps_are_read_one_after_the_other(db: Database) -> None:
    with Site() as site:
        maps = "".join(f"<sitemap><loc>{site.url}/map{k}.xml</loc></sitemap>" for k in range(4))
        head = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
        site.page("/map.xml", f"<sitemapindex {head}>{maps}</sitemapindex>", kind="text/xml")
        for k in range(4):
            urls = "".join(
                f"<url><loc>{site.url}/art/{n}</loc><lastmod>{when(n).isoformat()}</lastmod></url>"
                for n in range(k * 40, k * 40 + 40)
            )
            site.page(f"/map{k}.xml", f"<urlset {head}>{urls}</urlset>", kind="text/xml")
        column(site)
        one = source("map", "sitemap", f"{site.url}/map.xml", max_age_days=0.1)
        done = back(db, one)
        assert done.state == "done"
        numbers = {int(p.url.rsplit("/", 1)[1]) for p in posts_of(db, "map")}
        assert set(WANTED) <= numbers


def test_a_timeline_is_paged_by_its_ids(db: Database) -> None:
    def ident(n: int) -> int:
        return int(when(n).timestamp() * 1000) << 16

    with Site() as site:

        def answer(hit: Hit) -> Answer:
            query = parse_qs(urlsplit(hit.path).query)
            below = int(query.get("max_id", [str(1 << 80)])[0])
            rows = [n for n in range(160) if ident(n) < below][:20]
            statuses = [
                {
                    "id": str(ident(n)),
                    "content": f"<p>停水第{n}次</p>",
                    "created_at": when(n).isoformat(),
                    "visibility": "public",
                    "account": {"acct": f"u{n}"},
                    "url": f"{site.url}/@u/{n}",
                }
                for n in rows
            ]
            link = f'<{site.url}/api/v1/timelines/tag/t?max_id={ident(rows[-1])}>; rel="next"' if rows else ""
            return Answer(
                200, json.dumps(statuses).encode(), {"Content-Type": "application/json", "Link": link}
            )

        site._answers = _Any(site._answers, "/api/v1/", answer)
        one = source("toot", "mastodon", site.url, tag="济南", size=20, max_pages=1)
        crawl(db, one)
        before = site.hits()
        done = back(db, one)
        assert done.state == "done"
        numbers = {p.text for p in posts_of(db, "toot")}
        assert numbers == {f"停水第{n}次" for n in WANTED}
        assert site.hits() - before <= 5  # it began at the end of the range, not at the newest post


class _Any(dict[str, Any]):
    """Answers every path with this beginning."""

    def __init__(self, known: dict[str, Any], prefix: str, answer: Any) -> None:
        super().__init__(known)
        self._prefix, self._answer = prefix, answer

    def get(self, key: str, default: Any = None) -> Any:
        return self._answer if key.startswith(self._prefix) else super().get(key, default)


def test_forums_are_read_one_after_the_other(db: Database) -> None:
    with Site() as site:

        def answer(hit: Hit) -> Answer:
            form = {key: value[0] for key, value in parse_qs(hit.body.decode()).items()}
            fid, last = int(form["fid"]), int(form["lastItem"])
            numbers = [n for n in range(160) if not last or 10_000 * fid - n < last][:20]
            rows = [
                {
                    "tid": 10_000 * fid - n,
                    "subject": f"停水{fid}",
                    "content": f"停水第{n}次",
                    "dateline": int(when(n).timestamp()),
                }
                for n in numbers
            ]
            body = json.dumps({"result": "success", "responseData": rows}).encode()
            return Answer(200, body, {"Content-Type": "application/json"})

        site.on("/list", answer)
        one = source(
            "board", "liuyan", f"{site.url}/list", fids=[1, 2], page_size=20, max_pages=1, reason="试点"
        )
        done = back(db, one)
        assert done.state == "done"
        found = posts_of(db, "board")
        assert len(found) == 2 * len(WANTED)
        assert len({p.external_id for p in found}) == len(found)


def test_pinned_rows_and_a_sidebar_do_not_mislead(db: Database) -> None:
    page = PageBack(1, START, UNTIL)
    for n in range(100, 110):
        page.note(when(n))
    page.note(NOW)  # a pinned row of today
    assert page.behind() == 1
    assert page.next_place("x") is None
    page.following = {"number": 2}
    assert page.next_place("x") == {"number": 2}  # one page with young rows does not end it, two do
    again = PageBack(1, START, UNTIL, old_pages=1, following={"number": 3}, _dates=list(page._dates))
    assert again.next_place("y") is None


def test_a_post_without_a_date_stands_at_the_end_of_the_range(db: Database) -> None:
    with Site() as site:
        one = api(site)
        crawl(db, one)
        rows = [{"id": n, "t": f"停水第{n}次", "at": when(n).isoformat()} for n in WANTED[:5]]
        rows.append({"id": 999, "t": "没有日期"})
        site.page("/api?page=1", json.dumps(rows), kind="application/json")
        back(db, one)
        undated = next(p for p in posts_of(db, "api") if p.external_id == "999")
        assert undated.published_estimated
        assert undated.published_at == UNTIL.astimezone(UTC)
