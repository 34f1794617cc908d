"""What can go wrong between a script and the API, by kind."""

from __future__ import annotations

from typing import Any


class QuanshengError(Exception):
    """Anything that the client raises."""


class NotReached(QuanshengError):
    """No answer: wrong address, no network, or the installation is down."""


class ApiError(QuanshengError):
    """The API answered that the request cannot be answered.

    `status` is the HTTP code, `detail` the sentence, `errors` says where (`[{"at": "query.since", "problem": "..."}]`).
    """

    def __init__(self, status: int, detail: str, errors: list[dict[str, Any]], reference: str = "") -> None:
        where = ", ".join(str(one.get("at", "")) for one in errors)
        super().__init__(f"{status}: {detail}" + (f" [{where}]" if where else ""))
        self.status = status
        self.detail = detail
        self.errors = errors
        self.reference = reference


class NotSignedIn(ApiError):
    """401: no token, or one that is wrong, expired or revoked: make a new one."""


class NotAllowed(ApiError):
    """403: not for this role, or the token lacks the scope."""


class NotFound(ApiError):
    """404: there is none, or this person may not see it."""


class Invalid(ApiError):
    """422: a value is wrong; `position` points into a search query that cannot be understood."""

    @property
    def position(self) -> int | None:
        """0-based character of the query, None when it is not about one."""
        return next((one["position"] for one in self.errors if one.get("position") is not None), None)


class TooMany(ApiError):
    """429: too many requests; raised only when waiting did not help or was not wanted."""


class Failed(ApiError):
    """5xx: the installation has a problem of its own; `reference` is the number in its log."""


KINDS: dict[int, type[ApiError]] = {
    401: NotSignedIn,
    403: NotAllowed,
    404: NotFound,
    422: Invalid,
    429: TooMany,
}


def error_of(status: int, said: dict[str, Any]) -> ApiError:
    """The error of an answer."""
    kind = KINDS.get(status, Failed if status >= 500 else ApiError)
    errors = said.get("errors")
    return kind(
        status,
        str(said.get("detail") or said.get("title") or "no further word"),
        list(errors) if isinstance(errors, list) else [],
        str(said.get("reference", "")),
    )
