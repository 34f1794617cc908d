"""Who may do what. Roles are those of incidents.accounts; who may not act may still read and leave notes.

Clerks see what their department leads or helps with, and nothing of what complains about it. Three duties are kept
apart (三员分立): administrators keep accounts and settings and decide nothing on incidents, auditors read the record and
change nothing (`console.forms` refuses their forms), the desk decides and does neither. A supervisor may restrict an
incident to named people.
"""

from __future__ import annotations

from console.context import Forbidden, Visit
from incidents import access, lifecycle
from incidents.complained import Complained
from incidents.queries import IncidentView

DESK = frozenset({"duty", "supervisor", "leader"})
#: who reads incidents without the words of the posts: neither their work nor their business
MASKED = frozenset({"administrator", "auditor"})
#: act -> roles besides the department in charge
ACTS: dict[str, frozenset[str]] = {
    "ack": DESK,
    "confirm": DESK,
    "false_alarm": DESK,
    "merge": DESK,
    "unmerge": DESK,
    "split": DESK,
    "assign": DESK,
    "complained": DESK,
    "sign": DESK,
    "return": DESK,
    "inform": DESK,
    "press": DESK,
    "respond": DESK,
    "evaluate": DESK,
    "close": DESK,
    "reopen": DESK,
    "restore": DESK,
    "level": DESK,
    "note": DESK | {"analyst"},
    "restrict": access.MAY_RESTRICT,
    "unrestrict": access.MAY_RESTRICT,
}
#: who may correct judgements and say that a post does not belong to an incident, and who answers proposals
TEACHERS = DESK | {"analyst"}
#: what a clerk of the department in charge may do
DEPARTMENT_ACTS = frozenset({"sign", "return", "inform", "press", "respond", "note"})
#: what a clerk of a department that helps may do
HELPER_ACTS = frozenset({"note"})


def hidden(here: Visit) -> frozenset[int]:
    """Ids of incidents that are restricted to other people; looked up once for each request."""
    state = here.request.state
    known: frozenset[int] | None = getattr(state, "hidden_incidents", None)
    if known is None:
        with here.console.db.reading() as session:
            known = access.hidden_from(session, here.account.login, here.account.role)
        state.hidden_incidents = known
    return known


def complained_of(here: Visit, incident: IncidentView) -> Complained:
    """Whom an incident complains about at this moment."""
    with here.console.db.reading() as session:
        return lifecycle.complained_of(
            session, here.console.bundle.departments, incident.id, incident.district
        )


def kept_from(here: Visit, incident: IncidentView) -> bool:
    """Whether the person is a clerk of a unit that the incident complains about (or of a part of one)."""
    departments = here.console.bundle.departments
    return here.account.role == "department" and departments.touched(
        here.account.department, complained_of(here, incident).units
    )


def may_see(here: Visit, incident: IncidentView) -> bool:
    """Clerks of departments see what they lead or help with, as long as it does not complain about them.

    What is restricted is seen by the people who were named, whatever their role.
    """
    if incident.id in hidden(here):
        return False
    if here.account.role != "department":
        return True
    return here.account.department in (incident.department, *incident.co) and not kept_from(here, incident)


def may_act(here: Visit, act: str, incident: IncidentView) -> bool:
    """Whether the person may carry out `act` on an incident that they may see: pages ask this for each act."""
    if here.account.role == "department":
        if incident.department == here.account.department:
            return act in DEPARTMENT_ACTS
        return act in HELPER_ACTS and here.account.department in incident.co
    return here.account.role in ACTS[act]


def need_all(here: Visit) -> None:
    """Pages that speak of all incidents are not for clerks: one of them may complain about their unit."""
    if here.account.role == "department":
        raise Forbidden("部门承办人只能查看本部门的事件。")


def may_review(here: Visit) -> bool:
    """Whether the person may rate how matters were answered and enter call-backs: never the department that answered."""
    return here.account.role in DESK


def may_teach(here: Visit) -> bool:
    """Whether the person may correct what the machine judged."""
    return here.account.role in TEACHERS


def may_answer(here: Visit) -> bool:
    """Whether the person may answer what the machine proposes: to merge, to split, what an answer promised."""
    return here.account.role in DESK


def need_posts(here: Visit) -> None:
    """Searching and exporting posts is not a clerk's business (only posts of their own cases are)."""
    if here.account.role == "department":
        raise Forbidden("部门承办人只能查看本部门的事件，不能检索全部帖子。")
    if here.account.role in MASKED:
        raise Forbidden("管理员和审计员不查看帖子正文；确有需要的，在事件页申请查看。")
