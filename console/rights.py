"""Who may do what. Roles are those of incidents.accounts; who may not act may still read and leave notes."""

from __future__ import annotations

from console.context import Forbidden, Visit
from incidents.queries import IncidentView

DESK = frozenset({"duty", "supervisor", "leader", "administrator"})
#: act -> roles besides the department in charge
ACTS: dict[str, frozenset[str]] = {
    "ack": DESK,
    "confirm": DESK,
    "false_alarm": DESK,
    "merge": DESK,
    "unmerge": DESK,
    "split": DESK,
    "assign": DESK,
    "sign": DESK,
    "return": DESK,
    "respond": DESK,
    "evaluate": DESK,
    "close": DESK,
    "reopen": DESK,
    "restore": DESK,
    "level": DESK,
    "note": DESK | {"analyst"},
}
#: who may correct judgements and say that a post does not belong to an incident, and who answers proposals
TEACHERS = DESK | {"analyst"}
#: what a clerk of the department in charge may do
DEPARTMENT_ACTS = frozenset({"sign", "return", "respond", "note"})


def may_see(here: Visit, incident: IncidentView) -> bool:
    """Clerks of departments see their own cases only."""
    return here.account.role != "department" or incident.department == here.account.department


def may_act(here: Visit, act: str, incident: IncidentView) -> bool:
    """Whether the person may carry out `act` on this incident."""
    if here.account.role == "department":
        return act in DEPARTMENT_ACTS and may_see(here, incident)
    return here.account.role in ACTS[act]


def may_teach(here: Visit) -> bool:
    """Whether the person may correct what the machine judged."""
    return here.account.role in TEACHERS


def may_answer(here: Visit) -> bool:
    """Whether the person may accept or refuse a proposal to merge or split."""
    return here.account.role in DESK


def need_posts(here: Visit) -> None:
    """Searching and exporting posts is not a clerk's business (only posts of their own cases are)."""
    if here.account.role == "department":
        raise Forbidden("部门承办人只能查看本部门的事件，不能检索全部帖子。")
