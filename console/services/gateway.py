"""A trusted gateway in front of the console names the person in a header; from any other address it is not looked at."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import unquote

from fastapi import Request

from config.settings import GatewaySettings
from console.services import Person, groups_of


def person(settings: GatewaySettings, request: Request) -> Person | None:
    """Whom the gateway names, None when it is no gateway of ours or names nobody."""
    if not settings.header or request.client is None:
        return None
    try:
        peer = ip_address(request.client.host)
    except ValueError:
        return None
    if not any(peer in network for network in settings.proxies):
        return None
    # a header twice: one of them was put there by somebody else
    given = request.headers.getlist(settings.header)
    if len(given) != 1 or not given[0].strip():
        return None
    subject = given[0].strip()[:200]
    name = unquote(request.headers.get(settings.name_header, "")) if settings.name_header else ""
    groups = request.headers.get(settings.groups_header, "") if settings.groups_header else ""
    return Person(subject, name or subject, groups_of(groups))
