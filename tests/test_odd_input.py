"""Odd input costs no post, no source and no page: addresses that are none ("http://[待补"), numbers without end, signs that only look like digits.

Nothing goes around a stop by them.
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from protego import Protego
from sqlalchemy import select

from analysis.heat import media_share
from commands import add_source
from incidents import stops
from incidents.installation import Problem
from incidents.models import Post
from incidents.posts import NewPost, list_quarantine, save_posts
from incidents.quarantine import set_aside_once
from incidents.session import Database
from incidents.sources import get_state, list_states
from incidents.states import Refused
from incidents.stops import Stop, Stops, hostname
from spiders.connectors.base import canonical, joined, page_id
from spiders.connectors.rss import read_feed
from spiders.connectors.sitemap import read_sitemap
from spiders.dates import is_future, parse_when
from spiders.items import PostItem
from spiders.middlewares import MAX_PAUSE, retry_after
from spiders.pagetext import decode
from spiders.pipelines import to_post
from spiders.redact import redact_value
from spiders.robots import Verdict
from tests.fakes.crawl import KEYS, NOW, crawl, source
from tests.fakes.site import Site, article, rss

ODD = ("http://[待补", "https://]", "http://[::1", "//[x", "http://[待补]/a#b")
WORDS = "历下区某小区自来水发黄已经三天，居民多次拨打热线反映，物业表示正在检修。\n" * 4


@pytest.mark.parametrize("url", ODD)
def test_an_address_that_is_none_has_no_host_and_is_asked_like_any_other(url: str) -> None:
    assert hostname(url) == ""
    rows = (
        Stop("objection", "host", "a.cn", "r", "lin", NOW),
        Stop("objection", "prefix", "a.cn/u/", "r", "lin", NOW),
        Stop("objection", "page", stops.page_key("http://a.cn/1"), "r", "lin", NOW),
    )
    assert Stops(rows).of_url(url) is None
    assert Stops((Stop("objection", "page", stops.page_key(url), "r", "lin", NOW),)).of_url(url) is not None
    assert Stops((Stop("halt", "all", "", "r", "lin", NOW),)).of_url(url) is not None
    assert media_share([url, "https://www.people.com.cn/a"]) == 1.0
    assert joined("http://a.cn/x", url) == ""
    assert canonical(url) == ""
    item = PostItem(source_id="s", external_id="1", url=url, text="停水")
    assert (item.url, item.text) == ("", "停水")


@pytest.mark.parametrize("scope", ["host", "prefix"])
@pytest.mark.parametrize("url", ODD)
def test_a_stop_of_no_address_is_refused_in_a_sentence(scope: str, url: str) -> None:
    with pytest.raises(Refused):
        stops.target_of(scope, url)


@pytest.mark.parametrize("url", [*ODD, "https://lin:secret@a.cn/", "ftp://a.cn/"])
def test_a_site_is_not_looked_at_by_no_address_nor_with_a_login(url: str) -> None:
    with pytest.raises(Problem) as said:
        add_source.host_of(url)
    assert "secret" not in str(said.value)


def test_a_site_with_broken_links_is_read_all_the_same(db: Database) -> None:
    with Site() as site:
        site.page("/1", article("自来水发黄", WORDS))
        site.page("/2", article("路灯不亮", WORDS + "二"))
        links = (
            '<li><a href="http://[待补">稿件待补充的一条标题</a></li><li><a href="/1">自来水发黄三天</a></li>'
        )
        site.page("/col", f"<html><body><ul>{links}</ul></body></html>")
        locs = "".join(f"<url><loc>{url}</loc></url>" for url in ("http://[待补", f"{site.url}/2"))
        site.page("/map", f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{locs}</urlset>')
        entries = [
            {"title": "井盖松动", "link": "http://[待补", "text": "井盖松动三天"},
            {"title": "公交太少", "link": "/bus/3.html", "text": "公交太少"},
        ]
        site.page("/f", rss(entries), kind="text/xml")
        crawl(
            db,
            source("col", "column", f"{site.url}/col", link_pattern="."),
            source("map", "sitemap", f"{site.url}/map"),
            source("feed", "rss", f"{site.url}/f"),
        )
        with db.reading() as session:
            rows = session.execute(select(Post.title, Post.url, Post.external_id))
            found = {title: (url, key) for title, url, key in rows}
            states = {state.source_id: state.state for state in list_states(session)}
    assert set(found) == {"自来水发黄", "路灯不亮", "井盖松动", "公交太少"}
    assert states == {"col": "ok", "map": "ok", "feed": "ok"}
    assert found["井盖松动"][0] == ""
    # a relative link is completed; the post keeps the key that it had before
    assert found["公交太少"] == (f"{site.url}/bus/3.html", page_id("/bus/3.html"))


@pytest.mark.parametrize(
    "raw", [10**400, -(10**400), float("inf"), float("nan"), "9" * 5000, "9" * 400 + "天前", [], {}]
)
def test_a_time_that_is_none_is_no_time(raw: object) -> None:
    assert parse_when(raw, NOW) is None
    assert not is_future(raw, NOW)


@pytest.mark.parametrize(
    ("raw", "pause"), [("9" * 5000, MAX_PAUSE), ("²", None), ("120", timedelta(minutes=2))]
)
def test_a_pause_without_end_is_the_longest_one(raw: str, pause: timedelta | None) -> None:
    assert retry_after(raw, NOW) == pause


def test_one_odd_entry_of_an_interface_is_set_aside_and_the_others_are_read(db: Database) -> None:
    entries = (
        '[{"id": "1", "t": ["停水"], "at": 1764208800, "n": Infinity},'
        ' {"id": "2", "t": [null, 3], "at": ' + "1" * 400 + "},"
        ' {"id": "3", "t": ["停电"], "at": ' + "1" * 400 + ', "n": "²"}]'
    )
    with Site() as site:
        site.page("/api", entries, kind="application/json")
        fields = {"id": "id", "text": "join('，', t)", "published_at": "at", "likes": "n"}
        crawl(db, source("api", "json", f"{site.url}/api", fields=fields))
        with db.reading() as session:
            rows = session.execute(select(Post.text, Post.published_estimated).order_by(Post.id)).all()
            (aside,) = list_quarantine(session)
            assert get_state(session, "api").state == "ok"
    assert [tuple(row) for row in rows] == [("停水", False), ("停电", True)]
    assert aside.reason == "neither title nor text"


def test_signs_that_no_database_takes_cost_neither_post_nor_state(any_db: Database) -> None:
    half = "\ud800\x00"
    with any_db.transaction() as session:
        origin = {"kind": "x", "answer": {"text": f"已答复{half}", half: [half]}}
        given = to_post(
            PostItem(source_id="s", external_id="1", text=f"停水{half}", provenance=origin),
            KEYS.pseudonym,
            NOW,
        )
        assert isinstance(given, NewPost)
        assert save_posts(session, [given]).saved == 1
        set_aside_once(session, "a", 1, "f", "r", redact_value({"n": float("nan"), "m": [float("inf")]}), NOW)
    with Site() as site:
        said = json.dumps({"error": half, "message": f"gesperrt {half}"})
        query = "repo=did%3Aplc%3Aabc&collection=app.bsky.feed.post&limit=100"
        site.page(f"/xrpc/com.atproto.repo.listRecords?{query}", said, kind="application/json", status=400)
        crawl(any_db, source("at", "atproto", site.url, repos=("did:plc:abc",)))
        with any_db.reading() as session:
            found = get_state(session, "at")
            assert (found.state, "gesperrt \ufffd" in found.evidence) == ("changed", True)
            assert session.scalars(select(Post.text)).all() == ["停水\ufffd"]


@pytest.mark.parametrize("line", ["Request-rate: 1/" + "9" * 400, "Crawl-delay: 1e308"])
def test_a_wait_without_end_in_robots_txt_is_a_day(line: str) -> None:
    rules = Protego.parse(f"User-agent: *\n{line}\nDisallow: /x\n")
    assert Verdict("http://a.cn", "QuanshengBot", rules, expires=0).crawl_delay == 86_400


@pytest.mark.parametrize("name", ["undefined", "hex", "rot13", "unicode_escape", "utf-7", "idna", "no-such"])
def test_what_is_no_charset_of_pages_is_not_believed(name: str) -> None:
    assert decode("停水三天".encode(), f"text/html; charset={name}") == ("停水三天", "utf-8")
    assert decode("停水三天".encode("big5hkscs"), "text/html; charset=big5-hkscs")[0] == "停水三天"


def test_characters_that_there_are_not_cost_no_feed_and_odd_tags_no_sitemap() -> None:
    for reference in ("&#x110000;", "&#55296;", "&#99999999999999999999;", "&#xD800;"):
        text = (
            rss([{"title": "停水T", "guid": "1", "text": "停水三天&amp;"}]).decode().replace("T", reference)
        )
        (entry,) = read_feed(text).entries
        assert entry.title == "停水\ufffd"
    assert (
        read_feed(rss([{"title": "A"}]).decode().replace("A", "A&#20572;&#x6c34;")).entries[0].title
        == "A停水"
    )
    broken = (
        b'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url:><loc>http://a.cn/1</loc></url:>'
        b"<url><loc>http://a.cn/2</loc></url></urlset>"
    )
    cut = (
        '<urlset xmlns:n="http://www.google.com/schemas/sitemap-news/0.9"><url><loc>http://a.cn/3</loc><n:title>停水'
        "&#55357;</n:title></url></urlset>"
    )
    kind, (one,) = read_sitemap(cut.encode(), NOW)
    assert (kind, one.loc, one.title) == ("urlset", "http://a.cn/3", "停水\ufffd")
    kind, entries = read_sitemap(broken, NOW)
    assert kind == "urlset"
    assert "http://a.cn/2" in [entry.loc for entry in entries]
