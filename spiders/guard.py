"""No request may reach a private network unless the operator named the host: neither by address, by redirect nor by DNS.

Addresses are judged where the connection is made (the reactor's name resolver), so a name that answers with a public
address first and a private one later finds no gap.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.web import _newclient
from zope.interface import implementer, provider  # type: ignore[import-untyped]

from spiders.problems import Refused

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

#: bytes of headers of one answer; browsers and servers stop at 8 to 256 KiB
MAX_HEADERS = 256 * 1024
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_private(address: str) -> bool:
    """Whether an IP address lies in no public network (private, loopback, link-local, shared, multicast, reserved)."""
    ip = _ip(address)
    if ip is None:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(str(inner))
    return not ip.is_global or ip.is_multicast


def _ip(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host.strip("[]").split("%")[0])
    except ValueError:
        return None


def check_url(url: str, hosts: Collection[str] | None, private_allowed: Collection[str]) -> None:
    """Raise Refused when `url` may not be asked for.

    `hosts` are the source's hosts (None: any public host, for robots.txt redirects); `private_allowed` are host names and
    addresses of private networks that the operator allowed.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower().rstrip(".")
    if parts.scheme not in ("http", "https") or not host:
        raise Refused(f"{url[:200]} is no http or https address")
    if hosts is not None and host not in hosts:
        raise Refused(
            f"leads to host {host}, which is not among the source's hosts; if that is right, add it to allow_hosts"
        )
    if _ip(host) is None and _numeric(host):
        raise Refused(f"{host} is an address in disguise")
    if is_private(host) and host.strip("[]") not in private_allowed:
        raise Refused(f"{host} is a private address; if it is meant, add it to crawl.allow_private_hosts")


def _numeric(host: str) -> bool:
    """2130706433, 0x7f.1 and 0177.0.0.1 are addresses to some resolvers."""
    last = host.rsplit(".", 1)[-1]
    return last.isdigit() or last.startswith("0x")


def limit_headers(most: int = MAX_HEADERS) -> None:
    """Give up an answer whose headers are longer than `most` bytes: Twisted keeps every line, and a server may send them for ever.

    Twisted has no setting for it, so its parser is wrapped, once in a process.
    """
    parser = _newclient.HTTPClientParser
    if getattr(parser.dataReceived, "limited", False):
        return
    plain = parser.dataReceived

    def counted(self: Any, data: bytes) -> None:
        plain(self, data)  # type: ignore[no-untyped-call]
        if self.line_mode:  # still among the headers
            self.head_bytes = getattr(self, "head_bytes", 0) + len(data)
            if self.head_bytes > most:
                raise _newclient.ParseError(f"headers longer than {most} bytes", b"")  # type: ignore[no-untyped-call]

    counted.limited = True  # type: ignore[attr-defined]
    parser.dataReceived = counted  # type: ignore[method-assign]


@implementer(IHostnameResolver)
class GuardedResolver:
    """Wraps the reactor's resolver and drops private addresses of hosts that were not allowed."""

    def __init__(self, inner: Any, allowed: Callable[[], Collection[str]]) -> None:
        self._inner = inner
        self._allowed = allowed
        #: host -> private address that was dropped; tells "refused" from "not found"
        self.dropped: dict[str, str] = {}

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See IHostnameResolver."""
        allowed = self._allowed()
        dropped = self.dropped
        host = hostName.lower()
        dropped.pop(host, None)

        @provider(IResolutionReceiver)
        class Receiver:
            @staticmethod
            def resolutionBegan(resolutionInProgress: IHostResolution) -> None:
                resolutionReceiver.resolutionBegan(resolutionInProgress)

            @staticmethod
            def addressResolved(address: IAddress) -> None:
                ip = str(getattr(address, "host", ""))
                if is_private(ip) and host not in allowed and ip not in allowed:
                    dropped[host] = ip
                    return
                resolutionReceiver.addressResolved(address)

            @staticmethod
            def resolutionComplete() -> None:
                resolutionReceiver.resolutionComplete()

        found: IHostResolution = self._inner.resolveHostName(
            Receiver, hostName, portNumber, addressTypes, transportSemantics
        )
        return found
