"""What every connector does: ask for pages, read them, yield items and further requests."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from scrapy import Request
from scrapy.http import Response

from config.sources import Source
from incidents import hot_titles
from incidents.revisits import KnownPost
from incidents.source_health import GARBLED
from incidents.stops import hostname
from spiders.browser import RENDER
from spiders.extract import Article, extract
from spiders.items import PostItem, Unusable
from spiders.page_class import garbled, wall_of
from spiders.pageback import Place
from spiders.pagetext import decode, plain
from spiders.pipelines import external_id
from spiders.problems import Blocked, Changed, LoginWall, SourceProblem
from spiders.redact import redact
from spiders.source_run import SourceRun

Found = PostItem | Unusable | Request
Step = Callable[[Response], AsyncIterator[Found]]

#: raised with every change of extraction or redaction that gives other words for the same page
READER = 1
#: meta keys, read by the host spider
STEP, PAGE, RUN, VISIT = "quansheng_step", "quansheng_page", "quansheng_run", "quansheng_visit"

#: query parameters that name the reader or the way here, not the page
_TRACKING = re.compile(
    r"^(utm_\w+|spm|from|share\w*|sid|jsessionid|timestamp|_t|nonce|isappinstalled|scene)$", re.IGNORECASE
)
#: words of login walls and captchas; only believed on short pages
_WALL = re.compile(
    r"安全验证|请登录|您需要登录|登录后查看|访问过于频繁|访问频率|人机验证|验证码|captcha|verify you are human|access denied",
    re.IGNORECASE,
)
_WALL_LENGTH = 20_000
#: how pages say that a post is no more
_GONE = re.compile(
    r"(?:内容|帖子|主题|文章|页面|微博|信息|话题|视频|回答|留言)[^。！\n]{0,12}?(?:已经?被?(?:作者|楼主|管理员|发布者|用户)?(?:自行)?(?:删除|屏蔽|撤回|撤下)|不存在|已下架|已失效)|已被(?:作者|楼主|管理员|发布者)?删除"
)
_GONE_LENGTH = 300
_LOGIN = re.compile(r"登录")


class Connector(ABC):
    """Reads one source. Yields items in any order; never writes."""

    #: whether a post that is missing among older ones in the list is gone (a hot list only shows what is hot)
    list_covers = False

    def __init__(self, run: SourceRun) -> None:
        self.run = run
        self._highest: dict[str, int] = {}

    @abstractmethod
    def start(self) -> Iterator[Request]:
        """The first requests."""

    @classmethod
    def counts_of(cls, source: Source) -> bool:
        """Whether a post of this source that is looked at again tells likes, comments or reposts."""
        return False

    def visit(self, known: KnownPost) -> Request | None:
        """The request that looks at a known post again: its page, if a host of the source has it; None: only the list tells."""
        if hostname(known.url) not in self.run.source.hosts:
            return None

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_visit(response, known):
                yield found

        return self.ask(known.url, step, page=known.external_id)

    def one_answer(
        self, known: KnownPost, read: Callable[[Any, str], Found]
    ) -> Callable[[Response], AsyncIterator[Found]]:
        """Step for the answer of an interface about one known post: `read` makes the item of its JSON and charset."""

        async def step(response: Response) -> AsyncIterator[Found]:
            if response.status in (404, 410):
                self.run.visited(known, "gone", status=response.status)
            elif response.status != 200:
                self.run.visited(known, "unclear", status=response.status)
            else:
                answer, charset = self.json_of(response)
                yield read(answer, charset)

        return step

    async def parse_visit(self, response: Response, known: KnownPost) -> AsyncIterator[Found]:
        """The page of a known post: its text, or what the page says of its end. Walls and errors say nothing."""
        run = self.run
        where = {"status": response.status, "url": response.url.split("?")[0]}
        if response.status in (404, 410):
            run.visited(known, "gone", **where)
            return
        if response.status != 200:
            run.visited(known, "unclear", **where)
            return
        html, charset = self.text_of(response)
        if wall_of(known.url, response.url, html) is not None or self._led_home(known.url, response.url):
            run.visited(known, "unclear", why="another page came in its place", **where)
            return
        article = self._extract(html)
        said = gone_words(article.text or visible(html))
        if said:
            run.visited(known, "gone", words=said, **where)
        elif not article.text:
            run.visited(known, "unclear", why="no text on its page", **where)
        else:
            yield PostItem(
                source_id=run.source.id,
                external_id=known.external_id,
                url=known.url,
                title=known.title,
                text=article.text,
                published_at=known.published_at,
                provenance=provenance(run, charset, article),
            )

    def _led_home(self, asked: str, came: str) -> bool:
        return urlsplit(came).path in ("", "/") and urlsplit(asked).path not in ("", "/")

    def no_way_back(self) -> str:
        """Why older posts than those of an ordinary reading cannot be asked for; "" when they can."""
        return f"a source of kind {self.run.source.kind} shows its newest posts only and cannot be asked for older ones"

    def page_back(self, place: Place | None) -> Iterator[Request]:
        """The request for one page of a back-fill (None: the first one). Its step tells `run.back` where the list goes on."""
        if place is not None:
            raise NotImplementedError(f"{type(self).__name__} does not page back")
        return self.start()

    def wants(self, when: datetime | None) -> bool:
        """Whether a row of a list with this date is worth its page: always, but for a back-fill of another time."""
        return self.run.back is None or self.run.back.wants(when)

    def ask(
        self,
        url: str,
        step: Step,
        *,
        page: str = "",
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: str = "",
        priority: int = 0,
    ) -> Request:
        """A request whose answer goes to `step`.

        `page` is the external id of the post that the address belongs to; empty for lists. A failed page costs one post,
        a failed list costs the source.
        """
        return Request(
            url,
            method=method,
            body=body.encode(),
            headers=dict(headers or {}),
            dont_filter=True,
            priority=priority,
            meta={STEP: step, PAGE: page, RUN: self.run, RENDER: self._rendered and method == "GET"},
        )

    def ask_list(
        self, url: str, step: Step, *, accept: str = "", headers: Mapping[str, str] | None = None, **more: Any
    ) -> Request:
        """A request for a list page, conditional where we have validators."""
        wanted = {
            **({"Accept": accept} if accept else {}),
            # the shell of a page that scripts fill may stay the same while its list changes
            **({} if self._rendered else self.run.conditional_headers(url)),
            **dict(headers or {}),
        }
        return self.ask(url, step, headers=wanted, priority=10, **more)

    @property
    def _rendered(self) -> bool:
        return getattr(self.run.source, "render", "") == "browser"

    def mark(self, name: str) -> int | None:
        """The highest number that the last complete reading saw in the list `name`; None before there was one."""
        kept = self.run.mark(name)
        return int(kept) if kept.isascii() and kept.isdigit() else None

    def raise_mark(self, name: str, number: int) -> None:
        """Remember `number` as seen in the list `name`; it counts once this reading comes to its end."""
        highest = max(number, self.mark(name) or 0, self._highest.get(name, 0))
        self._highest[name] = highest
        self.run.set_mark(name, str(highest))

    def check_list(self, response: Response) -> None:
        """Raise a SourceProblem unless the answer to a list request is 200 or 304, and no wall or garbage with status 200.

        Runs before anything is read out of the page: the links of a login page would become posts.
        """
        seen, source = self.run.seen, self.run.source
        seen.list_answered(response.status, response.url, response.body)
        if response.status not in (200, 304):
            raise status_problem(response)
        if response.status == 304 or response.body[:2] == b"\x1f\x8b":
            return
        text, charset = self.text_of(response)
        asked = (
            response.request.meta.get("redirect_urls", [source.url])[0] if response.request else source.url
        )
        wall = wall_of(asked, response.url, text)
        if wall is not None:
            seen.marker = wall[1]
            raise wall_problem(source.url, *wall)
        seen.garbled = max(seen.garbled, garbled(text))
        if seen.garbled > GARBLED:
            raise Changed(
                f"{source.url}: {seen.garbled:.0%} of the characters are garbage (read as {charset}); name the right charset in sources.yaml"
            )

    def text_of(self, response: Response) -> tuple[str, str]:
        """The decoded body and its charset."""
        content_type = response.headers.get("Content-Type")
        return decode(
            response.body, content_type.decode("latin-1") if content_type else "", self.run.source.charset
        )

    def json_of(self, response: Response) -> tuple[Any, str]:
        """The JSON of an answer and its charset. Raises SourceProblem when it is something else."""
        text, charset = self.text_of(response)
        try:
            return json.loads(text), charset
        except (ValueError, RecursionError) as exc:
            raise self.not_expected(text, "JSON") from exc

    async def new_posts(self, items: Sequence[PostItem | Unusable]) -> set[str]:
        """External ids of those posts that are not stored yet."""
        return set(await self.run.unknown([item.external_id for item in items if isinstance(item, PostItem)]))

    def wanted(self, items: Sequence[PostItem | Unusable], new: set[str]) -> list[PostItem | Unusable]:
        """`items`, or after a reading that was cut short only what is new: known posts must not use up its room again."""
        if not self.run.was_unfinished:
            return list(items)
        return [item for item in items if isinstance(item, Unusable) or item.external_id in new]

    def elsewhere(self, link: str, ident: str, what: str) -> Unusable | None:
        """Why `what` (the row, the thread) is set aside: its link leads to a host that is not the source's; None when it does not."""
        host = hostname(link)
        if host in self.run.source.hosts:
            return None
        reason = f"{what} leads to {host or 'no host'}, which is not in allow_hosts"
        return Unusable(
            source_id=self.run.source.id,
            external_id=ident,
            field="url",
            reason=reason,
            payload={"url": link},
        )

    def odd_entry(self, entry: Any, field: str, reason: str, ident: str = "") -> Unusable:
        """An entry of a JSON list that cannot be used. Only the names of its keys are kept: its values may be personal."""
        kept = (
            {"keys": sorted(map(str, entry))[:60]}
            if isinstance(entry, dict)
            else {"type": type(entry).__name__}
        )
        return Unusable(
            source_id=self.run.source.id, external_id=ident, field=field, reason=reason, payload=kept
        )

    def not_expected(self, text: str, expected: str) -> SourceProblem:
        """The problem of an answer that is not a feed, a list, JSON ...: a wall or a changed page."""
        shape = (
            "an HTML page"
            if re.search(r"<html|<!doctype html|<body", text[:3000], re.IGNORECASE)
            else "something else"
        )
        wall = _WALL.search(text) if len(text) < _WALL_LENGTH else None
        if wall:
            self.run.seen.marker = wall.group()
            kind: type[SourceProblem] = LoginWall if _LOGIN.search(wall.group()) else Blocked
            return kind(
                f"{self.run.source.url} answers with a page that says “{wall.group()}” instead of {expected}; we do not get around walls"
            )
        begin = re.sub(r"\s+", " ", text[:60]).strip()
        return Changed(
            f"{self.run.source.url} gives {shape} instead of {expected} (begins “{begin}”); check the address in sources.yaml"
        )

    # --- article pages

    async def parse_article(
        self, response: Response, ident: str, hint: Mapping[str, Any]
    ) -> AsyncIterator[Found]:
        """The post of an article page. `hint` holds what the list said: title, published_at, author, text, engagement."""
        run, source = self.run, self.run.source
        if response.status in (404, 410):
            run.skip(ident, str(response.status))
            return
        if response.status != 200:
            run.page_failed(ident, response.url, f"status {response.status}")
            return
        kind = (response.headers.get("Content-Type") or b"").decode("latin-1").lower()
        if kind and not any(word in kind for word in ("html", "xml", "text")):
            run.skip(ident, kind[:60])
            return
        html, charset = self.text_of(response)
        article = self._extract(html)
        text = article.text or str(hint.get("text", ""))
        run.seen.page(text=bool(text), wall=not text and why_no_text(html).startswith("the page says"))
        if not text:
            yield Unusable(
                source_id=source.id,
                external_id=ident,
                field="text",
                reason=why_no_text(html),
                payload={"url": response.url, "title": article.title},
            )
            return
        yield PostItem(
            source_id=source.id,
            external_id=ident,
            url=response.url,
            title=str(hint.get("title") or article.title),
            text=text,
            published_at=article.published_at or hint.get("published_at"),
            author_raw=hint.get("author"),
            place_hint=source.district_hint,
            engagement=dict(hint.get("engagement", {})),
            provenance=provenance(self.run, charset, article),
        )

    def _extract(self, html: str) -> Article:
        source = self.run.source
        try:
            return extract(
                html,
                self.run.clock(),
                text_selector=getattr(source, "text_selector", ""),
                title_selector=getattr(source, "title_selector", ""),
                date_selector=getattr(source, "date_selector", ""),
                zone=self.run.zone,
            )
        except ValueError as exc:
            raise Changed(f"sources.yaml, {source.id}: {exc}") from exc

    def article_step(self, ident: str, hint: Mapping[str, Any]) -> Step:
        """`parse_article` bound to one page."""

        def step(response: Response) -> AsyncIterator[Found]:
            return self.parse_article(response, ident, hint)

        return step


def gone_words(text: str) -> str:
    """The words by which a page says that its post was deleted; "" when it does not. Only believed on short pages."""
    plain_text = " ".join(text.split())
    found = _GONE.search(plain_text) if len(plain_text) <= _GONE_LENGTH else None
    return found.group()[:60] if found else ""


def visible(html: str) -> str:
    """The words of a page, for one that holds no article."""
    return plain(html[:_WALL_LENGTH])


def provenance(run: SourceRun, charset: str, article: Article | None = None) -> dict[str, Any]:
    """What is kept about how a post was read; nothing personal."""
    found: dict[str, Any] = {"kind": run.source.kind, "charset": charset, "reader": _reader(run)}
    if article is not None:
        found |= {"extractor": article.extractor, "link_density": article.link_density}
        if article.future_date:
            found["future_date"] = True
        if article.publisher:
            found["publisher"] = redact(article.publisher).text
    if run.source.domain_hint:
        found["domain_hint"] = run.source.domain_hint
    return found


def _reader(run: SourceRun) -> str:
    """Names the way in which a text was taken, so that another way is not mistaken for an edit by the author."""
    own = [
        str(getattr(run.source, name, ""))
        for name in ("text_selector", "title_selector", "fields", "charset")
    ]
    return f"{READER}.{hashlib.sha256('|'.join(own).encode()).hexdigest()[:6]}"


def hot_title(item: PostItem, name: str, rank: int) -> PostItem:
    """An entry of a hot list: kept apart from posts by its mark. `name` is the list's, `rank` 1 at the top."""
    origin = {"signal": hot_titles.MARK, "list": name, "rank": rank}
    return item.model_copy(update={"author_raw": None, "provenance": item.provenance | origin})


def wall_problem(url: str, state: str, marker: str) -> SourceProblem:
    """The problem of a page that stands in the way, as `spiders.page_class.wall_of` knows it."""
    if state == "login":
        return LoginWall(
            f"{url} answers with a login page (“{marker}”); this product reads public pages only"
        )
    return Blocked(f"{url} answers with a check of the browser (“{marker}”); we do not get around walls")


def status_problem(response: Response) -> SourceProblem:
    """The problem of a list that answered with an error status."""
    if response.status in (401, 407):
        return LoginWall(
            f"{response.url} asks for a login (status {response.status}); this product reads public pages only"
        )
    if response.status in (404, 410):
        return Changed(
            f"{response.url} is gone (status {response.status}); correct the address in sources.yaml or disable the source"
        )
    return SourceProblem(f"{response.url} answered status {response.status}")


def joined(base: str, href: str) -> str:
    """The address that a link on the page `base` leads to; "" when it is none ("http://[待补")."""
    try:
        return str(urljoin(base, href.strip()))
    except ValueError:
        return ""


def canonical(url: str) -> str:
    """`url` without fragment and without parameters that only name the reader or the way here; "" of one that is no address."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    if not any(parts):
        return ""
    query = [
        (key, value)
        for key, value in parse_qsl(parts.query, keep_blank_values=True)
        if not _TRACKING.match(key)
    ]
    path = re.sub(r";jsessionid=[^/?#]*", "", parts.path, flags=re.IGNORECASE) or "/"
    kept = (
        parts.query if len(query) == len(parse_qsl(parts.query, keep_blank_values=True)) else urlencode(query)
    )
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), path, kept, ""))


def page_id(url: str) -> str:
    """External id of a post that has no key but its address."""
    return external_id(canonical(url))


def why_no_text(html: str) -> str:
    """Why nothing could be read on a page, in words."""
    wall = _WALL.search(html) if len(html) < _WALL_LENGTH else None
    return (
        f"the page says “{wall.group()}”"
        if wall
        else "no main text found on the page; a text_selector may help"
    )
