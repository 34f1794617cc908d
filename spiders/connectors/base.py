"""What every connector does: ask for pages, read them, yield items and further requests."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from scrapy import Request
from scrapy.http import Response

from spiders.extract import Article, extract
from spiders.items import PostItem, Unusable
from spiders.pagetext import decode
from spiders.pipelines import external_id
from spiders.problems import Blocked, Changed, SourceProblem
from spiders.source_run import SourceRun

Found = PostItem | Unusable | Request
Step = Callable[[Response], AsyncIterator[Found]]

#: meta keys, read by the host spider
STEP, PAGE, RUN = "quansheng_step", "quansheng_page", "quansheng_run"

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


class Connector(ABC):
    """Reads one source. Yields items in any order; never writes."""

    def __init__(self, run: SourceRun) -> None:
        self.run = run

    @abstractmethod
    def start(self) -> Iterator[Request]:
        """The first requests."""

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
            meta={STEP: step, PAGE: page, RUN: self.run},
        )

    def ask_list(
        self, url: str, step: Step, *, accept: str = "", headers: Mapping[str, str] | None = None, **more: Any
    ) -> Request:
        """A request for a list page, conditional where we have validators."""
        wanted = {
            **({"Accept": accept} if accept else {}),
            **self.run.conditional_headers(url),
            **dict(headers or {}),
        }
        return self.ask(url, step, headers=wanted, priority=10, **more)

    def check_list(self, response: Response) -> None:
        """Raise a SourceProblem unless the answer to a list request is 200 or 304."""
        if response.status not in (200, 304):
            raise status_problem(response)

    def text_of(self, response: Response) -> tuple[str, str]:
        """The decoded body and its charset."""
        content_type = response.headers.get("Content-Type")
        return decode(
            response.body, content_type.decode("latin-1") if content_type else "", self.run.source.charset
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
            return Blocked(
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
        if not text:
            yield Unusable(
                source_id=source.id,
                external_id=ident,
                field="text",
                reason=_why_no_text(html),
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


def provenance(run: SourceRun, charset: str, article: Article | None = None) -> dict[str, Any]:
    """What is kept about how a post was read; nothing personal."""
    found: dict[str, Any] = {"kind": run.source.kind, "charset": charset}
    if article is not None:
        found |= {"extractor": article.extractor, "link_density": article.link_density}
        if article.future_date:
            found["future_date"] = True
    if run.source.domain_hint:
        found["domain_hint"] = run.source.domain_hint
    return found


def status_problem(response: Response) -> SourceProblem:
    """The problem of a list that answered with an error status."""
    if response.status in (401, 407):
        return Blocked(
            f"{response.url} asks for a login (status {response.status}); this product reads public pages only"
        )
    if response.status in (404, 410):
        return Changed(
            f"{response.url} is gone (status {response.status}); correct the address in sources.yaml or disable the source"
        )
    return SourceProblem(f"{response.url} answered status {response.status}")


def canonical(url: str) -> str:
    """`url` without fragment and without parameters that only name the reader or the way here."""
    parts = urlsplit(url.strip())
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


def _why_no_text(html: str) -> str:
    wall = _WALL.search(html) if len(html) < _WALL_LENGTH else None
    return (
        f"the page says “{wall.group()}”"
        if wall
        else "no main text found on the page; a text_selector may help"
    )
