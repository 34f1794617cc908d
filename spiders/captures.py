"""Pages and answers of Weibo and Tieba that came in lawfully as files (a vendor, evidence, a citizen's copy), as rows for the importer.

Nothing is fetched here: these sites keep robots out, so their posts are imported or not read at all.
Each reader knows the shapes of one site: m.weibo.cn's JSON and weibo.cn's pages; Tieba's thread, list and search pages and its search JSON.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from lxml.html import HtmlElement  # type: ignore[import-untyped]

from spiders.dates import parse_when
from spiders.pagetext import decode, element_text, parse_html, plain
from spiders.tables import LONGEST_LINE, RawRow, UnreadableFile, find_encoding

Form = Literal["weibo", "tieba"]
#: one post of a capture, or a sentence why an entry is none
Entry = dict[str, Any] | str

#: bytes of one captured file; a thread page has half a megabyte
LARGEST = 50_000_000
_WALL = re.compile(
    r"百度安全验证|安全验证|请登录|登录后查看|访问过于频繁|Sina Visitor System|passport\.weibo", re.IGNORECASE
)
#: a time that can be read without knowing when the page was taken
_ABSOLUTE = re.compile(r"\d{4}\s*[-/.年]\s*\d{1,2}\s*[-/.月]\s*\d{1,2}|[+-]\d{4} \d{4}$|^\d{10}(\d{3})?$")
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MORE = re.compile(r"(?:\s*(?:\.{3}|…)\s*(?:<a[^>]*>)?|\s*<a[^>]*>)\s*全文\s*(?:</a>)?\s*$")


def read_capture(
    path: Path, form: Form, captured_at: datetime | None, encoding: str = ""
) -> Iterator[RawRow]:
    """The posts of a captured file in its order, each once, with the keys id, title, text, published_at, author, url and counts.

    Times such as 昨天 or 06-17 mean something only with `captured_at`; without it their rows carry a problem.
    Raises UnreadableFile: no such file, unknown kind, a log-in or captcha page, a shape that is not known.
    """
    if not path.is_file():
        raise UnreadableFile(f"{path}: no such file")
    if path.stat().st_size > LARGEST:
        raise UnreadableFile(f"{path}: larger than {LARGEST // 1_000_000} MB; split it")
    kind = path.suffix.lower()
    if kind in (".html", ".htm"):
        entries = list((_weibo_page if form == "weibo" else _tieba_page)(path, encoding))
    elif kind in (".json", ".jsonl", ".ndjson"):
        read = _weibo_answer if form == "weibo" else _tieba_answer
        entries = [entry for answer in _answers(path, kind, encoding) for entry in read(answer)]
    else:
        raise UnreadableFile(
            f"{path}: {kind or 'a file without suffix'} is no capture; expected .html, .json or .jsonl"
        )
    if not entries:
        raise UnreadableFile(
            f"{path}: no post found; this is no page or answer of {form} that is known, or it is empty"
        )
    return _rows(entries, captured_at)


def _rows(entries: list[Entry], captured_at: datetime | None) -> Iterator[RawRow]:
    longest: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, dict) and entry["id"]:
            longest[entry["id"]] = max(longest.get(entry["id"], ""), str(entry["text"]), key=len)
    seen: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        share = number / len(entries)
        if isinstance(entry, str):
            yield RawRow(number, {}, entry, share)
            continue
        ident = str(entry["id"])
        if ident and ident in seen:
            continue  # the same post in two answers: the longer text was taken
        seen.add(ident)
        values = {**entry, "text": longest.get(ident, entry["text"])}
        problem = ""
        when = str(entry.get("published_at") or "").strip()
        if when and not _ABSOLUTE.search(when):
            read = parse_when(when, captured_at) if captured_at is not None else None
            if read is None:
                problem = (
                    f"the time {when[:30]!r} counts from when the page was taken; name `captured_at` in the profile"
                    if captured_at is None
                    else f"the time {when[:30]!r} names no day"
                )
            values["published_at"] = read
        yield RawRow(number, values, problem, share)


def _answers(path: Path, kind: str, encoding: str) -> Iterator[Any]:
    """The answers of a file: one, a list of them, or one on each line."""
    text = path.read_text(encoding=find_encoding(path, encoding))
    try:
        if kind == ".json":
            whole = json.loads(text)
            yield from whole if isinstance(whole, list) else [whole]
            return
        for line in text.split("\n"):  # not splitlines: a text may hold U+2028
            if line.strip():
                yield json.loads(line[:LONGEST_LINE])
    except (ValueError, RecursionError) as exc:
        wall = _WALL.search(text[:20_000])
        why = f"a page that says “{wall.group()}” instead of JSON" if wall else f"not JSON: {exc}"
        raise UnreadableFile(f"{path}: {why}") from exc


def _page(path: Path, encoding: str) -> HtmlElement:
    text, _ = decode(path.read_bytes(), "", encoding)
    root = parse_html(text)
    if root is None:
        raise UnreadableFile(f"{path}: the page is empty")
    wall = _WALL.search(text) if len(text) < 20_000 else None
    if wall and not root.xpath("//*[@id='M_' or starts-with(@id, 'M_') or contains(@class, 's_post')]"):
        raise UnreadableFile(f"{path}: the page says “{wall.group()}” and holds no post")
    return root


# --- Weibo


def mid_of(short: str) -> str:
    """The number of a post from the short key in its address: four characters of base 62 at a time become seven digits.

    "" when `short` is no such key.
    """
    parts: list[str] = []
    while short:
        short, piece = short[:-4], short[-4:]
        number = 0
        for letter in piece:
            at = _ALPHABET.find(letter)
            if at < 0:
                return ""
            number = number * 62 + at
        parts.insert(0, str(number).rjust(7, "0") if short else str(number))
    return "".join(parts)


def _weibo_answer(answer: Any) -> Iterator[Entry]:
    """Posts of one answer of m.weibo.cn: lists of cards, one post, comments."""
    if not isinstance(answer, dict):
        yield "expected an object { ... }"
        return
    if answer.get("ok") not in (1, None):
        said = str(answer.get("msg") or answer.get("url") or "")[:60]
        yield f"the answer is a refusal (ok = {answer.get('ok')}{', ' + said if said else ''}), not posts"
        return
    data = answer.get("data", answer)
    if isinstance(data, list):
        yield from (_mblog(one) for one in data)
    if not isinstance(data, dict):
        return
    if "longTextContent" in data:
        yield "a long text that does not name its post"
    if "text" in data and "created_at" in data:
        yield from _with_original(data)
    for card in _listed(data, "cards"):
        yield from _card(card)
    for status in _listed(data, "statuses"):
        yield from _with_original(status)
    for name in ("data", "hot_data"):
        for comment in _listed(data, name):
            yield _mblog(comment, comment=True)
            yield from (_mblog(reply, comment=True) for reply in _listed(comment, "comments"))


def _listed(value: Any, name: str) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _card(card: Any) -> Iterator[Entry]:
    if not isinstance(card, dict):
        yield "a card is no object"
        return
    if "mblog" in card:
        yield from _with_original(card["mblog"])
    for inner in _listed(card, "card_group"):
        yield from _card(inner)


def _with_original(status: Any) -> Iterator[Entry]:
    yield _mblog(status)
    if isinstance(status, dict) and isinstance(status.get("retweeted_status"), dict):
        yield _mblog(status["retweeted_status"])


def _mblog(status: Any, *, comment: bool = False) -> Entry:
    if not isinstance(status, dict) or not status.get("id"):
        return "an entry without a post"
    ident = str(status.get("mid") or status["id"])
    if not status.get("created_at") or status.get("deleted") in (1, "1"):
        return f"{ident}: deleted or not shown"
    whole = status.get("longText")
    text = str(whole.get("longTextContent") or "") if isinstance(whole, dict) else ""
    user = status.get("user")
    return {
        "id": ident,
        "text": text or _MORE.sub("", str(status.get("text") or "")),
        "published_at": status["created_at"],
        "author": str(user.get("id") or "") if isinstance(user, dict) else "",
        "url": "" if comment else f"https://m.weibo.cn/detail/{ident}",
        "likes": next(
            (status[k] for k in ("attitudes_count", "like_count", "like_counts") if k in status), None
        ),
        "comments": status.get("comments_count"),
        "reposts": status.get("reposts_count"),
    }


def _weibo_page(path: Path, encoding: str) -> Iterator[Entry]:
    """Posts and comments of a page of weibo.cn."""
    for box in _page(path, encoding).xpath(
        "//div[@class='c'][starts-with(@id, 'M_') or starts-with(@id, 'C_')]"
    ):
        kind, _, key = str(box.get("id")).partition("_")
        times = box.xpath(".//span[@class='ct']")
        when = re.split(r"\s*来自", element_text(times[-1]))[0].strip() if times else ""
        users = box.xpath(
            "./div[1]/a[@class='nk']/@href | ./a[1]/@href | .//a[contains(@href, '?uid=')]/@href"
        )
        author = next((m.group(1) for href in users if (m := re.search(r"(?:/u/|uid=|^/)(\w+)", href))), "")
        reason = box.xpath(".//div[span[@class='cmt'][contains(., '转发理由')]]")
        words = box.xpath(".//span[@class='ctt']")
        if reason:  # the box quotes the original; only the words of who reposted are theirs
            said = re.sub(r"^转发理由:?|\s*赞\[\d+\].*$", "", element_text(reason[0]), flags=re.DOTALL)
        else:
            said = element_text(words[0]) if words else ""
        counts = {
            name: int(found.group(1))
            for name, word in (("likes", "赞"), ("reposts", "转发"), ("comments", "评论"))
            if (found := re.search(rf"(?<!原文){word}\[(\d+)\]", element_text(box)))
        }
        ident = key if kind == "C" else mid_of(key)
        url = f"https://m.weibo.cn/detail/{ident}" if kind == "M" and ident else ""
        text = _MORE.sub("", said.strip().removeprefix(":").strip())
        yield {"id": ident, "text": text, "published_at": when, "author": author, "url": url, **counts}


# --- Tieba


def _tieba_page(path: Path, encoding: str) -> Iterator[Entry]:
    """Posts of a thread page, first posts of a list page, hits of a search page, replies below a post."""
    root = _page(path, encoding)
    # the list of threads waits in a comment until a script shows it
    hidden = [
        parse_html(str(one.text)) for one in root.xpath("//comment()") if "j_thread_list" in str(one.text)
    ]
    for part in (root, *filter(lambda one: one is not None, hidden)):
        for box in part.xpath("//li[contains(concat(' ', @class, ' '), ' j_thread_list ')]"):
            yield _thread(box)
    yield from (_hit(box) for box in root.xpath("//div[@class='s_post']"))
    title = next(iter(root.xpath("//*[contains(@class, 'core_title_txt')]/@title")), "")
    for box in root.xpath("//div[contains(concat(' ', @class, ' '), ' l_post ')][@data-field]"):
        yield _floor(box, title)
    for box in root.xpath("//li[contains(concat(' ', @class, ' '), ' lzl_single_post ')]"):
        yield _reply(box)


def _data(box: HtmlElement) -> dict[str, Any]:
    """The data-field of an element; some pages write it with single quotes."""
    raw = html.unescape(str(box.get("data-field") or ""))
    for text in (raw, raw.replace("'", '"')):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        return found if isinstance(found, dict) else {}
    return {}


def _one(box: HtmlElement, path: str) -> HtmlElement | None:
    return next(iter(box.xpath(path)), None)


def _text(element: HtmlElement | None) -> str:
    return element_text(element) if element is not None else ""


def _thread(box: HtmlElement) -> Entry:
    data = _data(box)
    if not data.get("first_post_id"):
        return "a thread without its number (a notice or an advertisement)"
    return {
        "id": str(data["first_post_id"]),
        "title": _text(_one(box, ".//a[contains(@class, 'j_th_tit')]")),
        "text": _text(_one(box, ".//div[contains(@class, 'threadlist_abs')]")),
        "published_at": _text(_one(box, ".//span[contains(@class, 'is_show_create_time')]")),
        "author": str(data.get("author_portrait") or data.get("author_name") or "").split("?")[0],
        "url": f"https://tieba.baidu.com/p/{data['id']}" if str(data.get("id", "")).isdigit() else "",
        "comments": data.get("reply_num"),
    }


def _hit(box: HtmlElement) -> Entry:
    link = _one(box, ".//span[@class='p_title']/a")
    found = re.search(r"/p/(\d+)\?pid=(\d+)", str(link.get("href"))) if link is not None else None
    if found is None:
        return "a hit without its number"
    user = re.search(
        r"[?&](?:un|id)=([^&?]+)", next(iter(box.xpath(".//a[contains(@href, '/home/main')]/@href")), "")
    )
    return {
        "id": found.group(2),
        "title": _text(link),
        "text": _text(_one(box, ".//div[@class='p_content']")),
        "published_at": _text(_one(box, ".//*[contains(@class, 'p_date')]")),
        "author": user.group(1) if user else "",
        "url": f"https://tieba.baidu.com/p/{found.group(1)}",
    }


def _floor(box: HtmlElement, title: str) -> Entry:
    data = _data(box)
    content, author = data.get("content"), data.get("author")
    if not isinstance(content, dict) or not content.get("post_id"):
        return "a post without its number (an advertisement)"
    tails = [
        text for tail in box.xpath(".//*[contains(@class, 'tail-info')]") if (text := element_text(tail))
    ]
    when = next((text for text in tails if re.match(r"\d{4}-\d\d?-\d\d?", text)), "")
    portrait = (
        str(author.get("portrait") or author.get("user_name") or "") if isinstance(author, dict) else ""
    )
    thread = str(content.get("thread_id") or "")
    for tip in box.xpath(".//div[@class='replace_tip']"):  # the button that unfolds a long picture
        tip.drop_tree()
    return {
        "id": str(content["post_id"]),
        "title": title if content.get("post_no") == 1 else "",
        "text": _text(_one(box, ".//div[contains(@class, 'd_post_content ')]")),
        "published_at": when or str(content.get("date") or ""),
        "author": portrait.split("?")[0],
        "url": f"https://tieba.baidu.com/p/{thread}" if thread.isdigit() else "",
        "comments": content.get("comment_num"),
    }


def _reply(box: HtmlElement) -> Entry:
    data = _data(box)
    if not data.get("spid"):
        return "a reply without its number"
    return {
        "id": str(data["spid"]),
        "text": _text(_one(box, ".//span[contains(@class, 'lzl_content_main')]")),
        "published_at": _text(_one(box, ".//span[contains(@class, 'lzl_time')]")),
        "author": str(data.get("portrait") or data.get("user_name") or "").split("?")[0],
        "url": "",
    }


def _tieba_answer(answer: Any) -> Iterator[Entry]:
    """Hits of one answer of Tieba's search."""
    if not isinstance(answer, dict):
        yield "expected an object { ... }"
        return
    if answer.get("no", 0) not in (0, "0"):
        yield f"the answer is a refusal (no = {answer.get('no')}, {str(answer.get('error') or '')[:60]}), not posts"
        return
    data = answer.get("data", answer)
    for post in _listed(data, "post_list"):
        if not isinstance(post, dict) or not (post.get("pid") or post.get("tid")):
            yield "a hit without its number"
            continue
        user = post.get("user")
        author = str(user.get("portrait") or user.get("user_id") or "") if isinstance(user, dict) else ""
        yield {
            "id": str(post.get("pid") or post["tid"]),
            "title": plain(str(post.get("title") or "")),
            "text": str(post.get("content") or ""),
            "published_at": post.get("time") or "",
            "author": author.split("?")[0],
            "url": f"https://tieba.baidu.com/p/{post['tid']}" if str(post.get("tid") or "").isdigit() else "",
            "likes": post.get("like_num"),
            "comments": post.get("post_num"),
        }
