"""Forms that arrive: read once, checked for the session's token, every field a stripped text."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request

from console.context import Forbidden, NeedLogin, Visit, clean, member, visit
from console.security import same

STALE = "页面已过期或请求来自其他网站，操作未执行。请返回刷新页面后重试。"


class Posted(dict[str, str]):
    """Fields of a form; a missing one is an empty text."""

    def text(self, name: str, limit: int = 2000) -> str:
        """One field, without surrounding space, no longer than `limit` characters."""
        return clean(self.get(name, ""))[:limit]

    def integer(self, name: str) -> int | None:
        """A whole number, None when it is missing or none."""
        try:
            number = int(self.get(name, "")[:20])
        except ValueError:
            return None
        return number if abs(number) < 2**62 else None

    def checked(self, wanted: str) -> Posted:
        """Itself, if its token is `wanted`."""
        if not same(self.get("csrf", ""), wanted):
            raise Forbidden(STALE)
        return self


async def posted(request: Request) -> Posted:
    """Dependency: the fields, not yet checked (for people without a session)."""
    state = request.scope.get("state", {})
    if state.get("cross_site"):
        raise Forbidden(STALE)
    if state.get("too_long"):
        raise HTTPException(413)
    async with request.form(max_files=0, max_fields=250) as form:
        return Posted({key: value for key, value in form.items() if isinstance(value, str)})


def own_form(here: Annotated[Visit, Depends(member)], fields: Annotated[Posted, Depends(posted)]) -> Posted:
    """Dependency: the form of a logged-in person, its token checked. Auditors have none that changes anything."""
    if here.session is None:
        raise NeedLogin
    if here.account.role == "auditor":
        raise Forbidden("审计员只能查看，不能改动任何内容。")
    return fields.checked(here.session.csrf)


def own_form_early(
    here: Annotated[Visit, Depends(visit)], fields: Annotated[Posted, Depends(posted)]
) -> Posted:
    """The same for a person who still has the generated password."""
    if here.session is None:
        raise NeedLogin
    return fields.checked(here.session.csrf)
