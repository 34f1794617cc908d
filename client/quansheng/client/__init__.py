"""Read a Quansheng 泉声 installation from a script or a notebook."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self

import httpx

from quansheng.client.errors import (
    ApiError,
    Failed,
    Invalid,
    NotAllowed,
    NotFound,
    NotReached,
    NotSignedIn,
    QuanshengError,
    TooMany,
    error_of,
)
from quansheng.client.lists import Row, Rows, SqlRows, Table

__all__ = [
    "ApiError",
    "Client",
    "Failed",
    "Invalid",
    "NotAllowed",
    "NotFound",
    "NotReached",
    "NotSignedIn",
    "QuanshengError",
    "Rows",
    "SqlRows",
    "Table",
    "TooMany",
]

When = datetime | str | None


class Client:
    """One installation, asked with one token. Close it, or use it in `with`.

    An answer that was fetched before and has not changed is not sent again (ETag). A refusal for too many requests is waited out once,
    up to `patience_s`. Raises the errors of quansheng.client.errors.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        lang: Literal["zh", "en"] = "zh",
        timeout_s: float = 60.0,
        patience_s: float = 90.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._lang = lang
        self._patience_s = patience_s
        self._sleep = sleep
        self._known: dict[str, tuple[str, Any]] = {}
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            timeout=timeout_s,
            transport=transport,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        )

    @classmethod
    def from_environment(cls, **more: Any) -> Self:
        """Address and token from QUANSHENG_URL and QUANSHENG_TOKEN: no token in a notebook."""
        try:
            return cls(os.environ["QUANSHENG_URL"], os.environ["QUANSHENG_TOKEN"], **more)
        except KeyError as missing:
            raise QuanshengError(f"set {missing.args[0]} in the environment before you start") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- asking ----------------------------------------------------------------------------------------------------

    def get(self, path: str, **params: Any) -> Any:
        """Any GET operation of /api, as JSON."""
        asked = {"lang": self._lang, **_given(params)}
        request = self._http.build_request("GET", f"/api/{path}", params=asked)
        key = str(request.url)
        if key in self._known:
            request.headers["If-None-Match"] = self._known[key][0]
        answer = self._send(request)
        if answer.status_code == 304:
            return self._known[key][1]
        said = answer.json()
        if tag := answer.headers.get("etag"):
            if len(self._known) >= 200:
                self._known.clear()
            self._known[key] = (tag, said)
        return said

    def _send(self, request: httpx.Request) -> httpx.Response:
        waited = False
        while True:
            try:
                answer = self._http.send(request)
            except httpx.HTTPError as exc:
                raise NotReached(f"{self._http.base_url}: {exc or type(exc).__name__}") from exc
            if answer.status_code < 400:
                return answer
            wait = answer.headers.get("retry-after", "")
            if (
                answer.status_code in (429, 503)
                and wait.isdigit()
                and not waited
                and int(wait) <= self._patience_s
            ):
                waited = True
                self._sleep(float(wait))
                continue
            try:
                said = answer.json()
            except ValueError:
                said = {}
            raise error_of(answer.status_code, said if isinstance(said, dict) else {})

    def _list(self, path: str, page: int = 500, **params: Any) -> Rows:
        return Rows(lambda cursor: self.get(path, limit=page, cursor=cursor or None, **params))

    # --- incidents -------------------------------------------------------------------------------------------------

    def me(self) -> Row:
        """Who asks, with which scopes, until when."""
        return dict(self.get("me"))

    def incidents(
        self,
        *,
        state: Sequence[str] = (),
        domain: str = "",
        district: str = "",
        since: When = None,
        until: When = None,
    ) -> Rows:
        """Incidents, newest detection first; without `state` the open ones."""
        return self._list(
            "incidents", state=list(state), domain=domain, district=district, since=since, until=until
        )

    def incident(self, number: str) -> Row:
        """One incident with the arithmetic of its detection, clocks and record."""
        return dict(self.get(f"incidents/{_part(number)}"))

    def events(self, number: str) -> Rows:
        """The record of one incident, oldest first."""
        return self._list(f"incidents/{_part(number)}/events")

    def clocks(self, number: str) -> Table:
        """The clocks of one incident."""
        return Table(self.get(f"incidents/{_part(number)}/clocks"))

    def growth(self, number: str) -> Table:
        """Posts and voices of one incident by the hour."""
        return Table(self.get(f"incidents/{_part(number)}/growth"))

    def posts_of(self, number: str) -> Rows:
        """Posts of one incident, oldest first."""
        return self._list(f"incidents/{_part(number)}/posts")

    def incident_facets(self, *, since: When = None, until: When = None) -> dict[str, dict[str, int]]:
        """How many incidents by state, domain, district, level and department."""
        return dict(self.get("incidents/facets", since=since, until=until))

    # --- posts -----------------------------------------------------------------------------------------------------

    def posts(self, q: str = "", **filters: Any) -> Rows:
        """Posts for which the query holds, newest first. Filters: domain, district, source, tone, incident, since, until."""
        return self._list("posts", q=q, **filters)

    def count(self, q: str = "", **filters: Any) -> int:
        """How many posts there are for which the query holds; with `exact=False` the newest at most, which is faster."""
        return int(self.get("posts/count", q=q, **filters)["total"])

    def over_time(
        self, q: str = "", *, unit: Literal["hour", "day", "week", "month"] = "day", **filters: Any
    ) -> Table:
        """Posts by local hour, day, week or month: `start` and `posts`."""
        return Table(self.get("posts/over-time", q=q, unit=unit, **filters)["buckets"])

    def facets(self, q: str = "", **filters: Any) -> Row:
        """Posts by domain, tone, source, district and risk, and `total`."""
        return dict(self.get("posts/facets", q=q, **filters))

    # --- what figures are read with ----------------------------------------------------------------------------------

    def sources(self) -> Rows:
        """Configured sources with their state."""
        return self._list("sources")

    def departments(self) -> Table:
        """Departments, and the domains that each leads or helps with."""
        return Table(self.get("departments"))

    def rules(self) -> Table:
        """The legal rules in force."""
        return Table(self.get("rules")["rules"])

    def reports(self) -> Rows:
        """Reports that were written, the newest first."""
        return self._list("reports")

    def report(self, period: str, report: str = "weekly") -> Row:
        """The newest revision of one report, as numbers."""
        return dict(self.get(f"reports/{_part(report)}/{_part(period)}"))

    # --- SQL -------------------------------------------------------------------------------------------------------

    def sql(self, query: str) -> SqlRows:
        """One SELECT on the de-identified copy, where the installation has it switched on."""
        request = self._http.build_request(
            "POST", "/api/sql", params={"lang": self._lang}, json={"sql": query}
        )
        return SqlRows(self._send(request).json())

    def sql_schema(self) -> Row:
        """Tables and columns of that copy, and the limits of one query."""
        return dict(self.get("sql/schema"))


def _part(text: str) -> str:
    """One part of a path; httpx escapes the rest."""
    return text.replace("%", "%25").replace("/", "%2F").replace("?", "%3F").replace("#", "%23") or "-"


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    """Values that were given; times as ISO 8601 with their zone."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        if value is None or value == "" or value == []:
            continue
        if isinstance(value, bool):
            value = str(value).lower()
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise QuanshengError(
                    f"{name}: a time without a zone; say which, as in datetime(2026, 11, 24, tzinfo=...)"
                )
            value = value.isoformat()
        found[name] = value
    return found
