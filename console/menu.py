"""The main menu: which pages a role has, gathered so that the row holds for everybody on a small desktop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: every role but clerks, who work on their own department's cases
_ALL = frozenset({"duty", "analyst", "supervisor", "leader", "administrator", "auditor"})
_EVERYBODY = _ALL | {"department"}


@dataclass(frozen=True)
class Entry:
    """One page. `under`: beginnings of addresses that belong to it, beside its own address."""

    address: str
    name: str
    roles: frozenset[str]
    under: tuple[str, ...] = ()

    def here(self, path: str) -> bool:
        """Whether `path` is this page or one below it."""
        return path == self.address or any(path.startswith(one) for one in self.under)


@dataclass(frozen=True)
class Group:
    """Pages under one word; a person who has only one of them sees that page itself."""

    name: str
    entries: tuple[Entry, ...]

    def here(self, path: str) -> bool:
        """Whether `path` belongs to one of the pages."""
        return any(entry.here(path) for entry in self.entries)


def _all(_: Callable[[str], str]) -> tuple[Entry | Group, ...]:
    decide = frozenset({"supervisor", "leader"})
    return (
        Entry("/", _("值班台"), _EVERYBODY),
        Entry("/search", _("检索"), _ALL, ("/search",)),
        Entry("/topics", _("话题"), _ALL - {"administrator", "auditor"}),
        Group(
            _("监督"),
            (
                Entry("/supervision", _("督办"), _ALL - {"administrator", "analyst"}, ("/supervision/",)),
                Entry("/accountability", _("问责"), _EVERYBODY - {"duty", "analyst"}, ("/accountability/",)),
                Entry("/evaluation", _("回应评估"), _ALL),
                Entry("/obligations", _("公开义务"), _EVERYBODY, ("/obligations/",)),
                Entry("/unmask", _("查看申请"), decide),
            ),
        ),
        Group(
            _("采集"),
            (
                Entry("/sources", _("信源"), _EVERYBODY),
                Entry("/coverage", _("覆盖"), _ALL, ("/coverage/",)),
                Entry("/stops", _("停采"), _ALL),
            ),
        ),
        Group(
            _("值守"),
            (
                Entry("/roster", _("值班表"), _ALL, ("/roster/",)),
                Entry("/messages", _("消息"), _EVERYBODY),
            ),
        ),
        Entry("/reports", _("报告"), _ALL, ("/reports/",)),
        Group(
            _("后台"),
            (
                Entry("/accounts", _("账号"), frozenset({"administrator"})),
                Entry("/rules", _("规则"), _EVERYBODY),
                Entry("/model", _("模型"), _ALL, ("/backtest",)),
                Entry("/tokens", _("接口"), _EVERYBODY, ("/sql", "/api/docs")),
                Entry("/system", _("系统状态"), _EVERYBODY),
            ),
        ),
        Entry("/audit", _("审计"), frozenset({"auditor"})),
    )


def menu(role: str, _: Callable[[str], str]) -> list[Entry | Group]:
    """What somebody of this role finds in the menu, in order. `_` is the reader's language."""
    found: list[Entry | Group] = []
    for one in _all(_):
        entries = one.entries if isinstance(one, Group) else (one,)
        seen = tuple(entry for entry in entries if role in entry.roles)
        found.extend([Group(one.name, seen)] if isinstance(one, Group) and len(seen) > 1 else seen)
    return found
