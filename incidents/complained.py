"""Whom an incident complains about: what its posts say of units, and what a person put right.

The unit complained of neither handles nor helps, and nothing of the complaint reaches it (12345条例 art. 32; the clause
itself stands in departments.yaml). `weigh` is pure; `read` asks the database; `check_assign` refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from config.departments import Departments
from config.units import Complaint
from incidents.chunks import chunks
from incidents.models import Incident, IncidentPost, Judgement, Post
from incidents.queries import families, family
from incidents.revisions import words_before
from incidents.states import Assign, Refused, Situation

#: one post that accuses a unit in so many words is enough; posts that are about a unit without saying so count
#: when they are at least this share of the incident's posts (near-copies left out)
SHARE = 0.25


@dataclass(frozen=True)
class Text:
    """What is read of one post."""

    post_id: int
    title: str
    text: str
    about: str = ""
    tone: str = ""
    district: str = ""
    #: what it said before it was edited: who takes a name out again did complain
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blamed:
    """One unit that posts complain about: how many, under which names, and one sentence as it was written (redacted)."""

    unit: str
    posts: int
    written: tuple[str, ...]
    quote: str
    post_id: int
    plain: bool


@dataclass(frozen=True)
class Complained:
    """Whom an incident complains about. `units` is what counts: found by texts, less what a person took out, plus named."""

    found: tuple[Blamed, ...] = ()
    named: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    #: units that single posts complain about, whether they count for the incident or not
    by_post: Mapping[int, frozenset[str]] = field(default_factory=dict)

    @property
    def units(self) -> frozenset[str]:
        """Department ids that may neither handle nor help."""
        return frozenset({one.unit for one in self.found} - set(self.cleared) | set(self.named))

    def of_post(self, post_id: int) -> frozenset[str]:
        """Units that one post complains about, less those of which a person said that they are not."""
        return self.by_post.get(post_id, frozenset()) - set(self.cleared)


def weigh(
    departments: Departments,
    texts: Iterable[Text],
    *,
    district: str = "",
    named: Sequence[str] = (),
    cleared: Sequence[str] = (),
) -> Complained:
    """Pure: whom the texts of one incident complain about. `district` is where a bare 区教育局 would be."""
    said: dict[str, list[tuple[Text, Complaint]]] = {}
    by_post: dict[int, frozenset[str]] = {}
    total = 0
    for text in texts:
        total += 1
        found = _found(departments, text, district)
        if found:
            by_post[text.post_id] = frozenset(one.unit for one in found)
        for one in found:
            said.setdefault(one.unit, []).append((text, one))
    blamed = []
    for unit, uses in said.items():
        if any(one.plain for _, one in uses) or len(uses) >= SHARE * total:
            text, first = next((pair for pair in uses if pair[1].plain), uses[0])
            written = tuple(dict.fromkeys(one.written for _, one in uses))
            blamed.append(Blamed(unit, len(uses), written, first.quote, text.post_id, first.plain))
    blamed.sort(key=lambda one: (-one.posts, one.unit))
    return Complained(tuple(blamed), tuple(named), tuple(cleared), by_post)


def accused(departments: Departments, text: Text, district: str = "") -> frozenset[str]:
    """Pure: units that one text complains about, whether they count for its incident or not."""
    return frozenset(one.unit for one in _found(departments, text, district))


def _found(departments: Departments, text: Text, district: str) -> list[Complaint]:
    """Complaints of one text as it is, and those that only stood there before an edit; a unit once."""
    # praise and news name offices too
    about = text.about if text.tone == "neg" else ""
    where = text.district or district
    found = list(departments.reader.complaints(text.title, text.text, about=about, district=where))
    for words in text.before:
        units = {one.unit for one in found}
        earlier = departments.reader.complaints("", words, district=where)
        found += [one for one in earlier if one.unit not in units]
    return found


#: asked for every message: built once
_WORDS = (
    select(
        Post.id,
        Post.title,
        Post.text,
        Judgement.about,
        Judgement.tone,
        Judgement.districts,
        IncidentPost.incident_id,
    )
    .join(IncidentPost, IncidentPost.post_id == Post.id)
    .outerjoin(Judgement, Judgement.post_id == Post.id)
    .where(IncidentPost.incident_id.in_(bindparam("members", expanding=True)))
    .where(Judgement.near_copy_of.is_(None))
    .order_by(Post.published_at, Post.id)
)
_FIRST_WORDS = _WORDS.limit(bindparam("most"))


def read(
    session: Session,
    departments: Departments,
    incident_id: int,
    district: str,
    situation: Situation,
    *,
    limit: int | None = None,
) -> Complained:
    """Whom an incident (with those merged into it) complains about at this moment. `limit`: only its first posts."""
    rows = session.execute(
        _WORDS if limit is None else _FIRST_WORDS,
        {"members": family(session, incident_id), **({} if limit is None else {"most": limit})},
    ).all()
    texts = [text for _, text in _texts(session, rows)]
    return weigh(departments, texts, district=district, named=situation.named, cleared=situation.cleared)


def read_all(
    session: Session, departments: Departments, about: Mapping[int, tuple[str, Situation]]
) -> dict[int, Complained]:
    """The same of many incidents at once, given the district and the situation of each."""
    heads = families(session, about)
    mine: dict[int, list[Text]] = {id_: [] for id_ in about}
    for part in chunks(list(about)):
        # a family stays together: its posts come in their order
        members = [id_ for id_, head in heads.items() if head in part]
        for incident_id, text in _texts(session, session.execute(_WORDS, {"members": members}).all()):
            mine[heads[incident_id]].append(text)
    return {
        id_: weigh(
            departments,
            texts,
            district=about[id_][0],
            named=about[id_][1].named,
            cleared=about[id_][1].cleared,
        )
        for id_, texts in mine.items()
    }


def _texts(session: Session, rows: Sequence[Any]) -> list[tuple[int, Text]]:
    """The incident that each post was put into, and its words."""
    before = words_before(session, [row[0] for row in rows])
    return [
        (
            row[6],
            Text(
                row[0],
                row[1],
                row[2],
                row[3] or "",
                row[4] or "",
                row[5][0] if row[5] and len(row[5]) == 1 else "",
                before.get(row[0], ()),
            ),
        )
        for row in rows
    ]


def check_assign(
    session: Session, incident: Incident, situation: Situation, command: Assign
) -> tuple[str, ...]:
    """Refuse a unit that is complained of, as lead or helper; returns the units that were passed over, for the record.

    Where nobody is left who may handle by the rules (`unresolved`), supervision or a superior body decides, with its
    name and a reason. A database that was opened without departments (session.info) knows only what people named.
    """
    departments: Departments | None = session.info.get("departments")
    if departments is None:
        if set(situation.named) & {command.department, *command.co}:
            raise Refused(
                "回避：诉求涉及该单位，不能由其承办或协办。",
                "this unit is complained of: it can neither lead nor help",
            )
        return ()
    about = read(session, departments, incident.id, incident.district, situation).units
    if not about:
        _only_where_nobody_is_left(command, False)
        return ()
    law = departments.conflict_law()
    left = [unit for unit in departments.departments if not departments.touched(unit.id, about)]
    touched = [unit for unit in (command.department, *command.co) if departments.touched(unit, about)]
    if touched and left:
        names = departments.names(touched)
        raise Refused(
            f"回避：诉求涉及{names}，不能由其承办或协办。{_by(law, '依据')}如认定有误，请先在“投诉对象”中更正并写明理由。",
            f"{names}: complained of here, can neither lead nor help{_by(law, ' (', ')')}; "
            "if that is wrong, correct first whom the complaint is about, with a reason",
        )
    suggestion = departments.suggest(incident.domain, incident.district, complained_about=about)
    _only_where_nobody_is_left(command, suggestion.unresolved or not left)
    if (suggestion.unresolved or not left) and not (command.decided_by.strip() and command.reason.strip()):
        raise Refused(
            f"应当承办的单位都被投诉，须由督办人员或上级机关指定承办单位，并写明指定人（机关）和理由。{_by(law, '依据')}",
            "every unit that would handle this is complained of: supervision or a superior body names the handler, "
            f"with its name and a reason{_by(law, ' (', ')')}",
        )
    return tuple(sorted(about))


def _by(law: str, before: str, after: str = "。") -> str:
    return f"{before}{law}{after}" if law else ""


def _only_where_nobody_is_left(command: Assign, nobody: bool) -> None:
    if command.decided_by.strip() and not nobody:
        raise Refused(
            "仍有可以回避后承办的单位，无须由督办人员或上级机关指定。",
            "there are units left that may handle this: supervision or a superior body decides only where nobody is",
        )
