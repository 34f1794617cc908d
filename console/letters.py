"""Drafts of letters of supervision 督办文书: sentences made from the record alone, each with the evidence it rests on.

The first version is composed in the city's language from clock, clause and events; nothing in it was not there before. A
person edits it, and the citations stay checked (incidents.letters).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from config.i18n import translator
from console.context import Reader, Visit
from console.say import Say
from incidents import clocks, queries
from incidents.accountability import Proposal
from incidents.clocks import DeadlineView
from incidents.queries import EventView, IncidentView
from incidents.session import Session
from incidents.states import Refused

#: clauses that are not in the rule file: what praise rests on, and how long an order waits for its answer
PRAISE_SOURCE = "济政办发〔2018〕25号 八(二)"
PRAISE_QUOTE = "建立激励约束机制,对工作落实好的,予以通报表扬;对落实不到位的,予以通报批评或约谈整改。"
REPLY_SOURCE = "济南市绩效管理条例第15条"
#: events that a letter may rest on
_TOLD = (
    "detected",
    "assigned",
    "signed",
    "returned",
    "informed",
    "press_held",
    "responded",
    "reopened",
    "clock_extended",
    "deadline_opened",
    "deadline_missed",
    "deadline_met",
    "deadline_answered_late",
    "accountability_decided",
)


@dataclass
class Draft:
    """A letter in the making: paragraphs and what their citations stand for."""

    body: list[str] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)


class _Writer:
    """Composes one letter about one incident."""

    def __init__(self, here: Visit, session: Session, incident: IncidentView) -> None:
        language = here.console.bundle.settings.city.language
        reader = Reader(here.console, here.now, language, translator("console", language))
        self.say, self.t, self.incident = Say(reader), reader.t, incident
        self.rules = here.console.bundle.rules
        self.reply_days = here.console.bundle.settings.accountability.reply_days
        self.now = here.now
        self.events = [one for one in queries.events_of(session, incident.id) if one.kind in _TOLD]
        self.draft = Draft()
        for event in self.events:
            self.draft.evidence[f"E{event.seq}"] = {
                "kind": event.kind,
                "at": event.occurred_at.isoformat(),
                "actor": event.actor,
                "hash": event.hash,
                "url": str(event.payload.get("url", "")),
            }
        self.draft.evidence[incident.number] = {"kind": "incident"}

    def add(self, text: str, *codes: str, **values: object) -> None:
        """One sentence with the evidence behind it."""
        cited = "".join(f"【{code}】" for code in codes)
        stop = "。" if self.say.zh else "."
        self.draft.body.append(self.t(text, **values) + cited + stop)

    def clause(self, code: str, source: str, quote: str) -> str:
        """A clause among the evidence."""
        self.draft.evidence[code] = {"kind": "clause", "source": source, "quote": quote}
        return code

    def last(self, kind: str, wanted: Callable[[EventView], bool] = lambda event: True) -> EventView | None:
        """The latest event of a kind."""
        return next((one for one in reversed(self.events) if one.kind == kind and wanted(one)), None)

    def when(self, at: datetime | None) -> str:
        """To the minute."""
        return self.say.full(at)[:16]

    # --- sentences -----------------------------------------------------------------------------------------------

    def matter(self) -> None:
        """What the matter is, and since when the department has it."""
        found, given = self.last("detected"), self.last("assigned")
        codes = [f"E{one.seq}" for one in (found, given) if one is not None]
        title = _flat(self.incident.title)
        if given is None:
            self.add(
                "“{title}”（{number}）于 {when} 发现，尚未交办",
                self.incident.number,
                *codes,
                title=title,
                number=self.incident.number,
                when=self.when(self.incident.detected_at),
            )
            return
        self.add(
            "“{title}”（{number}）于 {when} 发现，于 {assigned} 交你单位办理",
            self.incident.number,
            *codes,
            title=title,
            number=self.incident.number,
            when=self.when(self.incident.detected_at),
            assigned=self.when(given.occurred_at),
        )
        signed = self.last("signed")
        if signed is not None and signed.seq > given.seq:
            self.add("你单位于 {when} 签收", f"E{signed.seq}", when=self.when(signed.occurred_at))

    def clock(self, clock: DeadlineView) -> None:
        """The clock that ran out, with its clause; and what has come of it."""
        rule = self.rules.rule(clock.rule_id)
        code = self.clause(clock.rule_id, rule.source, rule.quote or "")

        def own(event: EventView) -> bool:
            return (event.payload.get("rule"), event.payload.get("round")) == (clock.rule_id, clock.round)

        opened, missed = self.last("deadline_opened", own), self.last("deadline_missed", own)
        codes = [f"E{one.seq}" for one in (opened, missed) if one is not None]
        self.add(
            "“{action}”的时限自 {start} 起算，至 {due} 届满",
            code,
            *codes,
            action=_flat(rule.action),
            start=self.when(clock.started_at),
            due=self.say.due(clock.due_at),
        )
        answered = self.last("responded")
        if clock.closed_at is None and answered is None and missed is not None:
            self.add(
                "截至 {when}，记录中没有你单位的回应",
                f"E{missed.seq}",
                when=self.when(self.now),
            )
        elif answered is not None:
            self.add(
                "你单位于 {when} 作出回应", f"E{answered.seq}", when=self.when(self._published(answered))
            )

    def _published(self, event: EventView) -> datetime:
        claimed = event.payload.get("published_at")
        return datetime.fromisoformat(claimed) if claimed else event.occurred_at

    def others(self) -> None:
        """The time that was not the department's."""
        found, given = self.last("detected"), self.last("assigned")
        if found is not None and given is not None and given.occurred_at > found.occurred_at:
            self.add(
                "发现至交办用时 {span}，不计入你单位",
                f"E{found.seq}",
                f"E{given.seq}",
                span=self.say.span(given.occurred_at - found.occurred_at),
            )

    def step(self, proposal: Proposal) -> str:
        """The rung of the ladder; its clause."""
        rung = self.rules.rung(proposal.level)
        source, quote = (rung.source, rung.quote or "") if rung else ("", "")
        return self.clause(proposal.level, source, quote)

    def ground(self, proposal: Proposal, code: str) -> None:
        """Which of the three grounds a named person found."""
        decided = self.last("accountability_decided", lambda one: one.payload.get("key") == proposal.key)
        if decided is None or not proposal.ground:
            raise Refused(
                "须先由具名人员认定情形并批准该项建议。", "a named person has to find a ground first"
            )
        self.add(
            "经{name}认定，属“{ground}”情形",
            code,
            f"E{decided.seq}",
            name=_flat(proposal.decided_by),
            ground=self.say.word("ground", proposal.ground),
        )


def _flat(text: str) -> str:
    """A title inside a sentence: without signs that end one, or that would look like a citation."""
    return re.sub(
        r"\.(?=\s|$)", " ", re.sub(r"[。！？!?\n]", " ", text).replace("【", "[").replace("】", "]")
    ).strip()


def of_step(here: Visit, session: Session, incident: IncidentView, proposal: Proposal, kind: str) -> Draft:
    """The first version of a letter that a step of the ladder leads to. Raises Refused without a ground from L6 on."""
    pen = _Writer(here, session, incident)
    code = pen.step(proposal)
    pen.matter()
    clock = next(
        (
            one
            for one in clocks.deadlines_of(session, incident.id)
            if proposal.key.endswith(f":{one.rule_id}:{one.round}")
        ),
        None,
    )
    if clock is not None:
        pen.clock(clock)
    else:
        reopened = pen.last("reopened")
        codes = [f"E{reopened.seq}"] if reopened else [code]
        pen.add("本事项已是第 {n} 轮办理", *codes, n=incident.round)
    pen.others()
    if kind == "order":
        reply = pen.clause("P15", REPLY_SOURCE, "")
        pen.add("现予督办", code)
        pen.add(
            "请自签发之日起 {n} 个工作日内书面回复办理情况、未按时办理的原因和整改措施",
            reply,
            n=pen.reply_days,
        )
    elif kind == "talk":
        pen.ground(proposal, code)
        pen.add("建议约谈你单位，请说明情况并提出整改措施", code)
    elif kind == "referral":
        pen.ground(proposal, code)
        pen.add("建议移交有权机关依法处理", code)
    else:
        if proposal.rank >= 6:
            pen.ground(proposal, code)
            pen.add("建议予以通报批评", code)
        else:
            pen.add("建议予以通报并提出整改意见", code)
    return pen.draft


def of_praise(here: Visit, session: Session, incident: IncidentView) -> Draft:
    """The first version of 通报表扬: only for an answered case whose clocks were all kept. Raises Refused."""
    pen = _Writer(here, session, incident)
    answered = pen.last("responded")
    own = clocks.deadlines_of(session, incident.id)
    met = [one for one in pen.events if one.kind == "deadline_met"]
    if answered is None or not met or any(one.overdue(here.now) for one in own):
        raise Refused(
            "只有已回应且各项时限均按时完成的事件可以起草通报表扬。",
            "praise needs an answered case whose clocks were all kept",
        )
    code = pen.clause("N82", PRAISE_SOURCE, PRAISE_QUOTE)
    pen.matter()
    pen.add("你单位于 {when} 作出回应", f"E{answered.seq}", when=pen.when(pen._published(answered)))
    pen.add("{n} 项时限均按时完成", *(f"E{one.seq}" for one in met), n=len(met))
    pen.add("建议予以通报表扬", code)
    return pen.draft
