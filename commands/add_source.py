"""`quansheng add-source URL`: look at a site as a newcomer would want to, and write its entry for sources.yaml.

At most about twenty pages are asked for, within robots.txt and the usual rate. Nothing is stored; what is shown is redacted.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import yaml
from lxml.html import HtmlElement  # type: ignore[import-untyped]
from pydantic import TypeAdapter, ValidationError

from config.sources import TODO, Source
from incidents.installation import Problem
from incidents.stops import hostname
from spiders.connectors.base import canonical, joined
from spiders.connectors.rss import read_feed
from spiders.connectors.sitemap import read_sitemap
from spiders.pagetext import element_text, parse_html
from spiders.trial import PAPERS, Explorer, Reading, Seen, link_shape, origin_of

#: posts of each candidate that are shown
SHOWN = 5
#: candidates that are read on trial
MOST = 4
#: where feeds usually stand, asked only when the page names none
USUAL = ("/feed", "/rss.xml", "/atom.xml", "/sitemap.xml")
#: dates of a sitemap do not matter while its kind is looked at
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_FEED_TYPES = ("application/rss+xml", "application/atom+xml", "application/rdf+xml")
_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


@dataclass(frozen=True)
class Candidate:
    """One way to read the site: its entry without legal fields, and in words how it was found."""

    entry: dict[str, Any]
    found: str

    @property
    def kind(self) -> str:
        """Kind of source."""
        return str(self.entry["kind"])


@dataclass
class Look:
    """What was found out about a site."""

    url: str
    title: str = ""
    system: str = ""
    robots: str = ""
    delay_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    readings: list[tuple[Candidate, Reading]] = field(default_factory=list)

    @property
    def best(self) -> tuple[Candidate, Reading] | None:
        """The gentlest way that gave posts."""
        return next(((one, read) for one, read in self.readings if read.posts), None)


def look_at(url: str, explorer: Explorer, say: Callable[[str], None]) -> Look:
    """Find out how a site can be read, and read the likeliest ways on trial. `say` is told of each step. Raises Problem."""
    look = Look(_address(url))
    say(f"Looking at {look.url} ...")
    (page,) = explorer.look([look.url])
    verdict = explorer.robots(origin_of(look.url))
    if verdict is not None:
        look.delay_s = verdict.crawl_delay
        look.robots = verdict.unreachable or (
            "no rules for us" if verdict.rules is None else f"rules for {verdict.agent} are obeyed"
        )
    if not page.status:
        raise Problem(f"{look.url}: {page.why}")
    if page.why:
        look.notes.append(f"{look.url} answers with {page.why}; this product gets around no wall")
    if page.status >= 400:
        look.notes.append(f"{look.url} answered status {page.status}")
    sitemaps = list(verdict.sitemaps) if verdict is not None else []
    look.candidates = _unique(_candidates(look, page, sitemaps, explorer, say))
    for one in look.candidates[:MOST]:
        say(f"Reading on trial: {one.kind} {one.entry['url']} ({one.found}) ...")
        try:
            source = _SOURCE.validate_python({**one.entry, **PAPERS, "max_items": SHOWN})
        except ValidationError as exc:  # an address of the site that no source may have
            look.notes.append(f"not tried: {one.kind} {one.entry['url']}: {exc.errors()[0]['msg']}")
            continue
        reading = explorer.read(source)
        look.readings.append((one, reading))
        if reading.posts:
            break
    return look


def _address(url: str) -> str:
    text = url.strip().partition("#")[0]
    if "://" not in text:
        text = f"https://{text}"
    wrong = Problem(f"{url!r} is no address of a site; expected https://www.example.cn/...")
    try:
        parts = urlsplit(text)
    except ValueError as exc:
        raise wrong from exc
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in text:
        raise wrong
    if parts.username or parts.password:
        raise Problem("an address must not hold a login; this product reads public pages only")
    return text if parts.path else text + "/"


def _unique(found: Iterator[Candidate]) -> list[Candidate]:
    """Each address and kind once, in the order of gentleness."""
    seen: dict[tuple[str, str], Candidate] = {}
    for one in found:
        seen.setdefault((one.kind, one.entry["url"]), one)
    return list(seen.values())


def _candidates(
    look: Look, page: Seen, sitemaps: list[str], explorer: Explorer, say: Callable[[str], None]
) -> Iterator[Candidate]:
    entry = _entry(look)
    direct = kind_of(page)
    if direct:
        yield Candidate({**entry, "kind": direct, "url": look.url}, "the address itself")
        return
    root = parse_html(page.text)
    if root is None:
        return
    base = page.final or look.url
    title = root.find(".//title")
    look.title = element_text(title)[:80] if title is not None else ""
    entry = _entry(look)
    look.system = system_of(page.text, root)
    if look.system:
        say(f"Made with {look.system}.")
    feeds = list(_feeds(root, base))
    for feed in feeds[:3]:
        yield Candidate(
            {**entry, "kind": "rss", "url": feed, **_beside(look, feed)}, "feed named by the page"
        )
    if look.system == "WordPress":
        yield _wordpress(entry, root, base)
    elif look.system == "Discuz!":
        yield from _boards(entry, look, root, base)
    elif look.system == "Hanweb jpage":
        yield from _jpage(entry, page.text, root, base)
    for one in filter(None, (joined(base, line) for line in sitemaps[:2])):
        yield Candidate(
            {**entry, "kind": "sitemap", "url": one, **_beside(look, one)}, "sitemap named by robots.txt"
        )
    if look.system in ("", "WordPress") and not feeds and not sitemaps:
        guesses = [joined(base, path) for path in USUAL]
        say("No feed is named; asking where they usually stand ...")
        for seen in explorer.look(guesses):
            if kind := kind_of(seen):
                yield Candidate({**entry, "kind": kind, "url": seen.url}, "found at its usual place")
    if look.system not in ("Discuz!", "Hanweb jpage"):
        yield from _columns(entry, look, root, base)


def _entry(look: Look) -> dict[str, Any]:
    host = hostname(look.url) or "site"
    ident = re.sub(r"[^a-z0-9]+", "-", host.lower().removeprefix("www.")).strip("-")[:50] or "site"
    name = re.split(r"\s*[-_|–—]\s*", look.title)[0] if look.title else host
    return {"id": ident, "name": name[:80] or host}


def _beside(look: Look, url: str) -> dict[str, Any]:
    """A feed on another host than the page links back to the page's host."""
    host, own = hostname(url), hostname(look.url)
    return {} if host == own else {"allow_hosts": [own]}


def kind_of(page: Seen) -> str:
    """`rss` or `sitemap` when the page is one by itself."""
    if page.status != 200 or not page.text.lstrip()[:200].startswith("<") or page.why:
        return ""
    head = page.text[:3000].lower()
    if "<urlset" in head or "<sitemapindex" in head:
        return "sitemap" if read_sitemap(page.text.encode(), _ANY_TIME)[0] else ""
    if any(mark in head for mark in ("<rss", "<feed", "<rdf:rdf")) and "<html" not in head:
        return "rss" if read_feed(page.text[:200_000]).get("version") else ""
    return ""


def system_of(text: str, root: HtmlElement) -> str:
    """The content system of a page, as far as we have a connector for it."""
    generator = " ".join(meta.get("content", "") for meta in root.iterfind(".//meta[@name='generator']"))
    if "WordPress" in generator or "api.w.org" in text or "/wp-content/" in text:
        return "WordPress"
    if "Discuz" in generator or re.search(r"discuz_uid|Powered by\W+.{0,60}Discuz", text):
        return "Discuz!"
    if re.search(r"dataproxy\.jsp|<datastore>|jpage", text, re.IGNORECASE):
        return "Hanweb jpage"
    return ""


def _feeds(root: HtmlElement, base: str) -> Iterator[str]:
    for link in root.iter("link"):
        if "alternate" in (link.get("rel") or "") and (link.get("type") or "").lower() in _FEED_TYPES:
            href = joined(base, link.get("href") or "")
            # a feed of comments is no feed of posts
            if href.startswith("http") and "comments/" not in href:
                yield href


def _wordpress(entry: dict[str, Any], root: HtmlElement, base: str) -> Candidate:
    api = next(
        (link.get("href") for link in root.iter("link") if link.get("rel") == "https://api.w.org/"), None
    )
    posts = joined(joined(base, api or "/wp-json/") or joined(base, "/wp-json/"), "wp/v2/posts")
    return Candidate(
        {
            **entry,
            "kind": "json",
            "url": f"{posts}?per_page=100&page={{page}}&modified_after={{since}}",
            "pagination": {"kind": "page", "size": 100},
            "fields": {
                "id": "id",
                "url": "link",
                "title": "title.rendered",
                "text": "content.rendered",
                "published_at": "date_gmt",
            },
            "timezone": "+00:00",
        },
        "WordPress REST",
    )


def _boards(entry: dict[str, Any], look: Look, root: HtmlElement, base: str) -> Iterator[Candidate]:
    """The board at the address, else the boards that the page links to, those with most links first."""
    pattern = re.compile(r"forum-\d+-\d+\.html|mod=forumdisplay")
    more = {"kind": "discuz", "tier": "B", "reason": f"{TODO}：该论坛没有可用的订阅源，只读公开版块"}
    if pattern.search(look.url):
        yield Candidate({**entry, **more, "url": look.url}, "the board itself")
        return
    boards: Counter[str] = Counter()
    names: dict[str, str] = {}
    for anchor in root.iter("a"):
        link = canonical(joined(base, anchor.get("href") or ""))
        if pattern.search(link) and hostname(link) == hostname(base):
            boards[link] += 1
            names[link] = names.get(link) or element_text(anchor)
    if len(boards) > 1:
        look.notes.append(
            "boards: " + ", ".join(f"{names[link] or '?'} {link}" for link, _ in boards.most_common(12))
        )
    for number, (link, _) in enumerate(boards.most_common(3)):
        own = {} if not number else {"id": f"{entry['id']}-{number + 1}"}
        yield Candidate({**entry, **more, **own, "url": link}, f"board {names[link]}")


def _jpage(entry: dict[str, Any], text: str, root: HtmlElement, base: str) -> Iterator[Candidate]:
    if re.search(r"dataproxy\.jsp|<datastore>", text, re.IGNORECASE):
        yield Candidate({**entry, "kind": "hanweb", "url": base}, "column with a jpage list")
        return
    columns = Counter(
        canonical(joined(base, anchor.get("href") or ""))
        for anchor in root.iter("a")
        if re.search(r"/col/col\d+/", anchor.get("href") or "")
    )
    for link, _ in columns.most_common(3):
        if not link:
            continue
        yield Candidate({**entry, "kind": "hanweb", "url": link}, "column of the site")


def _columns(entry: dict[str, Any], look: Look, root: HtmlElement, base: str) -> Iterator[Candidate]:
    """Links of one form with long texts: the list of a column page."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    own = hostname(base)
    for anchor in root.iter("a"):
        link = canonical(joined(base, anchor.get("href") or ""))
        if (
            link.startswith("http")
            and hostname(link) == own
            and re.search(r"\d", urlsplit(link).path + urlsplit(link).query)
        ):
            groups[link_shape(link)].setdefault(link, element_text(anchor))
    likely = sorted(
        (
            (len(links) * min(statistics.mean(len(text) for text in links.values()), 30), shape)
            for shape, links in groups.items()
            if len(links) >= 3 and statistics.mean(len(text) for text in links.values()) >= 5
        ),
        reverse=True,
    )
    for _, shape in likely[:2]:
        yield Candidate(
            {
                **entry,
                "kind": "column",
                "url": look.url,
                "tier": "B",
                "reason": f"{TODO}：该站点没有订阅源和站点地图，只读栏目页",
                "link_pattern": shape + "$",
            },
            f"{len(groups[shape])} links of one form",
        )


# --- what is written ---------------------------------------------------------------------------------------------


def every_min(reading: Reading) -> float:
    """Minutes between readings: half of the usual gap between posts, between 15 minutes and 4 hours; 60 when it cannot be told."""
    times = sorted(post.published_at for post in reading.posts if not post.published_estimated)
    gaps = [(later - earlier).total_seconds() / 60 for earlier, later in itertools.pairwise(times)]
    if len(gaps) < 2:
        return 60
    return float(min(240, max(15, round(statistics.median(gaps) / 2 / 15) * 15)))


def full_entry(look: Look, delay_s: float) -> dict[str, Any]:
    """The entry of the best way, its legal fields to be filled in. Raises Problem when no way gave posts."""
    best = look.best
    if best is None:
        raise Problem(f"{look.url}: no way to read it gave a post; see what was tried above")
    candidate, reading = best
    minutes = every_min(reading)
    delay = max(delay_s, look.delay_s)
    pages = reading.source.kind in ("sitemap", "column", "hanweb", "discuz")
    return {
        **candidate.entry,
        "enabled": False,
        "every_min": minutes,
        "max_rate": round(1 / delay, 3) if delay > 0 else 1.0,
        "legal_basis": f"{TODO}：采集的法律依据，如 履行法定职责；已公开信息(个人信息保护法第13条)",
        "impact_note": f"{TODO}（请核对）：每{minutes:g}分钟1次列表请求{'和新页面' if pages else ''}，间隔不少于{max(delay, 1):g}秒",
        "owner_unit": f"{TODO}：对采集负责的单位",
    }


def as_yaml(entry: dict[str, Any], indent: str = "  ") -> str:
    """The entry as one item of the list in sources.yaml. Raises Problem when it would not be valid."""
    try:
        _SOURCE.validate_python(entry)
    except ValidationError as exc:
        raise Problem(f"the entry is not valid: {exc.errors()[0]['msg']}; please report it") from exc
    text = yaml.safe_dump(entry, allow_unicode=True, sort_keys=False, width=1000)
    lines = text.rstrip("\n").split("\n")
    return "".join(f"{indent}{'- ' if number == 0 else '  '}{line}\n" for number, line in enumerate(lines))


def appended(old: str, entry: dict[str, Any]) -> str:
    """sources.yaml with the entry at its end, comments and order kept; a taken id gets a number. Raises Problem."""
    known = cast("dict[str, Any]", yaml.safe_load(old) or {})
    items = known.get("sources") or []
    taken = {item.get("id") for item in items if isinstance(item, dict)}
    ident, number = entry["id"], 2
    while entry["id"] in taken:
        entry = {**entry, "id": f"{ident}-{number}"}
        number += 1
    if any(isinstance(item, dict) and item.get("url") == entry["url"] for item in items):
        raise Problem(f"sources.yaml: {entry['url']} stands there already")
    found = re.findall(r"(?m)^( *)- ", old)
    indent = found[-1] if found and items else "  "
    if not items:
        head = re.sub(r"(?m)^sources:.*$", "", old).rstrip("\n")
        head = (head + "\n" if head else "") + "sources:\n"
    else:
        head = old.rstrip("\n") + "\n\n"
    new = head + as_yaml(entry, indent)
    if len((yaml.safe_load(new) or {}).get("sources", [])) != len(items) + 1:
        raise Problem("sources.yaml: an entry cannot be added at its end; paste the text above by hand")
    return new


def host_of(url: str) -> str:
    """Host of the address that a person typed. Raises Problem."""
    return hostname(_address(url))


def add_to(folder: Path, entry: dict[str, Any]) -> Path:
    """Add the entry to the folder's sources.yaml, which is written at one stroke. Raises Problem."""
    path = folder / "sources.yaml"
    if not path.exists():
        raise Problem(f"{path} does not exist; write one with `quansheng init {folder}`")
    new = appended(path.read_text("utf-8"), entry)
    fresh = path.with_suffix(".yaml.new")
    fresh.write_text(new, "utf-8")
    fresh.replace(path)
    return path


def told(look: Look) -> Iterator[str]:
    """What a person wants to know, line by line."""
    yield ""
    if look.title:
        yield f"  {look.title}"
    yield f"  robots.txt: {look.robots or 'not asked'}" + (
        f"; it asks for {look.delay_s:g} s between requests" if look.delay_s else ""
    )
    yield from (f"  {note}" for note in look.notes)
    if not look.candidates:
        yield "  No feed, no sitemap, no known system and no list of links was found."
    tried = {id(one) for one, _ in look.readings}
    for one, reading in look.readings:
        yield f"  {one.kind}: {one.entry['url']} ({one.found}): {reading.state}, {reading.evidence}"
        for post in reading.posts[:SHOWN]:
            when = "no date" if post.published_estimated else f"{post.published_at:%Y-%m-%d %H:%M}"
            words = " ".join(post.text.split())
            yield f"    {when}  {post.title[:40] or '(no title)'}"
            yield f"      {words[:70]}{'…' if len(words) > 70 else ''} ({len(post.text)} characters)"
    for one in look.candidates:
        if id(one) not in tried:
            yield f"  not tried: {one.kind} {one.entry['url']} ({one.found})"
    yield ""
