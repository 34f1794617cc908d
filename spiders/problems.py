"""What can go wrong with a source, as exceptions that carry the source's new state and one sentence about it."""

from __future__ import annotations

from datetime import timedelta

from scrapy.exceptions import IgnoreRequest


class SourceProblem(IgnoreRequest):
    """A request or answer that cannot be used. `pause` is how long the source asked us to stay away."""

    state = "error"

    def __init__(self, sentence: str, *, pause: timedelta | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.pause = pause


class RobotsDenied(SourceProblem):
    """robots.txt forbids the address, or could not be read (RFC 9309: then everything is forbidden)."""

    state = "robots"


class Blocked(SourceProblem):
    """The site refuses us (403, 429, a captcha, a check of the browser). We stop for this host and do not try to get around it."""

    state = "blocked"


class LoginWall(SourceProblem):
    """What was public asks for a login. This product reads public pages only."""

    state = "login"


class Refused(SourceProblem):
    """We refuse to ask: a private address, a host that is not allowed, another protocol."""


class Changed(SourceProblem):
    """The answer has no longer the form that the source's entry describes."""

    state = "changed"


class Stopped(SourceProblem):
    """A person halted collecting, or the site, page or author objected (incidents.stops). No failure of the source."""

    state = "halted"
