"""Columns of government sites made with Hanweb (大汉 jpage): the list comes as XML, three pages at a time, from dataproxy.jsp."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from scrapy import Request
from scrapy.http import Response

from config.sources import HanwebSource
from spiders.connectors.base import Connector, Found, canonical, joined, page_id
from spiders.dates import parse_when
from spiders.items import Unusable
from spiders.pageback import Place
from spiders.pagetext import element_text, parse_html
from spiders.problems import Changed

PROXY = "/module/web/jpage/dataproxy.jsp"
#: pages in one answer, a constant of the system
PAGES = 3
#: an article with an id below the mark is still new when its row is no older: drafts get their id long before they are published
LATE = timedelta(days=30)

_STORE_BEGINS, _STORE_ENDS = (
    re.compile(r"<datastore>", re.IGNORECASE),
    re.compile(r"</datastore>", re.IGNORECASE),
)
_RECORD_BEGINS, _RECORD_ENDS = re.compile(r"<record>", re.IGNORECASE), re.compile(r"</record>", re.IGNORECASE)
_NEXT_BEGINS, _NEXT_ENDS = (
    re.compile(r"<nextgroup>", re.IGNORECASE),
    re.compile(r"</nextgroup>", re.IGNORECASE),
)
_PROXY_NAME = re.compile(r"dataproxy\.jsp(?:\?([^\s\"'<>\]]*))?", re.IGNORECASE)
_PROXY_PATH = re.compile(r"[^\s\"'<>\[\]=]*$")
_TOTAL = re.compile(
    r"(?:<totalrecord>|\btotalRecord\s{0,5}[:=]\s{0,5}['\"]?)\s{0,20}(\d{1,12})", re.IGNORECASE
)
_PER_PAGE = re.compile(r"\bperpage\s{0,5}[:=]\s{0,5}['\"]?(\d{1,3})\b", re.IGNORECASE)
_COLUMN = re.compile(r"/col/col(\d+)/")
_ARTICLE = re.compile(r"/art_\d+_(\d+)\.s?html?$|/art_(\d+)\.s?html?$")
_ROW_DATE = re.compile(r"(?<!\d)20\d{2}\s*[-/.年]\s*\d{1,2}\s*[-/.月]\s*\d{1,2}\s*日?(?:\s*\d{1,2}:\d{2})?")
_PATH_DATE = re.compile(r"/(20\d{2})/(\d{1,2})/(\d{1,2})/")
#: what the system's own script sends along, in its order; what the list page says replaces these
_FORM = {
    "col": "1",
    "appid": "1",
    "webid": "",
    "path": "/",
    "columnid": "",
    "sourceContentType": "1",
    "unitid": "",
    "webname": "",
    "permissiontype": "0",
}
_IDS = ("webid", "columnid", "unitid")


@dataclass(frozen=True)
class Row:
    """One line of a list. `number` is the article's own id, None when its address has none."""

    ident: str
    number: int | None
    link: str
    title: str
    date: str


@dataclass(frozen=True)
class Listing:
    """Where a list comes from: the proxy's address, its form, rows per page, and the rows that the page itself holds."""

    proxy: str
    form: dict[str, str]
    per_page: int
    records: tuple[str, ...]
    total: int | None


class HanwebConnector(Connector):
    """See config.sources.HanwebSource."""

    @property
    def source(self) -> HanwebSource:
        """The source with its own fields."""
        return cast("HanwebSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The first window if all three numbers are known, else the list page that names them."""
        own = self._own_form()
        if all(own.get(name) for name in _IDS):
            proxy = urljoin(self.source.url, self.source.proxy or PROXY)
            yield self._ask_window(
                Listing(proxy, {**_FORM, **own}, self.source.per_page or 15, (), None), 1, 1
            )
        else:
            yield self.ask_list(self.source.url, self.parse_page)

    def no_way_back(self) -> str:
        """See Connector: the windows reach back to the first article."""
        return ""

    def page_back(self, place: Place | None) -> Iterator[Request]:
        """See Connector."""
        if place is None:
            yield from self.start()
            return
        listing = Listing(
            str(place["proxy"]), dict(place["form"]), int(place["per_page"]), (), place.get("total")
        )
        yield self._ask_window(listing, int(place["first"]), int(place["number"]))

    def _own_form(self) -> dict[str, str]:
        return {name: str(value) for name in _IDS if (value := getattr(self.source, name, None)) is not None}

    # --- the list page

    async def parse_page(self, response: Response) -> AsyncIterator[Found]:
        """The list page: its numbers, and the first window when it stands in the page itself."""
        self.check_list(response)
        if not self.run.list_changed(self.source.url, response):
            return
        text, _ = self.text_of(response)
        listing = self._listing(text)
        missing = [name for name in _IDS if not listing.form.get(name)]
        if missing:
            problem = self.not_expected(text, "a jpage list")
            raise (
                problem
                if problem.state == "blocked"
                else Changed(
                    f"{self.source.url}: {', '.join(missing)} not found on the list page; the site moved to another system, or the address is wrong"
                )
            )
        whole_pages = listing.records and len(listing.records) % (listing.per_page * PAGES) == 0
        if listing.records and (whole_pages or len(listing.records) == listing.total):
            async for found in self._rows(list(listing.records), listing, 1, 1, self.source.url):
                yield found
            return
        # the page only names the numbers: it stays the same while the list changes
        self.run.is_index(self.source.url)
        yield self._ask_window(listing, 1, 1)

    def _listing(self, text: str) -> Listing:
        """The list that belongs to this column; a page may hold several (a sidebar has one of its own)."""
        wanted = self._own_form()
        in_path = _COLUMN.search(urlsplit(self.source.url).path)
        if in_path:
            wanted.setdefault("columnid", in_path.group(1))
        if uid := dict(parse_qsl(urlsplit(self.source.url).query)).get("uid"):
            wanted.setdefault("unitid", uid)
        blocks, rest = _between(text, _STORE_BEGINS, _STORE_ENDS)
        stores = [(_linked_form(block), _records(block), _total(block), block) for block in blocks]
        fitting = [
            store
            for store in stores
            if all(store[0].get(name, value) == value for name, value in wanted.items())
        ]
        best = max(fitting, key=lambda store: len(store[1]), default=None)
        linked, records, total, block = best if best is not None else ({}, [], None, "")
        script = _script_form(rest, wanted)
        form = {**_FORM, **script, **linked, **wanted}
        link = _proxy_link(block) or _proxy_link(text)
        path = self.source.proxy or (link[0] if link else "") or PROXY
        per_page = _PER_PAGE.search(text)
        outside = _TOTAL.search(rest)
        return Listing(
            urljoin(self.source.url, path if path.startswith("/") else PROXY),
            form,
            self.source.per_page or (int(per_page.group(1)) if per_page else 15) or 15,
            tuple(records),
            total if total is not None else int(outside.group(1)) if outside else None,
        )

    # --- windows

    def _ask_window(self, listing: Listing, first: int, number: int) -> Request:
        """Window `number` of this reading, whose first row is row `first` of the list."""
        last = first + listing.per_page * PAGES - 1
        place = urlencode({"startrecord": first, "endrecord": last, "perpage": listing.per_page})
        key = f"{listing.proxy}?{place}&columnid={listing.form['columnid']}&unitid={listing.form['unitid']}"

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_window(response, listing, first, number, key):
                yield found

        headers = {
            "Accept": "application/xml, text/xml, */*; q=0.01",
            "X-Requested-With": "XMLHttpRequest",
            "Referer": self.source.url,
        }
        form = urlencode(listing.form)
        if self.source.method == "GET":
            return self.ask(f"{listing.proxy}?{place}&{form}", step, headers=headers, priority=10)
        headers["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8"
        return self.ask(
            f"{listing.proxy}?{place}", step, headers=headers, method="POST", body=form, priority=10
        )

    async def parse_window(
        self, response: Response, listing: Listing, first: int, number: int, key: str
    ) -> AsyncIterator[Found]:
        """The rows of one window. No row at all, where there was one or where the numbers were given by hand, is a change."""
        self.check_list(response)
        if not self.run.list_changed(key, response):
            return
        text, _ = self.text_of(response)
        stores, _ = _between(text, _STORE_BEGINS, _STORE_ENDS)
        if not stores:
            raise self.not_expected(text, "a jpage datastore")
        records, total = _records(stores[0]), _total(stores[0])
        if not records and number == 1 and (self._own_form() or self.mark("id") is not None or total):
            form = listing.form
            raise Changed(
                f"{self.source.url}: the list webid={form['webid']} columnid={form['columnid']} unitid={form['unitid']} holds no row; "
                "the site was rebuilt, or the numbers in sources.yaml are wrong"
            )
        known = Listing(
            listing.proxy, listing.form, listing.per_page, (), total if total is not None else listing.total
        )
        async for found in self._rows(records, known, first, number, urljoin(response.url, "/")):
            yield found

    async def _rows(
        self, records: list[str], listing: Listing, first: int, number: int, base: str
    ) -> AsyncIterator[Found]:
        rows: dict[str, Row] = {}
        for record in records:
            found = self._row(record, base)
            if isinstance(found, Unusable):
                yield found
            else:
                rows.setdefault(found.ident, found)
        if records and not rows:
            raise Changed(
                f"{self.source.url}: none of {len(records)} rows leads to an article; the markup of the list changed, or allow_hosts lacks a host"
            )
        self.run.tally.found += len(rows)
        unknown = await self.run.unknown(list(rows))
        new = [
            ident for ident in unknown if self._is_new(rows[ident]) and self.wants(self._when(rows[ident]))
        ]
        if len(new) > self.run.room:
            self.run.truncated = True
        for row in rows.values():
            if row.number is not None:
                self.raise_mark("id", row.number)
        for ident in new[: self.run.room]:
            row = rows[ident]
            # a list without @title cuts long titles; the page has the whole one
            cut = row.title.endswith(("...", "…"))
            hint = {"title": "" if cut else row.title, "published_at": self._when(row)}
            yield self.ask(row.link, self.article_step(ident, hint), page=ident)
        following = first + len(records)
        more = len(records) >= listing.per_page * PAGES and (
            listing.total is None or following <= listing.total
        )
        if self.run.back is not None:
            for row in rows.values():
                self.run.back.note(self._when(row))
            if more:
                where = {"proxy": listing.proxy, "form": listing.form, "per_page": listing.per_page}
                self.run.back.following = where | {
                    "total": listing.total,
                    "first": following,
                    "number": number + 1,
                }
            return
        if not more or not (new or self.run.was_unfinished):
            return
        if number < self.source.max_windows:
            yield self._ask_window(listing, following, number + 1)
        elif self.mark("id") is not None and len(new) == len(rows):
            self.run.notes.append(
                f"the {number} windows of max_windows held new rows only; older new ones may have been missed"
            )

    def _row(self, record: str, base: str) -> Row | Unusable:
        root = parse_html(record)
        anchors = [] if root is None else [a for a in root.iter("a") if (a.get("href") or "").strip()]
        anchors = [a for a in anchors if not a.get("href").strip().startswith(("#", "javascript:"))]
        if root is None or not anchors:
            words = "" if root is None else element_text(root)
            return Unusable(
                source_id=self.source.id,
                field="url",
                reason="the row has no link",
                payload={"row": words[:300]},
            )
        # a row may begin with a link to its department; the article's is the one with a title, or with the most words
        anchor = next(
            (a for a in anchors if a.get("title")), max(anchors, key=lambda a: len(element_text(a)))
        )
        link = canonical(joined(base, anchor.get("href")))
        numbered = _ARTICLE.search(urlsplit(link).path)
        number = int(numbered.group(1) or numbered.group(2)) if numbered else None
        ident = str(number) if number is not None else page_id(link)
        if foreign := self.elsewhere(link, ident, "the row"):
            return foreign
        title = (anchor.get("title") or element_text(anchor)).strip()
        dated = _ROW_DATE.search(element_text(root).replace(title, " ", 1))
        in_path = _PATH_DATE.search(urlsplit(link).path)
        date = dated.group() if dated else "-".join(in_path.groups()) if in_path else ""
        return Row(ident, number, link, " ".join(title.split()), date)

    def _when(self, row: Row) -> datetime | None:
        return parse_when(row.date, self.run.clock(), self.run.zone) if row.date else None

    def _is_new(self, row: Row) -> bool:
        """Whether an article that is not stored is to be fetched: old ones that retention removed are not."""
        mark = self.mark("id")
        if mark is None or row.number is None or row.number > mark or self.run.was_unfinished:
            return True
        when = self._when(row)
        return when is not None and self.run.clock() - when <= LATE


def _between(text: str, begins: re.Pattern[str], ends: re.Pattern[str]) -> tuple[list[str], str]:
    """What stands between the marks, and the rest; in one pass, however many marks a hostile page leaves open."""
    before, *parts = begins.split(text)
    found, rest = [], [before]
    for part in parts:
        end = ends.search(part)
        if end:
            found.append(part[: end.start()])
            rest.append(part[end.end() :])
        else:
            rest.append(part)
    return found, "\n".join(rest)


def _records(block: str) -> list[str]:
    """The rows as HTML: mostly in CDATA, on some sites escaped."""
    found = []
    for record in _between(block, _RECORD_BEGINS, _RECORD_ENDS)[0]:
        words = record.strip()
        words = words[9:].removesuffix("]]>") if words.startswith("<![CDATA[") else html.unescape(words)
        if words.strip():
            found.append(words.strip())
    return found


def _total(block: str) -> int | None:
    found = _TOTAL.search(block)
    return int(found.group(1)) if found else None


def _proxy_link(text: str) -> tuple[str, str] | None:
    """Path and query of the first link to dataproxy.jsp."""
    name = _PROXY_NAME.search(text)
    if name is None:
        return None
    before = _PROXY_PATH.search(text[max(0, name.start() - 300) : name.start()])
    path = (before.group() if before else "") + "dataproxy.jsp"
    return urlsplit(path).path, html.unescape(name.group(1) or "")


def _linked_form(block: str) -> dict[str, str]:
    """The form that the link to the next window carries."""
    following, _ = _between(block, _NEXT_BEGINS, _NEXT_ENDS)
    link = _proxy_link(following[0]) if following else None
    return {name: value for name, value in parse_qsl(link[1]) if name in _FORM} if link else {}


def _script_form(text: str, wanted: dict[str, str]) -> dict[str, str]:
    """The form as the page's script holds it: ajaxParam, or the query of a proxy link."""
    plain = html.unescape(text)
    blocks = [
        match.group()
        for match in re.finditer(
            r"\{[^{}]{0,1000}\bunitid\b[^{}]{0,1000}\}|dataproxy\.jsp\?[^\s\"'<>]+", plain
        )
    ]
    forms = [
        {
            name: found.group(1)
            for name in _FORM
            if (found := re.search(rf"\b{name}['\"]?\s*[:=]\s*['\"]?([^'\"&,}}\s]+)", block))
        }
        for block in blocks
    ]
    return next(
        (form for form in forms if all(form.get(name, value) == value for name, value in wanted.items())),
        {},
    )
