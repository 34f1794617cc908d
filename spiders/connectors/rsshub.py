"""Any route of the city's own RSSHub instance, read as a feed; its key, its cache and its error pages are known."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import cast
from urllib.parse import quote, urlencode, urlsplit

from scrapy import Request
from scrapy.http import Response

from config.sources import RsshubSource
from spiders.connectors.base import Found, hot_title
from spiders.connectors.rss import ACCEPT, RssConnector
from spiders.items import PostItem
from spiders.pagetext import plain
from spiders.problems import Changed, SourceProblem
from spiders.redact import redact

_MAX_AGE = re.compile(r"\bmax-age\s*=\s*(\d+)", re.IGNORECASE)
# a new instance has the message in <code>, an old one in <pre> with the trace below it
_MESSAGE = re.compile(
    r"Error Message:\s*(?:<br\s*/?>)?\s*(?:<code[^>]*>)?(.*?)(?:</code>|</p>|Route:|$)|<pre class=\"message\">([^\n<]*)",
    re.IGNORECASE | re.DOTALL,
)
#: old instances answer 404 to every error
_NO_ROUTE = re.compile(r"NotFound|wrong path|route does not exist|404", re.IGNORECASE)
#: words of RSSHub's message by which the site behind it turns RSSHub away
_TURNED_AWAY = re.compile(r"\b(403|418|429|432)\b|captcha|验证码|cookie", re.IGNORECASE)


class RsshubConnector(RssConnector):
    """See config.sources.RsshubSource."""

    #: many routes are hot lists
    list_covers = False

    @property
    def source(self) -> RsshubSource:
        """The source with its own fields."""
        return cast("RsshubSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The feed of the route. Raises SourceProblem when the access key is not set."""
        run = self.run
        run.hints = {
            "robots": "an RSSHub instance of one's own forbids robots when DISALLOW_ROBOT is set (old releases always do): "
            "set DISALLOW_ROBOT=false on the instance, or nothing is ever read from it",
            "blocked": "if the instance has an ACCESS_KEY, compare it with access_key of sources.yaml",
        }
        address = self.address()
        shown = self._with_key(address)

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self._parse_route(response, address):
                yield found

        # validators are kept under the address without the key
        headers = {"Accept": ACCEPT, **run.conditional_headers(address)}
        yield self.ask(shown, step, headers=headers, priority=10)

    def address(self) -> str:
        """The route's address without its key."""
        source = self.source
        route = source.route
        if source.transform is not None:
            parts = [source.transform.form, quote(source.transform.page, safe="")]
            if source.transform.rules:
                parts.append(quote(urlencode(source.transform.rules, quote_via=quote), safe=""))
            route = "/rsshub/transform/" + "/".join(parts)
        query = f"?{urlencode(source.params)}" if source.params else ""
        return source.url.rstrip("/") + quote(route, safe="/%:,=&@+!$'();~*") + query

    def _with_key(self, address: str) -> str:
        source = self.source
        if not source.access_key:
            return address
        key = self.run.secret(source.access_key, "access_key")
        if source.key_as == "code":
            # RSSHub's own scheme: the code opens this path only
            shown = hashlib.md5((urlsplit(address).path + key).encode(), usedforsecurity=False).hexdigest()
        else:
            shown = quote(key, safe="")
        self.run.secrets = (key, shown)
        return f"{address}{'&' if source.params else '?'}{source.key_as}={shown}"

    async def _parse_route(self, response: Response, address: str) -> AsyncIterator[Found]:
        age = _MAX_AGE.search((response.headers.get("Cache-Control") or b"").decode("latin-1"))
        if age and response.status in (200, 304):
            self.run.fresh_for = timedelta(seconds=min(int(age.group(1)), 604_800))
        rank = 0
        async for found in self.parse_feed(response, address):
            if not self.source.hot_list or not isinstance(found, PostItem):
                yield found
                continue
            rank += 1
            if any(word in found.title for word in self.source.words):
                yield hot_title(found, self.source.route or "transform", rank)

    def check_list(self, response: Response) -> None:
        """Raise a SourceProblem that says what RSSHub's error page says."""
        if response.status in (200, 304):
            return
        text, _ = self.text_of(response)
        match = _MESSAGE.search(text)
        said = (
            redact(plain((match.group(1) or match.group(2) or "").split("\n    at ")[0])).text[:160].strip()
            if match
            else ""
        )
        path = urlsplit(response.url).path
        if response.status == 404 and (not said or _NO_ROUTE.search(said)):
            raise Changed(
                f"RSSHub has no route {path}, or the site behind it no longer has the page{f' (it says “{said}”)' if said else ''}; correct `route` in sources.yaml"
            )
        if not said:
            super().check_list(response)
        if _TURNED_AWAY.search(said):
            # a matter of this route alone: not `blocked`, which would stop the instance's other routes too
            raise SourceProblem(
                f"the site behind RSSHub's route {path} turns RSSHub away (it says “{said}”); we do not get around walls"
            )
        raise SourceProblem(
            f"RSSHub cannot read what stands behind {path} (status {response.status}, it says “{said}”)"
        )
