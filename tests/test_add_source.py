"""`quansheng add-source`: what it finds on sites of each kind, what it writes, and what it will not do."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import cli
from commands.add_source import Look, appended, as_yaml, every_min, full_entry, look_at
from config.settings import ConfigError
from config.sources import TODO, load_sources
from incidents.installation import Problem
from spiders.reactor import crawler_thread
from spiders.trial import Explorer, link_shape
from tests.fakes.crawl import CRAWL, KEYS, NOW
from tests.fakes.site import Answer, Hit, Site, article, rss
from tests.test_discuz import LIST, forum
from tests.test_hanweb import column

WORDS = "历下区某小区自来水发黄，居民多次反映无人处理。" * 5
ENTRIES = [
    {
        "title": f"停水{n}",
        "guid": str(n),
        "text": WORDS,
        "date": f"Tue, 24 Nov 2026 0{n}:00:00 +0800",
    }
    for n in range(1, 9)
]


@pytest.fixture(autouse=True)
def _forget() -> None:
    crawler_thread().forget_robots()  # ports are used again


def explore(url: str, **changed: Any) -> tuple[Look, list[str]]:
    said: list[str] = []
    explorer = Explorer(CRAWL.model_copy(update=changed), KEYS.pseudonym, lambda: NOW)
    return look_at(url, explorer, said.append), said


def best(look: Look) -> tuple[str, str, int]:
    assert look.best is not None, look
    one, reading = look.best
    return one.kind, one.entry["url"], len(reading.posts)


def page(site: Site, head: str = "", body: str = "", path: str = "/") -> None:
    site.page(path, f"<html><head><title>泉城家长论坛 - 首页</title>{head}</head><body>{body}</body></html>")


def test_a_feed_that_the_page_names_is_read_first(db: object) -> None:
    with Site() as site:
        page(site, '<link rel="alternate" type="application/rss+xml" href="/rss">')
        site.page("/robots.txt", "User-agent: *\nCrawl-delay: 0.2\nSitemap: /map.xml\n", kind="text/plain")
        site.page("/rss", rss(ENTRIES), kind="text/xml")
        look, _ = explore(site.url)
        assert best(look) == ("rss", f"{site.url}/rss", 5)
        assert (look.title, look.delay_s) == ("泉城家长论坛 - 首页", 0.2)
        assert site.hits() == 3  # page, robots.txt, feed: what is not needed is not asked
        assert site.hits("/robots.txt") == 1
        entry = full_entry(look, 5)
        assert (entry["every_min"], entry["max_rate"], entry["enabled"]) == (30, 0.2, False)
        assert entry["name"] == "泉城家长论坛"


def test_wordpress_is_known_and_read_by_rest_where_its_feed_is_off(db: object) -> None:
    def posts(hit: Hit) -> Answer:
        found = [
            {
                "id": n,
                "link": f"http://x/{n}",
                "title": {"rendered": f"停水{n}"},
                "content": {"rendered": f"<p>{WORDS}</p>"},
                "date_gmt": f"2026-11-23T0{n}:00:00",
            }
            for n in range(6)
        ]
        return Answer(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    with Site() as site:
        api = f'<link rel="https://api.w.org/" href="{site.url}/wp-json/">'
        page(site, f'<meta name="generator" content="WordPress 6.1">{api}')
        since = (NOW - timedelta(days=7)).strftime("%Y-%m-%dT02%%3A00%%3A00Z")
        site.on(f"/wp-json/wp/v2/posts?per_page=100&page=1&modified_after={since}", posts)
        look, said = explore(site.url)
        assert any("WordPress" in line for line in said)
        kind, url, number = best(look)
        assert (kind, number) == ("json", 5)
        assert "/wp-json/wp/v2/posts" in url


def test_a_discuz_forum_is_read_by_its_board(db: object) -> None:
    with Site() as site:
        forum(site, 101, 102, 103)
        look, _ = explore(f"{site.url}{LIST}")
        assert best(look)[0] == "discuz"
        entry = full_entry(look, 5)
        assert entry["tier"] == "B"
        assert entry["reason"].startswith(TODO)
        page(
            site,
            '<meta name="generator" content="Discuz! X3.4">',
            f'<a href="{LIST}">家长之声</a><a href="{LIST}">更多</a>',
            path="/forum.php",
        )
        look, _ = explore(f"{site.url}/forum.php")
        assert best(look)[0] == "discuz"


def test_a_government_column_is_read_through_its_list(db: object) -> None:
    with Site() as site:
        column(site, list(range(9, 0, -1)))
        from tests.test_hanweb import SCRIPT, list_page

        site.page(
            "/col/col85285/index.html",
            list_page(script=SCRIPT.replace("/module/jpage/", "/module/web/jpage/")),
        )
        look, _ = explore(f"{site.url}/col/col85285/index.html")
        assert look.system == "Hanweb jpage"
        assert look.candidates[0].kind == "hanweb"


def test_a_sitemap_of_robots_txt_and_one_at_its_usual_place_are_found(db: object) -> None:
    with Site() as site:
        page(site)
        urls = "".join(f"<url><loc>{site.url}/n/{n}.html</loc></url>" for n in range(7))
        site.page("/map.xml", f"<urlset>{urls}</urlset>", kind="text/xml")
        for n in range(7):
            site.page(f"/n/{n}.html", article(f"停水{n}", WORDS + str(n)))
        site.page("/robots.txt", f"User-agent: *\nAllow: /\nSitemap: {site.url}/map.xml\n", kind="text/plain")
        look, _ = explore(site.url)
        assert best(look) == ("sitemap", f"{site.url}/map.xml", 5)
        pages = [hit for hit in site.log() if hit.path.startswith("/n/")]
        assert len(pages) == 5  # no more than are shown
    with Site() as site:
        page(site)
        site.page("/rss.xml", rss(ENTRIES), kind="text/xml")
        look, _ = explore(site.url)
        assert best(look) == ("rss", f"{site.url}/rss.xml", 5)


def test_a_plain_list_of_links_becomes_a_column_with_its_pattern(db: object) -> None:
    with Site() as site:
        links = "".join(
            f'<li><a href="/art/2026/11/{n}/art_12_{n}.html">历下区部分路段停水通知第{n}号</a></li>'
            for n in range(1, 9)
        )
        menu = "".join(f'<a href="/col{n}.html">栏目</a>' for n in range(20))
        page(site, body=f"{menu}<ul>{links}</ul>", path="/list")
        for n in range(1, 9):
            site.page(f"/art/2026/11/{n}/art_12_{n}.html", article(f"停水{n}", WORDS + str(n)))
        look, _ = explore(f"{site.url}/list")
        assert best(look) == ("column", f"{site.url}/list", 5)
        assert full_entry(look, 5)["link_pattern"] == r"/art/\d+/\d+/\d+/art_\d+_\d+\.html$"


def test_robots_and_walls_are_told_and_not_got_around(db: object) -> None:
    with Site() as site:
        page(site)
        site.page("/robots.txt", "User-agent: *\nDisallow: /\n", kind="text/plain")
        with pytest.raises(Problem, match="robots"):
            explore(site.url)
        assert site.hits() == 1
    with Site() as site:
        site.page("/", "no", status=403)
        with pytest.raises(Problem, match="answered 403"):
            explore(site.url)
        assert site.hits() == 2
    with Site() as site:
        page(site)
        with pytest.raises(Problem, match="private address"):
            explore(site.url, allow_private_hosts=())
        assert site.hits() == 0
    with pytest.raises(Problem, match="no address"):
        explore("ftp://a.cn")


def test_a_site_with_nothing_to_read_is_told_in_a_sentence(db: object) -> None:
    with Site() as site:
        page(site, body="<p>敬请期待</p>")
        look, _ = explore(site.url)
        with pytest.raises(Problem, match="no way to read it gave a post"):
            full_entry(look, 5)


def test_links_of_one_form_share_a_pattern() -> None:
    assert link_shape("http://a.cn/t-12-1.html?page=3") == r"/t-\d+-\d+\.html\?page=\d+"


def test_the_entry_is_added_with_comments_kept_and_a_taken_id_numbered(tmp_path: Path) -> None:
    entry = {
        "id": "a-cn", "name": "论坛", "kind": "rss", "url": "https://a.cn/rss", "enabled": False,
        "legal_basis": f"{TODO}：依据", "impact_note": "x", "owner_unit": "y",
    }  # fmt: skip
    file = tmp_path / "sources.yaml"
    file.write_text("# what we read\nsources: []\n", "utf-8")
    file.write_text(appended(file.read_text("utf-8"), entry), "utf-8")
    file.write_text(appended(file.read_text("utf-8"), {**entry, "url": "https://a.cn/2"}), "utf-8")
    assert "# what we read" in file.read_text("utf-8")
    assert [source.id for source in load_sources(file)] == ["a-cn", "a-cn-2"]
    with pytest.raises(Problem, match="stands there already"):
        appended(file.read_text("utf-8"), entry)
    file.write_text(file.read_text("utf-8").replace("enabled: false", "enabled: true", 1), "utf-8")
    with pytest.raises(ConfigError, match="fill in legal_basis before the source is enabled"):
        load_sources(file)
    assert yaml.safe_load("sources:\n" + as_yaml(entry))["sources"][0]["url"] == "https://a.cn/rss"


def test_the_interval_follows_the_gaps_between_posts(db: object) -> None:
    with Site() as site:
        site.page("/f", rss([{"title": "停水", "guid": "1", "text": WORDS}]), kind="text/xml")
        look, _ = explore(f"{site.url}/f")
        assert look.best is not None
        assert every_min(look.best[1]) == 60  # one post tells nothing


def test_the_command_prints_the_entry_and_writes_it_on_wish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CliRunner()
    assert run.invoke(cli.app, ["init", str(tmp_path)]).exit_code == 0
    monkeypatch.setenv("QUANSHENG_CRAWL__DELAY_S", "0")
    monkeypatch.setenv("QUANSHENG_CRAWL__ALLOW_PRIVATE_HOSTS", '["127.0.0.1"]')
    with Site() as site:
        site.page("/f", rss(ENTRIES), kind="text/xml")
        words = ["--config", str(tmp_path), "add-source", f"{site.url}/f"]
        shown = run.invoke(cli.app, words)
        assert shown.exit_code == 0, shown.output + str(shown.exception)
        assert "停水1" in shown.output
        assert yaml.safe_load("sources:\n" + shown.stdout)["sources"][0]["kind"] == "rss"
        written = run.invoke(cli.app, [*words, "--write"])
        assert written.exit_code == 0
        added = load_sources(tmp_path / "sources.yaml")[-1]
        assert (added.url, added.enabled) == (f"{site.url}/f", False)
        (tmp_path / "sources.yaml").write_text("sources: []\n", "utf-8")
        both = run.invoke(cli.app, [*words, "--json", "--write"])
        assert json.loads(both.stdout)["url"] == f"{site.url}/f"
        assert [one.url for one in load_sources(tmp_path / "sources.yaml")] == [f"{site.url}/f"]
        assert run.invoke(cli.app, ["--config", str(tmp_path), "halt", "--reason", "x"]).exit_code == 0
        refused = run.invoke(cli.app, words)
        assert "halted by" in str(refused.exception)
