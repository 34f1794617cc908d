"""Sources: which public pages are read, how, how often, on what legal ground and with what burden to the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import Field, field_validator, model_validator

from config.domains import IDS
from config.files import Record, parse, read_yaml, repeated

#: Fields of a post that a JSON source may fill. `author` becomes a pseudonym before anything is stored.
POST_FIELDS = (
    "id",
    "url",
    "title",
    "text",
    "published_at",
    "author",
    "place",
    "likes",
    "comments",
    "reposts",
    "views",
)


def _http(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an address that begins with http:// or https://")
    if parts.username or parts.password:
        raise ValueError("an address must not hold a login; this product reads public pages only")
    return url


def _regex(pattern: str | None) -> str | None:
    if pattern:
        try:
            re.compile(pattern)
        except re.error as exc:
            raise ValueError(f"expected a regular expression: {exc}") from exc
    return pattern


def _offset(value: str) -> str:
    if re.fullmatch(r"[+-]\d\d:\d\d", value):
        return value
    try:
        ZoneInfo(value)
    except (ValueError, KeyError, OSError) as exc:
        raise ValueError("expected an offset such as +08:00 or an IANA zone such as Asia/Shanghai") from exc
    return value


class CommonSource(Record):
    """What every source has."""

    id: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$",
        description="Stable name in the database: lower case, digits, - and _.",
    )
    name: str = Field(min_length=1, max_length=80, description="Name for people.")
    url: str = Field(description="Where reading begins; http or https, public.")
    enabled: bool = Field(
        False, description="Whether it is read at all. Off by default: somebody has to decide."
    )
    tier: Literal["A", "B", "C"] = Field(
        "A",
        description="A: made to be read by programs (feed, sitemap, open API). B: public pages read politely. C: licensed or own data.",
    )
    reason: str = Field("", description="Why a tier B source is needed although no feed exists.")
    every_min: float = Field(
        30.0, ge=1, le=10080, description="Minutes between two readings; 30 finds a matter within the hour."
    )
    legal_basis: str = Field(
        min_length=1, description="Legal ground: 法定职责, 已公开信息 (个保法 13 条), contract."
    )
    impact_note: str = Field(
        min_length=1, description="Burden to the site: pages per reading, rate (网络数据安全管理条例 18 条)."
    )
    owner_unit: str = Field(min_length=1, description="Unit that answers for reading this source.")
    max_rate: float | None = Field(
        None, gt=0, le=5, description="Requests per second to this host at most; empty: crawl.delay_s."
    )
    max_items: int | None = Field(
        None, gt=0, le=100_000, description="Posts per reading at most; empty: crawl.max_items."
    )
    charset: str = Field(
        "", description="Encoding, if the site names a wrong one (gb18030); empty: found out."
    )
    timezone: str = Field("+08:00", description="Zone of dates that carry none.")
    domain_hint: str = Field("", description="Domain its posts usually belong to; empty: none.")
    district_hint: str = Field("", description="District its posts usually speak of; empty: none.")
    allow_hosts: tuple[str, ...] = Field(
        (), description="Further hosts that its links may lead to; the url's own host is always allowed."
    )

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return _http(value)

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        return _offset(value)

    @field_validator("charset")
    @classmethod
    def _charset(cls, value: str) -> str:
        if value:
            try:
                "".encode(value)
            except LookupError as exc:
                raise ValueError("expected an encoding such as utf-8 or gb18030") from exc
        return value

    @field_validator("domain_hint")
    @classmethod
    def _domain(cls, value: str) -> str:
        if value and value not in IDS:
            raise ValueError(f"expected one of {', '.join(IDS)}, or nothing")
        return value

    @model_validator(mode="after")
    def _reason_of_tier_b(self) -> CommonSource:
        if self.tier == "B" and not self.reason:
            raise ValueError("a tier B source needs `reason`: why its pages are read although it has no feed")
        return self

    @property
    def host(self) -> str:
        """Host name of the start address, lower case: one crawl at a time for each."""
        return (urlsplit(self.url).hostname or "").lower()

    @property
    def hosts(self) -> frozenset[str]:
        """Every host that reading may touch."""
        return frozenset({self.host, *(host.lower() for host in self.allow_hosts)})


class _Linked(CommonSource):
    """A source that is a list of links to pages."""

    link_pattern: str = Field(
        "",
        description="Regular expression that the address of a post matches; empty: every link of an allowed host.",
    )
    text_selector: str = Field(
        "", description="CSS selector of a page's text; empty: the main text is found by itself."
    )
    title_selector: str = Field("", description="CSS selector of a page's title; empty: found by itself.")
    date_selector: str = Field("", description="CSS selector of a page's date; empty: found by itself.")

    @field_validator("link_pattern")
    @classmethod
    def _pattern(cls, value: str) -> str:
        return _regex(value) or ""


class RssSource(CommonSource):
    """An RSS or Atom feed."""

    kind: Literal["rss"] = Field(description="Names this kind.")
    full_text: bool = Field(
        False, description="Fetch each entry's page for its full text; off: the feed's own text."
    )


class SitemapSource(_Linked):
    """A sitemap or sitemap index; each matching page is fetched and its main text taken."""

    kind: Literal["sitemap"] = Field(description="Names this kind.")
    max_age_days: float = Field(
        7.0, gt=0, le=3650, description="Days: pages with an older lastmod are left alone."
    )


class ColumnSource(_Linked):
    """A column page (栏目页): a list of links to articles."""

    kind: Literal["column"] = Field(description="Names this kind.")
    list_selector: str = Field("", description="CSS selector of the list; empty: the whole page.")
    next_selector: str = Field(
        "", description="CSS selector of the link to the next list page; empty: one page only."
    )
    max_pages: int = Field(1, gt=0, le=50, description="List pages per reading.")


class Pagination(Record):
    """How a JSON API turns pages. The url template holds {page}, {offset} or {cursor} where it goes."""

    kind: Literal["none", "page", "offset", "cursor", "link"] = Field(
        "none", description="none, page number, offset, cursor in the answer, or Link header."
    )
    start: int = Field(1, ge=0, description="First page number or offset.")
    size: int = Field(
        100, gt=0, le=1000, description="Entries per page; fills {size} and is the step of an offset."
    )
    cursor: str = Field("", description="JMESPath of the next cursor; an empty answer ends the reading.")
    max_pages: int = Field(10, gt=0, le=1000, description="Pages per reading at most.")

    @model_validator(mode="after")
    def _cursor_named(self) -> Pagination:
        if self.kind == "cursor" and not self.cursor:
            raise ValueError("pagination by cursor needs `cursor`, a JMESPath into the answer")
        return self


class JsonSource(CommonSource):
    """A JSON API over HTTP. `{since}`, `{page}`, `{offset}`, `{cursor}` and `{size}` in url and body are filled in."""

    kind: Literal["json"] = Field(description="Names this kind.")
    method: Literal["GET", "POST"] = Field("GET", description="HTTP method.")
    headers: dict[str, str] = Field(
        {}, description="Further headers; `${NAME}` is taken from the environment, never written here."
    )
    body: str = Field("", description="Body of a POST, a template like the url.")
    pagination: Pagination = Field(Pagination(), description="How pages are turned.")
    items: str = Field("@", description="JMESPath of the list of posts in the answer.")
    fields: dict[str, str] = Field(
        description=f"JMESPath of each field inside one entry: {', '.join(POST_FIELDS)}."
    )
    time_format: str = Field("iso", description="iso, epoch_s, epoch_ms, auto, or a strptime pattern.")
    stop: Literal["none", "known", "older"] = Field(
        "known",
        description="When to stop turning pages: never, at a page without a new post, or at posts older than the last reading.",
    )

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            lower = name.lower()
            if lower in ("cookie", "user-agent"):
                raise ValueError(
                    f"the header {name} is not for sources: no log-in walls are passed, and the robot's own name is sent"
                )
            if any(word in lower for word in ("auth", "token", "key", "secret")) and "${" not in text:
                raise ValueError(
                    f"the header {name} holds a secret: write ${{NAME}} here and set NAME in the environment"
                )
        return value

    @field_validator("items")
    @classmethod
    def _items(cls, value: str) -> str:
        return _jmespath(value)

    @field_validator("fields")
    @classmethod
    def _fields(cls, value: dict[str, str]) -> dict[str, str]:
        for name, path in value.items():
            if name not in POST_FIELDS:
                raise ValueError(f"unknown field {name!r}; expected {', '.join(POST_FIELDS)}")
            _jmespath(path)
        if missing := [name for name in ("id", "text") if name not in value]:
            raise ValueError(f"missing {', '.join(missing)}")
        return value

    @field_validator("time_format")
    @classmethod
    def _time(cls, value: str) -> str:
        if value not in ("iso", "epoch_s", "epoch_ms", "auto") and "%" not in value:
            raise ValueError(
                "expected iso, epoch_s, epoch_ms, auto, or a strptime pattern such as %Y-%m-%d %H:%M"
            )
        return value

    @model_validator(mode="after")
    def _page_goes_somewhere(self) -> JsonSource:
        mark = {"page": "{page}", "offset": "{offset}", "cursor": "{cursor}"}.get(self.pagination.kind)
        if mark and mark not in self.url + self.body:
            raise ValueError(f"pagination by {self.pagination.kind} needs {mark} in url or body")
        return self


def _jmespath(value: str) -> str:
    try:
        jmespath.compile(value)
    except JMESPathError as exc:
        raise ValueError(f"expected a JMESPath: {' '.join(str(exc).split())}") from exc
    return value


Source = Annotated[RssSource | SitemapSource | ColumnSource | JsonSource, Field(discriminator="kind")]


class _SourceFile(Record):
    sources: tuple[Source, ...] = ()

    @field_validator("sources")
    @classmethod
    def _each_once(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        if twice := repeated([source.id for source in sources]):
            raise ValueError(f"the id stands here twice: {', '.join(twice)}")
        return sources


def load_sources(path: Path) -> tuple[Source, ...]:
    """Read sources.yaml. Raises ConfigError with one entry per wrong value."""
    return parse(_SourceFile, read_yaml(path)).sources
