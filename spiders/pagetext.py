"""From bytes to text: find the true charset of an answer, and turn HTML into plain lines."""

from __future__ import annotations

import codecs
import gzip
import io
import re

import lxml.etree  # type: ignore[import-untyped]
import lxml.html  # type: ignore[import-untyped]
from lxml.html import HtmlElement

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_-]+)", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"^\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_-]+)", re.IGNORECASE)
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_-]+)", re.IGNORECASE)
_XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
#: what XML 1.0 forbids and lxml refuses
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f￾￿]")
_BLOCK_TAGS = "p div br li tr h1 h2 h3 h4 h5 h6 section article blockquote pre table ul ol dl dt dd td th header footer figure"
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_SILENT_TAGS = "script style noscript template iframe svg head button select textarea object"
_SILENT = frozenset(_SILENT_TAGS.split())


class BodyTooLarge(Exception):
    """A compressed body grew beyond the limit."""


def gunzip(body: bytes, limit: int) -> bytes:
    """`body` unpacked if it is gzip (a .xml.gz sitemap), else unchanged. Raises BodyTooLarge beyond `limit` bytes."""
    if body[:2] != b"\x1f\x8b":
        return body
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
        try:
            data = stream.read(limit + 1)
        except (OSError, EOFError):
            return body
    if len(data) > limit:
        raise BodyTooLarge(f"unpacks to more than {limit} bytes")
    return data


#: from four or five digits on: shorter ones are always characters
_REFERENCE = re.compile(r"&#([xX][0-9a-fA-F]{4,40}|[0-9]{5,40});?")
#: Python's names of the charsets of pages
_CHARSET = re.compile(r"utf-(?:8|16|32)|gb|hz|big5|euc|shift|iso|cp\d|koi8|tis|mac|johab|kz|ptcp")


def decode(body: bytes, content_type: str = "", override: str = "") -> tuple[str, str]:
    """(text, charset). A declared charset is believed only while the bytes agree with it.

    Order: byte order mark, `override`, HTTP header, XML declaration, <meta>, then utf-8 and gb18030. A charset that
    cannot decode every byte loses to one that can; if none can, the first one replaces what it does not know.
    """
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if body.startswith(mark):
            return _FORBIDDEN.sub("", body[len(mark) :].decode(name, "replace")), name
    head = body[:4096]
    header = _HEADER_CHARSET.search(content_type)
    declared = [override, header.group(1) if header else ""]
    declared += [
        found.group(1).decode("ascii")
        for found in (_XML_CHARSET.search(head), _META_CHARSET.search(head))
        if found
    ]
    # a latin-1 reading never fails, so it proves nothing: it comes after the two that can fail
    candidates = [name for name in map(_known, declared) if name]
    candidates = (
        [n for n in candidates if n != "latin-1"]
        + ["utf-8", "gb18030"]
        + [n for n in candidates if n == "latin-1"]
    )
    for name in dict.fromkeys(candidates):
        try:
            return _FORBIDDEN.sub("", body.decode(name)), name
        except UnicodeDecodeError as exc:
            # a body cut in the middle of a character is no proof against its charset
            if exc.start >= len(body) - 4:
                return _FORBIDDEN.sub("", body.decode(name, "ignore")), name
    name = candidates[0]
    return _FORBIDDEN.sub("", body.decode(name, "replace")), name


def _known(label: str) -> str:
    """Python's name of a charset label; GB2312 and GBK mean GB18030, as browsers read them."""
    low = label.strip().lower().replace("_", "-")
    if low in ("gb2312", "gbk", "gb-2312", "x-gbk", "hz-gb-2312", "gb18030", "cp936"):
        return "gb18030"
    if low in ("iso-8859-1", "latin1", "latin-1", "ascii", "us-ascii", "windows-1252", "cp1252"):
        return "latin-1"
    try:
        name = codecs.lookup(low).name if low else ""
    except LookupError:
        return ""
    # Python also knows "hex", "undefined", "unicode-escape" and the like, which are no charsets of pages
    return name if _CHARSET.match(name) else ""


def real_characters(text: str) -> str:
    """`text` with U+FFFD for references to characters that there are not (half an emoji, &#x110000;): parsers of XML end at them."""
    return _REFERENCE.sub(_character, text)


def _character(found: re.Match[str]) -> str:
    digits = found.group(1)
    number = int(digits[1:], 16) if digits[0] in "xX" else int(digits)
    return found.group() if number < 0xD800 or 0xE000 <= number < 0x110000 else "\ufffd"


def without_declaration(text: str) -> str:
    """`text` without its <?xml ... encoding="..."?>, which contradicts a text that is decoded already."""
    return _XML_DECLARATION.sub("", text, count=1)


def parse_html(text: str) -> HtmlElement | None:
    """The document, or None for an empty one. Broken HTML is mended as browsers do."""
    text = without_declaration(_FORBIDDEN.sub("", text)).strip()
    if not text:
        return None
    try:
        return lxml.html.document_fromstring(text)
    except (lxml.etree.ParserError, ValueError):
        return None


def plain(fragment: str) -> str:
    """Readable text of an HTML fragment: one line for each block, entities resolved. Plain text passes through."""
    if not fragment:
        return ""
    if "<" not in fragment and "&" not in fragment:
        return tidy(fragment)
    root = parse_html(fragment)
    return tidy(fragment) if root is None else element_text(root)


def element_text(root: HtmlElement) -> str:
    """Readable text below `root`, scripts and styles left out."""
    pieces: list[str] = []
    _collect(root, pieces, 0)
    return tidy("".join(pieces))


def _collect(node: HtmlElement, pieces: list[str], depth: int) -> None:
    tag = node.tag
    if not isinstance(tag, str) or tag in _SILENT or depth > 200:
        return
    block = tag in _BLOCKS
    if block:
        pieces.append("\n")
    if node.text:
        pieces.append(_one_line(node.text) if tag != "pre" else node.text)
    for child in node:
        _collect(child, pieces, depth + 1)
        if child.tail:
            pieces.append(_one_line(child.tail) if tag != "pre" else child.tail)
    if block:
        pieces.append("\n")


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def tidy(text: str) -> str:
    """Lines stripped, runs of blanks and empty lines joined."""
    text = (
        text.replace("\r\n", "\n")
        .replace("\r", "\n")
        .replace("\xa0", " ")
        .replace("　", " ")
        .replace("​", "")
        .replace("﻿", "")
    )
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
