"""Main text and dates of Chinese pages: `QUANSHENG_DATA=... python -m benchmarks.extraction [-v] [--whole]`.

Needs `pages/gne_news_pages/tests` below QUANSHENG_DATA: news pages of some thirty Chinese sites as browsers had them in
2019 and 2020. The collection has no gold (its result.txt is the output of one extractor). Gold here is the container
that a person picked for each site, `GOLD`, without what stands in it that is no text of the article (`DROP`; with it: `--whole`). Precision
and recall are of runs of four characters, blanks left out, as multisets; F1 is the mean of the pages' F1.

trafilatura stands beside ours when it is installed (it is no dependency). readability runs alone, as a peer and not
as the part of ours that it is. Pages/s are of CPU time, decoding left out, each extractor with its own parsing. The dates
need no data: 31 ways in which Chinese sites print a time, named in `DATES` with what they mean.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dateparser  # type: ignore[import-untyped]
from readability import Document  # type: ignore[import-untyped]

from spiders.dates import parse_when
from spiders.extract import extract
from spiders.pagetext import decode, element_text, parse_html, plain

CST = timezone(timedelta(hours=8))
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=CST)
#: page or site -> selector of the main text; the first that fits the page's path counts
GOLD = {
    "163/9": "#content", "163": "#endText", "baijiahao": ".article-content", "cjddsb": ".single-content", "cjn": ".TRS_Editor", "cmse": ".TRS_Editor",
    "csdn": ".news_content", "ednchina": ".article_text", "gamersky": ".gsAreaContextArt", "gsc": ".detailCon", "guancha": ".all-txt", "gzggw": "#zoom",
    "hexun": ".art_contextBox", "huanqiu": ".a-con", "ifeng/3": "#main_content", "ifeng": "div[class^=text-]", "mingridapan": ".page_art_content",
    "njxfhn": ".post-body", "people": "#rwb_zw", "qq/2": "#Cnt-Main-Article-QQ", "qq/qq": ".content-article", "readhub": "div[class^=summary]",
    "shanxi": ".TRS_Editor", "sina": "#artibody, #article", "stcn": "#ctrlfscont", "sxmu": "#vsb_content", "thepaper": ".news_txt", "toutiao": ".article-content",
    "wechat": "#js_content", "xds": ".statuses-text", "xinhuanet": "#p-detail", "zsnews": "td > p", "zyyfy": "#z",
}  # fmt: skip
#: parts of a container that are no text of the article: the title of the source, the line of the source, the site's own advertisement, editors, turning of pages
DROP = ".otitle, .ep-source, .tech-quotation, .article-editor, .statement, .zdfy, .edit"
#: a gallery and an empty page hold no article
NO_ARTICLE = ("toutiao/2", "other/1")

#: what sites print -> what it means at NOW; None: no time
DATES: tuple[tuple[str, str | None], ...] = (
    ("刚刚", "2026-11-24 10:00"), ("30秒前", "2026-11-24 09:59"), ("3分钟前", "2026-11-24 09:57"), ("1小时前", "2026-11-24 09:00"), ("2 天前", "2026-11-22 10:00"),
    ("1周前", "2026-11-17 10:00"), ("半小时前", "2026-11-24 09:30"), ("半天前", "2026-11-23 22:00"), ("今天 08:15", "2026-11-24 08:15"), ("昨天 12:30", "2026-11-23 12:30"),
    ("前天 23:59", "2026-11-22 23:59"), ("昨天下午 3:05", "2026-11-23 15:05"), ("11-20", "2026-11-20 00:00"), ("11-20 09:00", "2026-11-20 09:00"), ("12-31 23:00", "2025-12-31 23:00"),
    ("11月20日 14:22", "2026-11-20 14:22"), ("11月20日", "2026-11-20 00:00"), ("2026-11-20", "2026-11-20 00:00"), ("2026-11-20 09:00:05", "2026-11-20 09:00"),
    ("2026/11/20 9:05", "2026-11-20 09:05"), ("2026年11月20日", "2026-11-20 00:00"), ("2026年11月20日 09:05", "2026-11-20 09:05"), ("二〇二六年十一月二十日", "2026-11-20 00:00"),
    ("发表于 2026-11-20 09:00", "2026-11-20 09:00"), ("发布时间：2026-11-20 09:00", "2026-11-20 09:00"), ("编辑于 昨天 12:30", "2026-11-23 12:30"),
    ("11-20 08:00 来自 微博网页版", "2026-11-20 08:00"), ("Sun Nov 22 09:33:57 +0800 2026", "2026-11-22 09:33"), ("Tue, 24 Nov 2026 01:00:00 GMT", "2026-11-24 09:00"),
    ("2026-11-24T01:00:00Z", "2026-11-24 09:00"), ("1795482000", "2026-11-24 09:00"),
)  # fmt: skip


def gold(path: str, html: str, *, whole: bool = False) -> str:
    """The main text that a person would take, empty for a page without an article. `whole`: the container as it is."""
    if path.startswith(NO_ARTICLE):
        return ""
    selector = next(one for site, one in GOLD.items() if path.startswith(site))
    root = parse_html(html)
    if root is None:
        return ""
    found = root.cssselect(selector)
    for element in found:
        for part in [] if whole else element.cssselect(DROP):
            part.drop_tree()
    return "\n".join(element_text(element) for element in found)


def grams(text: str) -> Counter[str]:
    """Runs of four characters, blanks left out."""
    solid = "".join(text.split())
    return Counter(solid[at : at + 4] for at in range(max(1, len(solid) - 3)))


def agreement(text: str, wanted: str) -> tuple[float, float, float]:
    """(F1, precision, recall) of `text`; 0 when it is empty."""
    mine, theirs = grams(text), grams(wanted)
    both = (mine & theirs).total()
    if not text or not both:
        return 0.0, 0.0, 0.0
    precision, recall = both / mine.total(), both / theirs.total()
    return 2 * precision * recall / (precision + recall), precision, recall


def peers() -> dict[str, Callable[[str], str]]:
    """Extractors by name, those that are installed."""
    found: dict[str, Callable[[str], str]] = {
        "**ours**": lambda html: extract(html, NOW).text,
        "readability": lambda html: plain(Document(html).summary(html_partial=True)),
    }
    try:
        library: Any = importlib.import_module("trafilatura")
    except ImportError:
        print("trafilatura is not installed; its rows are left out", file=sys.stderr)
        return found
    found["trafilatura"] = lambda html: library.extract(html) or ""
    found["trafilatura, fast"] = lambda html: library.extract(html, fast=True) or ""
    return found


def main(arguments: list[str]) -> int:
    """Print both tables; 1 when the pages are not there."""
    folder = Path(os.environ.get("QUANSHENG_DATA", "")) / "pages" / "gne_news_pages" / "tests"
    read = sum(_reads(lambda raw: parse_when(raw, NOW), raw, meant) for raw, meant in DATES)
    settings = {"RELATIVE_BASE": NOW.replace(tzinfo=None)}
    library = sum(
        _reads(lambda raw: dateparser.parse(raw, languages=["zh", "en"], settings=settings), raw, meant)
        for raw, meant in DATES
    )
    print(f"dates: ours {read} of {len(DATES)}, dateparser {library} of {len(DATES)}\n")
    if not os.environ.get("QUANSHENG_DATA") or not folder.is_dir():
        print("QUANSHENG_DATA names no folder with pages/gne_news_pages/tests; main text was not measured", file=sys.stderr)  # fmt: skip
        return 1
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        name, html = path.relative_to(folder).as_posix(), decode(path.read_bytes())[0]
        if wanted := gold(name, html, whole="--whole" in arguments):
            pages[name] = (html, wanted)
    print(
        f"{len(pages)} pages\n\n| extractor | F1 | P | R | F1 below 0.9 | empty | pages/s |\n|---|---|---|---|---|---|---|"
    )
    worst: list[str] = []
    for label, run in peers().items():
        begun = time.process_time()
        texts = {name: _safely(run, html) for name, (html, _) in pages.items()}
        spent = time.process_time() - begun
        marks = {name: agreement(texts[name], wanted) for name, (_, wanted) in pages.items()}
        f1, precision, recall = (sum(mark[i] for mark in marks.values()) / len(marks) for i in range(3))
        print(
            f"| {label} | {f1:.3f} | {precision:.3f} | {recall:.3f} | {sum(m[0] < 0.9 for m in marks.values())} "
            f"| {sum(not text for text in texts.values())} | {len(pages) / spent:.1f} |"
        )
        if label == "**ours**":
            for name, (one, p, r) in sorted(marks.items(), key=lambda item: item[1])[:20]:
                used = extract(pages[name][0], NOW).extractor
                worst.append(f"  {name}: F1 {one:.3f} P {p:.3f} R {r:.3f} by {used}")
    if "-v" in arguments:
        print("\n".join(["", *worst]))
    return 0


def _reads(reader: Callable[[str], datetime | None], raw: str, meant: str | None) -> bool:
    found = reader(raw)
    if found is None or meant is None:
        return found is None and meant is None
    local = found.astimezone(CST) if found.tzinfo else found
    return local.strftime("%Y-%m-%d %H:%M") == meant


def _safely(run: Callable[[str], str], html: str) -> str:
    try:
        return run(html)
    except Exception as exc:  # noqa: BLE001 (a peer that stumbles over a page has found nothing there)
        print(f"  {type(exc).__name__}: {exc}", file=sys.stderr)
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
