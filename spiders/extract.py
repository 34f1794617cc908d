"""The article of a page: title, main text, date.

Order, by what is surest: the source's own CSS selector, then the containers that Chinese government and news systems
use, then readability, then the longest run of paragraphs (F1 in docs/quality.md). Each result names its extractor, so that a
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
    "#zoom", "#UCAP-CONTENT", ".main-txt", ".TRS_Editor", ".trs_editor_view", "#vsb_content", "#js_content", "#artibody", "#article-content",
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
#: the same, but so short or so common that a person might have written it: only below a text that is long enough without it
_SOFT_TAIL = re.compile(
    r"^(?:[(（【]?责编[：:]|本文来源[：:]|关键词\s*[>：:]|评论\s*[（(]?\d*[)）]?$|我要(?:跟帖|评论)$|查看评论$|已输入\d+字|字号|[【\[]1[】\]](?:\s*[【\[]\d+[】\]])+$|免责声明|特别声明|声明[：:]|微信公众号$|\S{2,8}(?:APP|客户端)$|点赞|收藏|赞\s*\d|阅读\s*\d|标签[：:])"
)
#: a line of its own that begins a list of other articles; what follows is no part of this one
_OTHERS = re.compile(
    r"^[【\[]?(?:推荐阅读|相关推荐|相关阅读|相关新闻|相关文章|相关报道|延伸阅读|热门推荐|猜你喜欢|为您推荐|更多推荐)[】\]]?[：:]?$"
)
#: what stands above an article: the way to it, the size of its letters, its date with its source
_HEAD = re.compile(
    r"^(?:(?:您?(?:所在的?|当前的?)?位置[：:]|首页\s*[>»]).{0,60}|字号.{0,10}|打印|分享|\S{2,8}\s*>\s*\S{2,12}|(?:发布时间|发布日期|时间|日期)?\s*[：:]?\s*20\d{2}\s*[-/.年]\s*\d{1,2}\s*[-/.月]\s*\d{1,2}日?.{0,12}(?:来源|作者|编辑)[：:].{0,40})$"
)
_ONLY_DATE = re.compile(r"^20\d{2}[-/.年]\d{1,2}[-/.月]\d{1,2}日?(?:\s*\d{1,2}[:：]\d{2})?$")


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
    #: the office or paper that the page names as its source (government meta tag ContentSource); often empty
    publisher: str = ""


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
    if extractor != "selector":
        text = _without_head(text, title)
    publisher = plain(_metas(root).get("contentsource", ""))[:80]
    return Article(title, text, when, future, extractor, density, publisher)


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
    """`text` without the lines of the page's own that follow an article, and without a list of other articles below it."""
    lines = text.split("\n")
    for at in range(len(lines) // 2 + 1, len(lines)):
        if _OTHERS.match(lines[at]):
            lines = lines[:at]
            break
    while lines:
        short = len(lines[-1]) <= 60
        if not lines[-1] or (
            short and (_TAIL.search(lines[-1]) or (_SOFT_TAIL.search(lines[-1]) and _enough(lines)))
        ):
            lines.pop()
        elif listed := _headlines(lines):
            del lines[-listed:]
        else:
            break
    return "\n".join(lines)


def _headlines(lines: list[str]) -> int:
    """How many lines at the end are headlines of other articles, each above its date; 0 for a signature with its date, and
    for a list that is much of the text: where water is turned off on which day."""
    pairs = 0
    while (
        len(lines) > 2 * pairs + 2
        and _ONLY_DATE.match(lines[-1 - 2 * pairs])
        and len(lines[-2 - 2 * pairs]) <= 60
    ):
        pairs += 1
    listed = sum(map(len, lines[len(lines) - 2 * pairs :]))
    return 2 * pairs if pairs >= 2 and 3 * listed <= sum(map(len, lines)) else 0


def _enough(lines: list[str]) -> bool:
    """Whether an article is left without the last line."""
    return sum(map(len, lines[:-1])) >= MIN_TEXT


def _without_head(text: str, title: str) -> str:
    """`text` without the lines of the page's own that stand above an article, its title among them."""
    lines = text.split("\n")
    bare = "".join(title.split())
    # only the first lines, and never so many that nothing is left
    for at in range(min(6, len(lines) - 1), 0, -1):
        line = lines[at - 1]
        if _HEAD.match(line) or (len(bare) >= 4 and "".join(line.split()).rstrip(".…") == bare):
            rest = "\n".join(lines[at:])
            short = all(len(one) <= 60 for one in lines[:at])
            return rest if short and len(rest) >= MIN_TEXT else text
    return text


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
