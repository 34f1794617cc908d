"""The article of a page: title, main text, date.

Order, by what is surest: the source's own CSS selector, then the containers that Chinese government and news systems
use, then readability (F1 0.963 on 55 Chinese pages), then the longest run of paragraphs. Each result names its extractor, so that a
change of layout is seen as a change of extractor or length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

import lxml.etree  # type: ignore[import-untyped]
from cssselect import SelectorError
from lxml.html import HtmlElement  # type: ignore[import-untyped]
from readability import Document  # type: ignore[import-untyped]
from readability.readability import Unparseable  # type: ignore[import-untyped]

from spiders.dates import SHANGHAI, is_future, parse_when
from spiders.pagetext import element_text, parse_html, plain, tidy

#: shorter than this is a caption or an error page, not an article
MIN_TEXT = 30
#: a container with a greater share of link text also holds lists of other articles
MAX_LINKS = 0.35
#: main text containers: 大汉 (zoom), 开普 (UCAP-CONTENT), 拓尔思 (TRS_Editor), 博达 (vsb_content), WeChat (js_content), then WordPress and forums
_CONTAINERS = (
    "#zoom", "#UCAP-CONTENT", ".TRS_Editor", ".trs_editor_view", "#vsb_content", "#js_content", "#artibody", "#article-content",
    "#ArticleContent", ".article-content", ".entry-content", ".wp-block-post-content", ".post-content", "[itemprop=articleBody]",
)  # fmt: skip
_DATE_METAS = (
    "article:published_time", "pubdate", "publishdate", "publish_time", "og:release_date", "og:published_time", "weibo:article:create_at", "datepublished",
    "firstpublishedtime", "dc.date", "_pubtime", "publishedtime", "createtime",
)  # fmt: skip
_TITLE_METAS = ("articletitle", "og:title", "twitter:title")
_TITLE_TAIL = re.compile(r"\s*[-_|–—]{1,2}\s*[^-_|–—]{2,30}$")
_VISIBLE_DATE = re.compile(
    r"(?<!\d)20\d{2}\s*[-/.年]\s*\d{1,2}\s*[-/.月]\s*\d{1,2}\s*日?(?:\s*T?\s*\d{1,2}[:：]\d{2}(?:[:：]\d{2})?)?"
)

_TAIL = re.compile(
    r"^(?:版权所有|责任编辑|[(（【]?编辑[：:]|.{0,20}ICP备|打印本页|打印|关闭窗口|关闭|分享到|上一[篇条]|下一[篇条]|返回顶部|相关阅读|扫一扫)"
)


@dataclass(frozen=True)
class Article:
    """What a page says. `text` is empty when nothing like an article was found; `published_at` is aware or None."""

    title: str
    text: str
    published_at: datetime | None
    #: the page showed a date ahead of now, which was not believed
    future_date: bool
    extractor: str
    #: share of the text that stands inside links; above 0.5 it is a list, not an article
    link_density: float


def extract(
    html: str,
    now: datetime,
    *,
    text_selector: str = "",
    title_selector: str = "",
    date_selector: str = "",
    zone: tzinfo = SHANGHAI,
) -> Article:
    """Read one page (already decoded). Never fails on broken HTML; a wrong CSS selector raises ValueError."""
    root = parse_html(html)
    if root is None:
        return Article("", "", None, False, "none", 0.0)
    title = _title(root, title_selector)
    raw_dates = list(_dates(root, date_selector))
    when = next((found for raw in raw_dates if (found := parse_when(raw, now, zone))), None)
    future = when is None and any(is_future(raw, now, zone) for raw in raw_dates)
    text, extractor, density = _text(root, html, text_selector)
    text = _without_tail(text)
    return Article(title, text, when, future, extractor, density)


def select(root: HtmlElement, selector: str) -> list[HtmlElement]:
    """Elements by CSS selector. Raises ValueError that names a wrong selector."""
    try:
        return list(root.cssselect(selector))
    except (SelectorError, lxml.etree.XPathError) as exc:
        raise ValueError(f"{selector!r} is no CSS selector: {exc}") from exc


def _title(root: HtmlElement, selector: str) -> str:
    if selector:
        for element in select(root, selector):
            if text := element_text(element):
                return text[:300]
    metas = _metas(root)
    for name in _TITLE_METAS:
        if metas.get(name):
            return plain(metas[name])[:300]
    heads = [
        text
        for element in root.iter("h1")
        if 4 <= len(text := element_text(element).replace("\n", " ")) <= 120
    ]
    whole = " ".join("".join(element.itertext()) for element in root.iter("title")).strip()
    for head in heads:
        if head in whole or len(heads) == 1:
            return head
    return tidy(_TITLE_TAIL.sub("", tidy(whole).replace("\n", " ")))[:300]


def _metas(root: HtmlElement) -> dict[str, str]:
    metas: dict[str, str] = {}
    for element in root.iter("meta"):
        name = (
            (element.get("property") or element.get("name") or element.get("itemprop") or "").strip().lower()
        )
        content = (element.get("content") or "").strip()
        if name and content:
            metas.setdefault(name, content)
    return metas


def _dates(root: HtmlElement, selector: str) -> Iterator[str]:
    """Candidate dates, surest first."""
    if selector:
        for element in select(root, selector):
            yield (
                element.get("datetime")
                or element.get("content")
                or element.get("title")
                or element_text(element)
            )
    metas = _metas(root)
    for name in _DATE_METAS:
        if name in metas:
            yield metas[name]
    for element in root.iter("script"):
        if (element.get("type") or "").lower() == "application/ld+json" and element.text:
            yield from _linked_data(element.text)
    for element in root.iter("time"):
        if element.get("datetime"):
            yield str(element.get("datetime"))
    # a date that the reader sees, near the top: the first that carries a clock time, else the first
    visible = _VISIBLE_DATE.findall(element_text(root)[:6000])
    yield from sorted(visible[:5], key=lambda raw: ":" not in raw and "：" not in raw)[:3]


def _linked_data(text: str) -> Iterator[str]:
    try:
        stack: list[Any] = [json.loads(text)]
    except ValueError:
        return
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            if isinstance(node.get("datePublished"), str):
                yield node["datePublished"]
            stack.extend(value for value in node.values() if isinstance(value, dict | list))


def _text(root: HtmlElement, html: str, selector: str) -> tuple[str, str, float]:
    if selector:
        found = select(root, selector)
        text = tidy("\n".join(element_text(element) for element in found))
        # a selector that finds nothing is a changed layout; the caller tells it by the extractor's name
        if text:
            return text, "selector", _link_density(found)
    for container in _CONTAINERS:
        found = root.cssselect(container)[:1]
        if (
            found
            and len(text := element_text(found[0])) >= MIN_TEXT
            and (density := _link_density(found)) < MAX_LINKS
        ):
            return text, container, density
    best = _readable(html)
    if best is not None and len(text := element_text(best)) >= MIN_TEXT:
        return text, "readability", _link_density([best])
    text = "\n".join(line for element in root.iter("p") if (line := element_text(element)))
    return (tidy(text), "paragraphs", 0.0) if len(text) >= MIN_TEXT else ("", "none", 0.0)


def _without_tail(text: str) -> str:
    """`text` without the lines of the page's own that follow an article."""
    lines = text.split("\n")
    while lines and (not lines[-1] or (len(lines[-1]) <= 60 and _TAIL.search(lines[-1]))):
        lines.pop()
    return "\n".join(lines)


def _readable(html: str) -> HtmlElement | None:
    try:
        return parse_html(Document(html).summary(html_partial=True))
    except (
        Unparseable,
        lxml.etree.LxmlError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        ZeroDivisionError,
    ):
        return None  # readability stumbles over some broken trees; the paragraphs are taken instead


def _link_density(elements: list[HtmlElement]) -> float:
    whole = sum(len(element_text(element)) for element in elements)
    linked = sum(len("".join(link.itertext()).strip()) for element in elements for link in element.iter("a"))
    return round(min(1.0, linked / whole), 3) if whole else 0.0
