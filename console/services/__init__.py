"""Ways to sign in beside local accounts, behind one small protocol: each says who somebody is, nothing more.

What the person may do here comes from `signin.group_roles` (console.views.signin), never from the service itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class NotKnown(Exception):
    """The service did not say who it is. The text is for the log and the record, without any secret."""


@dataclass(frozen=True)
class Person:
    """Whom a service vouches for: the name there, never shown to be a login of ours; groups map to a role."""

    subject: str
    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Errand:
    """One way there and back: what our browser cookie remembers, so that nobody else's answer is taken."""

    state: str
    nonce: str
    verifier: str
    back: str


class Elsewhere(Protocol):
    """A service to whose page the browser is sent, and from which it comes back."""

    id: str

    def address(self, errand: Errand) -> str:
        """Where to send the browser. Raises NotKnown when the service cannot be reached."""
        ...

    def person(self, errand: Errand, answer: Mapping[str, str], now: float) -> Person:
        """Whom the answer vouches for. Raises NotKnown. `now`: seconds since 1970."""
        ...


def groups_of(value: object) -> tuple[str, ...]:
    """Groups as services tell them: a list, or one text with commas; of a distinguished name the first part counts too."""
    listed = value if isinstance(value, list | tuple) else str(value or "").split(",")
    if isinstance(value, str) and "=" in value:
        listed = [value]  # one distinguished name has commas of its own
    found: list[str] = []
    for one in listed:
        text = str(one).strip()
        if not text:
            continue
        found.append(text)
        first = text.split(",", 1)[0]
        if "=" in first:
            found.append(first.split("=", 1)[1].strip())
    return tuple(dict.fromkeys(found))
