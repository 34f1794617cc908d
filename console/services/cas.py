"""CAS, protocol 3: a ticket that the server itself confirms for our address."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import httpx
from lxml import etree  # type: ignore[import-untyped]

from config.settings import CasSettings
from console.services import Errand, NotKnown, Person, groups_of

WAIT = 8.0
_NS = "{http://www.yale.edu/tp/cas}"


class Cas:
    """One CAS server."""

    id = "cas"

    def __init__(self, settings: CasSettings) -> None:
        self.settings = settings
        self.base = settings.url.rstrip("/")

    def _service(self, errand: Errand) -> str:
        # CAS keeps no state of ours: it stands in the address for which the ticket is made
        return f"{errand.back}?{urlencode({'state': errand.state})}"

    def address(self, errand: Errand) -> str:
        """The server's login page."""
        return f"{self.base}/login?{urlencode({'service': self._service(errand)})}"

    def person(self, errand: Errand, answer: Mapping[str, str], now: float) -> Person:
        """Ask the server whose ticket it is; a ticket is good once and for our address only."""
        ticket = answer.get("ticket", "")
        if not ticket:
            raise NotKnown("no ticket")
        with httpx.Client(timeout=WAIT, follow_redirects=False, trust_env=False) as http:
            found = http.get(
                f"{self.base}/p3/serviceValidate",
                params={"service": self._service(errand), "ticket": ticket},
            )
        if found.status_code != 200:
            raise NotKnown(f"serviceValidate: HTTP {found.status_code}")
        # no entity of the document is looked up, none is expanded
        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
        try:
            root = etree.fromstring(found.content, parser)
        except etree.XMLSyntaxError as exc:
            raise NotKnown("serviceValidate: no XML") from exc
        success = root.find(f"{_NS}authenticationSuccess")
        user = success.findtext(f"{_NS}user") if success is not None else None
        if success is None or not user:
            failure = root.find(f"{_NS}authenticationFailure")
            raise NotKnown(f"CAS refused: {failure.get('code') if failure is not None else 'no user'}")

        def values(name: str) -> list[str]:
            return [item.text or "" for item in success.iterfind(f"{_NS}attributes/{_NS}{name}")]

        name = next(iter(values(self.settings.name_attribute)), user)
        return Person(user.strip(), name, groups_of(values(self.settings.groups_attribute)))
