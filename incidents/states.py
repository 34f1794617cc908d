"""The life cycle as pure functions: `decide(state, command, now) -> events`, `evolve(state, event) -> state`.

States: watching 关注 (a cluster that has not emerged; no event yet), detected 发现, confirmed 属实, assigned 交办,
acknowledged 签收 (by the department), responded 已回应, evaluated 已评估, closed 办结, false_alarm 误报, merged 并入.
A duty officer's acknowledgement of a page is not a state: it stops the ladder of its epoch and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Stored states of an incident."""

    WATCHING = "watching"
    DETECTED = "detected"
    CONFIRMED = "confirmed"
    ASSIGNED = "assigned"
    ACKNOWLEDGED = "acknowledged"
    RESPONDED = "responded"
    EVALUATED = "evaluated"
    CLOSED = "closed"
    FALSE_ALARM = "false_alarm"
    MERGED = "merged"


#: States in which something is still to be done.
OPEN_STATES = (
    State.DETECTED,
    State.CONFIRMED,
    State.ASSIGNED,
    State.ACKNOWLEDGED,
    State.RESPONDED,
    State.EVALUATED,
)
#: Grades of an incident, ascending: 一般, 较大, 重大, 特别重大.
LEVELS = ("general", "serious", "major", "critical")
#: Grades that the machine may only propose; a person confirms them.
TO_CONFIRM = ("major", "critical")
#: Typed reasons of a false alarm.
FALSE_ALARM_REASONS = (
    "wrong_place",
    "not_now",
    "fiction_or_history",
    "advertisement",
    "duplicate_topic",
    "no_issue",
    "other",
)


class Refused(Exception):
    """A command that the present state does not allow. `zh` and `en` are the sentence for the person who tried."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh = zh
        self.en = en


@dataclass(frozen=True)
class Situation:
    """What `decide` may look at: the fold of the incident's events."""

    state: State = State.WATCHING
    version: int = 0
    epoch: int = 0
    round: int = 0
    level: str = "general"
    proposed: bool = False  # 拟定: the machine proposed major or critical and no person has said a grade yet
    department: str = ""
    officer: str = ""
    parent_id: int | None = None
    track: str = ""
    why: dict[str, Any] = field(default_factory=dict)
    page_acknowledged_epoch: int = -1  # last epoch whose page a person acknowledged
    #: last epoch in which a person found the matter real: nobody is asked any more in it
    confirmed_epoch: int = -1
    level_version: int = 0  # version of the event that gave the grade
    #: who acknowledged the present epoch, in order, each once
    acknowledged_by: tuple[str, ...] = ()
    co: tuple[str, ...] = ()  # co-handling departments 协办
    named: tuple[str, ...] = ()  # a person said: complained of 投诉对象
    cleared: tuple[str, ...] = ()  # a person said: not complained of, though posts seem to say so
    #: 限定知悉: logins of the only people who may see it; empty: everybody whose role may
    readers: tuple[str, ...] = ()
    before: State | None = None  # state to go back to on unmerge
    times: dict[str, datetime] = field(default_factory=dict)  # first instants: detected_at, confirmed_at ...
    began_at: datetime | None = None  # of the present round: its detection, or its reopening


@dataclass(frozen=True)
class Fact:
    """One event before it is numbered and signed."""

    kind: str
    payload: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    round: int = 0


# --- commands --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detect:
    """Raise a watched cluster to an incident. `track` is fast, burst or manual; `why` is the arithmetic."""

    track: str
    why: dict[str, Any]
    level: str = "general"


@dataclass(frozen=True)
class Acknowledge:
    """A duty officer has seen the page of this epoch: stops its ladder, moves no legal clock."""

    epoch: int
    step: int = 0
    on_behalf: bool = False  # 代签收: by somebody who was not paged


@dataclass(frozen=True)
class AskAgain:
    """The system's own: acknowledged, but nothing was done for too long; the ladder begins anew in the next epoch."""

    reason: str


@dataclass(frozen=True)
class Confirm:
    """研判属实: the matter is real. With a `level` the grade is definite; without one a proposed grade stays proposed."""

    note: str = ""
    level: str = ""


@dataclass(frozen=True)
class FalseAlarm:
    """误报, with a typed reason."""

    reason: str
    note: str = ""
    approver: str = ""  # needed once a department has signed for it


@dataclass(frozen=True)
class Merge:
    """并入: this incident is part of another one."""

    parent_id: int
    note: str = ""


@dataclass(frozen=True)
class Unmerge:
    """Take a merge back; the clocks run on from where they started."""

    note: str = ""


@dataclass(frozen=True)
class Split:
    """拆分: these posts are another matter, by now incident `into` (incidents.corrections makes it)."""

    into: int
    posts: tuple[int, ...]
    note: str = ""


@dataclass(frozen=True)
class Assign:
    """交办 to a department; from assigned or acknowledged it is a 转办 and raises the epoch."""

    department: str
    officer: str = ""
    reason: str = ""
    co: tuple[str, ...] = ()  # departments that help 协办
    #: supervision or the superior body that names the handler where everybody else is complained of
    decided_by: str = ""


@dataclass(frozen=True)
class NameComplained:
    """投诉对象更正: a person says whom the matter complains about, beside or against what the posts seem to say.

    `units` are complained of whatever the posts say, `cleared` are not. Each time replaces what was said before.
    """

    units: tuple[str, ...]
    cleared: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class SignFor:
    """签收 by the department."""

    officer: str = ""


@dataclass(frozen=True)
class Return:
    """退回: the department says that it is not responsible. After the rule's time an approver must let it."""

    reason: str
    late_approved_by: str = ""


@dataclass(frozen=True)
class Inform:
    """发布权威信息: first authoritative information is public; no answer to the matter yet. `url` is its evidence."""

    url: str
    summary: str = ""
    published_at: datetime | None = None


@dataclass(frozen=True)
class HoldPress:
    """举行新闻发布会: a press conference was held; `url` is its record."""

    url: str
    summary: str = ""
    held_at: datetime | None = None


@dataclass(frozen=True)
class Extend:
    """延期: a named approver gives one clock `units` of its rule more. Limits are checked where rules are known."""

    rule_id: str
    units: int
    due_at: datetime
    approver: str
    reason: str


@dataclass(frozen=True)
class Respond:
    """已回应: an official answer was published; `url` is its evidence, `text` its whole text (redacted), to be read by the machine."""

    url: str
    summary: str = ""
    published_at: datetime | None = None
    text: str = ""


@dataclass(frozen=True)
class Evaluate:
    """效果评估 by a person, 0 to 100."""

    score: float
    note: str = ""


@dataclass(frozen=True)
class Close:
    """办结."""

    note: str = ""


@dataclass(frozen=True)
class Reopen:
    """Start a new round of a closed incident."""

    reason: str


@dataclass(frozen=True)
class Restore:
    """Take a false alarm back."""

    reason: str


@dataclass(frozen=True)
class SetLevel:
    """Change the grade. Lowering it needs a reason."""

    level: str
    reason: str = ""


@dataclass(frozen=True)
class Note:
    """A remark; changes nothing."""

    text: str


@dataclass(frozen=True)
class Restrict:
    """限定知悉: from now on only these logins see the matter in the console. Replaces who was named before."""

    people: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Unrestrict:
    """解除限定知悉: everybody whose role may sees it again."""

    reason: str


Command = (
    Detect
    | Acknowledge
    | Confirm
    | FalseAlarm
    | Merge
    | Unmerge
    | Split
    | Assign
    | NameComplained
    | SignFor
    | Return
    | AskAgain
    | Inform
    | HoldPress
    | Extend
    | Respond
    | Evaluate
    | Close
    | Reopen
    | Restore
    | SetLevel
    | Note
    | Restrict
    | Unrestrict
)

#: What every state but watching allows, finished ones too.
ALWAYS: tuple[type, ...] = (Note, Restrict, Unrestrict)
#: What every open state allows besides its own moves.
ALWAYS_OPEN: tuple[type, ...] = (
    Acknowledge,
    SetLevel,
    NameComplained,
    Split,
    Inform,
    HoldPress,
    Extend,
    *ALWAYS,
)
#: Which commands a state allows by itself.
MOVES: dict[State, tuple[type, ...]] = {
    State.WATCHING: (Detect,),
    State.DETECTED: (Confirm, FalseAlarm, Merge, AskAgain),
    State.CONFIRMED: (Assign, FalseAlarm, Merge, AskAgain),
    State.ASSIGNED: (SignFor, Assign, Return, Respond, Merge),
    State.ACKNOWLEDGED: (Respond, Assign, Return, FalseAlarm),
    State.RESPONDED: (Evaluate, Respond),
    State.EVALUATED: (Close, Respond),
    State.CLOSED: (Reopen,),
    State.FALSE_ALARM: (Restore,),
    State.MERGED: (Unmerge,),
}

STATE_ZH = {
    State.WATCHING: "关注",
    State.DETECTED: "发现",
    State.CONFIRMED: "属实",
    State.ASSIGNED: "交办",
    State.ACKNOWLEDGED: "签收",
    State.RESPONDED: "已回应",
    State.EVALUATED: "已评估",
    State.CLOSED: "办结",
    State.FALSE_ALARM: "误报",
    State.MERGED: "并入",
}


def allowed(state: State) -> tuple[type, ...]:
    """Commands that `state` accepts, in the order in which a person would look for them."""
    if state in OPEN_STATES:
        return (*MOVES[state], *ALWAYS_OPEN)
    # a watched cluster has no history yet: its first event is always `detected`
    return MOVES[state] if state == State.WATCHING else (*MOVES[state], *ALWAYS)


def _require(condition: object, zh: str, en: str) -> None:
    if not condition:
        raise Refused(zh, en)


def decide(now: Situation, command: Command, at: datetime) -> list[Fact]:
    """The events that `command` causes, or Refused. Pure: looks at nothing but its arguments.

    `at` is the time of the command; payloads carry it only where an earlier instant was claimed.
    """
    if type(command) not in allowed(now.state):
        raise Refused(
            f"事件现处“{STATE_ZH[now.state]}”状态，不能执行此操作。请刷新页面查看最新状态。",
            f"the incident is in state '{now.state}': {type(command).__name__} is not possible; reload to see its present state",
        )
    facts = [_DECIDERS[type(command)](now, command, at)]
    if isinstance(command, Confirm) and command.level and command.level != now.level:
        # another grade than proposed has its own clocks: it is set as by itself
        facts.append(_set_level(now, SetLevel(command.level, command.note), at))
    return facts


def _fact(now: Situation, kind: str, payload: dict[str, Any], *, epoch: int = 0, round_: int = 0) -> Fact:
    return Fact(kind, payload, now.epoch + epoch, now.round + round_)


def _detect(now: Situation, command: Detect, at: datetime) -> Fact:
    _require(
        command.level in LEVELS,
        f"未知等级“{command.level}”。",
        f"unknown level {command.level!r}; one of {', '.join(LEVELS)}",
    )
    _require(
        command.track in ("fast", "burst", "manual"),
        f"未知通道“{command.track}”。",
        f"unknown track {command.track!r}; fast, burst or manual",
    )
    return Fact("detected", {"track": command.track, "why": command.why, "level": command.level}, 1, 1)


def _acknowledge(now: Situation, command: Acknowledge, at: datetime) -> Fact:
    _require(
        command.epoch == now.epoch,
        "该提醒已过期：事件已转办或重新交办，请以最新提醒为准。",
        f"this page belongs to epoch {command.epoch}, the incident is in epoch {now.epoch}: already reassigned",
    )
    first = now.page_acknowledged_epoch < now.epoch
    return _fact(
        now,
        "page_acknowledged",
        {"step": command.step, "first": first, "on_behalf": command.on_behalf},
    )


def _ask_again(now: Situation, command: AskAgain, at: datetime) -> Fact:
    _require(
        max(now.page_acknowledged_epoch, now.confirmed_epoch) >= now.epoch,
        "尚无人确认收到，原提醒仍在进行。",
        "nobody has acknowledged yet: the present ladder still asks",
    )
    return _fact(now, "asked_again", asdict(command), epoch=1)


def _confirm(now: Situation, command: Confirm, at: datetime) -> Fact:
    _require(
        not command.level or command.level in LEVELS,
        "未知等级。",
        f"unknown level {command.level!r}; one of {', '.join(LEVELS)}",
    )
    payload = {"note": command.note}
    return _fact(now, "confirmed", payload | ({"level": command.level} if command.level else {}))


def _false_alarm(now: Situation, command: FalseAlarm, at: datetime) -> Fact:
    _require(
        command.reason in FALSE_ALARM_REASONS,
        "请选择误报原因。",
        f"unknown reason {command.reason!r}; one of {', '.join(FALSE_ALARM_REASONS)}",
    )
    _require(
        now.state != State.ACKNOWLEDGED or command.note.strip(),
        "部门签收后判为误报，须写明理由。",
        "after the department has signed for it, a false alarm needs a written reason",
    )
    _require(
        now.state != State.ACKNOWLEDGED or command.approver.strip(),
        "部门签收后判为误报，须注明批准人。",
        "after the department has signed for it, a false alarm needs the name of an approver",
    )
    return _fact(now, "false_alarm", asdict(command))


def _merge(now: Situation, command: Merge, at: datetime) -> Fact:
    return _fact(now, "merged", asdict(command))


def _unmerge(now: Situation, command: Unmerge, at: datetime) -> Fact:
    # whoever was asked before has seen another matter: the ladder begins anew
    return _fact(now, "unmerged", asdict(command), epoch=1)


def _split(now: Situation, command: Split, at: datetime) -> Fact:
    _require(command.posts, "请选择要拆出的帖子。", "choose the posts that are another matter")
    return _fact(now, "split", {**asdict(command), "posts": sorted(command.posts)})


def _assign(now: Situation, command: Assign, at: datetime) -> Fact:
    _require(command.department.strip(), "请选择承办部门。", "name the department")
    again = now.state in (State.ASSIGNED, State.ACKNOWLEDGED)
    _require(
        not again or command.reason.strip(),
        "转办须写明理由。",
        "a reassignment needs a reason",
    )
    _require(
        command.department not in command.co,
        "主办部门不能同时是协办部门。",
        "the lead department cannot co-handle as well",
    )
    payload = {**asdict(command), "co": list(command.co), "reassigned": again}
    if not command.decided_by:
        del payload["decided_by"]
    return _fact(now, "assigned", payload, epoch=1)


def _name_complained(now: Situation, command: NameComplained, at: datetime) -> Fact:
    _require(
        command.reason.strip(), "更正投诉对象须写明理由。", "saying whom a complaint is about needs a reason"
    )
    _require(
        not set(command.units) & set(command.cleared),
        "同一单位不能既是又不是投诉对象。",
        "a unit cannot be complained of and not be",
    )
    units, cleared = sorted(set(command.units)), sorted(set(command.cleared))
    _require(
        (tuple(units), tuple(cleared)) != (now.named, now.cleared),
        "投诉对象没有变化。",
        "nothing new was said about whom the complaint is about",
    )
    return _fact(now, "complained_named", {"units": units, "cleared": cleared, "reason": command.reason})


def _sign(now: Situation, command: SignFor, at: datetime) -> Fact:
    return _fact(now, "signed", asdict(command))


def _return(now: Situation, command: Return, at: datetime) -> Fact:
    _require(
        command.reason.strip(),
        "退回须注明原因（热线办法：2个工作日内回退并注明原因）。",
        "a return needs a reason",
    )
    return _fact(now, "returned", asdict(command), epoch=1)


def _evidence(url: str, when: datetime | None, at: datetime) -> datetime:
    """The instant that is claimed for something published, or Refused without evidence or in the future."""
    _require(
        url.strip(),
        "请填写链接或文号，作为凭证。",
        "give the link or document number as evidence",
    )
    claimed = when or at
    _require(claimed <= at, "时间不能晚于现在。", "its time lies in the future")
    return claimed


def _inform(now: Situation, command: Inform, at: datetime) -> Fact:
    published = _evidence(command.url, command.published_at, at)
    payload = {
        "url": command.url.strip(),
        "summary": command.summary,
        "published_at": published.isoformat(),
    }
    return _fact(now, "informed", payload)


def _hold_press(now: Situation, command: HoldPress, at: datetime) -> Fact:
    held = _evidence(command.url, command.held_at, at)
    payload = {"url": command.url.strip(), "summary": command.summary, "held_at": held.isoformat()}
    return _fact(now, "press_held", payload)


def _extend(now: Situation, command: Extend, at: datetime) -> Fact:
    _require(command.approver.strip(), "延期须注明批准人。", "an extension needs the name of its approver")
    _require(command.reason.strip(), "延期须写明理由。", "an extension needs a reason")
    _require(command.units > 0, "延长的时间须大于零。", "an extension must add at least one unit")
    payload = {
        "rule": command.rule_id,
        "round": now.round,
        "units": command.units,
        "to": command.due_at.isoformat(),
        "approver": command.approver,
        "reason": command.reason,
    }
    return _fact(now, "clock_extended", payload)


def _respond(now: Situation, command: Respond, at: datetime) -> Fact:
    published = _evidence(command.url, command.published_at, at)
    payload = {
        "url": command.url.strip(),
        "summary": command.summary,
        "published_at": published.isoformat(),
        "again": "responded_at" in now.times,
    }
    if command.text.strip():
        payload["text"] = command.text.strip()
    return _fact(now, "responded", payload)


def _evaluate(now: Situation, command: Evaluate, at: datetime) -> Fact:
    _require(0 <= command.score <= 100, "评分应在0到100之间。", "the score must lie between 0 and 100")
    return _fact(now, "evaluated", asdict(command))


def _close(now: Situation, command: Close, at: datetime) -> Fact:
    return _fact(now, "closed", asdict(command))


def _reopen(now: Situation, command: Reopen, at: datetime) -> Fact:
    _require(command.reason.strip(), "重开须写明理由。", "a reopening needs a reason")
    return _fact(now, "reopened", asdict(command), epoch=1, round_=1)


def _restore(now: Situation, command: Restore, at: datetime) -> Fact:
    _require(command.reason.strip(), "恢复须写明理由。", "a restoration needs a reason")
    return _fact(now, "restored", asdict(command), epoch=1)


def _set_level(now: Situation, command: SetLevel, at: datetime) -> Fact:
    _require(
        command.level in LEVELS, "未知等级。", f"unknown level {command.level!r}; one of {', '.join(LEVELS)}"
    )
    # saying the proposed grade is no change of it, but makes it definite
    _require(
        command.level != now.level or now.proposed, "等级没有变化。", f"the level already is {now.level}"
    )
    lower = LEVELS.index(command.level) < LEVELS.index(now.level)
    _require(not lower or command.reason.strip(), "降低等级须写明理由。", "lowering the level needs a reason")
    return _fact(now, "level_set", {**asdict(command), "from": now.level, "lower": lower})


def _note(now: Situation, command: Note, at: datetime) -> Fact:
    _require(command.text.strip(), "备注为空。", "the note is empty")
    return _fact(now, "note", asdict(command))


def _restrict(now: Situation, command: Restrict, at: datetime) -> Fact:
    people = sorted({name.strip() for name in command.people if name.strip()})
    _require(people, "请至少选择一名知悉人员。", "name at least one person who may know")
    _require(command.reason.strip(), "限定知悉须写明理由。", "a restriction needs a reason")
    _require(tuple(people) != now.readers, "知悉人员没有变化。", "the same people are named already")
    return _fact(now, "restricted", {"people": people, "reason": command.reason})


def _unrestrict(now: Situation, command: Unrestrict, at: datetime) -> Fact:
    _require(now.readers, "该事件没有限定知悉。", "the incident is not restricted")
    _require(command.reason.strip(), "解除限定须写明理由。", "lifting a restriction needs a reason")
    return _fact(now, "unrestricted", {"reason": command.reason})


_DECIDERS: dict[type, Callable[[Situation, Any, datetime], Fact]] = {
    Detect: _detect,
    Acknowledge: _acknowledge,
    Confirm: _confirm,
    FalseAlarm: _false_alarm,
    Merge: _merge,
    Unmerge: _unmerge,
    Split: _split,
    Assign: _assign,
    NameComplained: _name_complained,
    SignFor: _sign,
    Return: _return,
    AskAgain: _ask_again,
    Inform: _inform,
    HoldPress: _hold_press,
    Extend: _extend,
    Respond: _respond,
    Evaluate: _evaluate,
    Close: _close,
    Reopen: _reopen,
    Restore: _restore,
    SetLevel: _set_level,
    Note: _note,
    Restrict: _restrict,
    Unrestrict: _unrestrict,
}


# --- fold ------------------------------------------------------------------------------------------------------


def evolve(was: Situation, fact: Fact, occurred_at: datetime) -> Situation:
    """The situation after one event. Unknown kinds (pages, clocks, views) only count as history."""
    now = replace(was, version=was.version + 1, epoch=fact.epoch, round=fact.round)
    if now.epoch != was.epoch:  # acknowledgements belong to their epoch
        now = replace(now, acknowledged_by=())
    change = _EVOLVERS.get(fact.kind)
    return change(now, fact, occurred_at) if change else now


def _instant(now: Situation, name: str, at: datetime, *, again: bool = False) -> dict[str, datetime]:
    """`now.times` with `name` set; the first instant stays unless `again` (a new round starts anew)."""
    return now.times if name in now.times and not again else {**now.times, name: at}


def _to(state: State, instant: str = "") -> Callable[[Situation, Fact, datetime], Situation]:
    def change(now: Situation, fact: Fact, at: datetime) -> Situation:
        return replace(now, state=state, times=_instant(now, instant, at) if instant else now.times)

    return change


def _detected(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(
        now,
        state=State.DETECTED,
        track=fact.payload["track"],
        why=fact.payload["why"],
        level=fact.payload["level"],
        proposed=fact.payload["track"] != "manual" and fact.payload["level"] in TO_CONFIRM,
        level_version=now.version,
        times=_instant(now, "detected_at", at),
        began_at=at,
    )


def _page_acknowledged(now: Situation, fact: Fact, at: datetime) -> Situation:
    actor = fact.payload.get("by", "")
    return replace(
        now,
        acknowledged_by=now.acknowledged_by
        if not actor or actor in now.acknowledged_by
        else (*now.acknowledged_by, actor),
        page_acknowledged_epoch=max(fact.epoch, now.page_acknowledged_epoch),
        times=_instant(now, "acknowledged_at", at),
    )


def _assigned(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(
        now,
        state=State.ASSIGNED,
        department=fact.payload["department"],
        officer=fact.payload.get("officer", ""),
        co=tuple(fact.payload.get("co", ())),
        times=_instant(now, "assigned_at", at),
    )


def _complained_named(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(now, named=tuple(fact.payload["units"]), cleared=tuple(fact.payload["cleared"]))


def _signed(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(now, state=State.ACKNOWLEDGED, officer=fact.payload.get("officer") or now.officer)


def _returned(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(now, state=State.CONFIRMED, department="", officer="", co=())


def _responded(now: Situation, fact: Fact, at: datetime) -> Situation:
    published = datetime.fromisoformat(fact.payload["published_at"])
    return replace(now, state=State.RESPONDED, times=_instant(now, "responded_at", published))


def _merged(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(now, state=State.MERGED, parent_id=fact.payload["parent_id"], before=now.state)


def _unmerged(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(now, state=now.before or State.DETECTED, parent_id=None, before=None)


def _reopened(now: Situation, fact: Fact, at: datetime) -> Situation:
    """A new round: its own answer, evaluation and closing; detection and confirmation stay as they were."""
    kept = {
        name: when
        for name, when in now.times.items()
        if name in ("detected_at", "alerted_at", "acknowledged_at", "confirmed_at")
    }
    return replace(now, state=State.CONFIRMED, department="", officer="", co=(), times=kept, began_at=at)


def _level_set(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(now, level=fact.payload["level"], proposed=False, level_version=now.version)


def _confirmed(now: Situation, fact: Fact, at: datetime) -> Situation:
    moved = _to(State.CONFIRMED, "confirmed_at")(now, fact, at)
    definite = moved.proposed and not fact.payload.get("level")
    return replace(moved, proposed=definite, confirmed_epoch=fact.epoch)


def _restricted(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(now, readers=tuple(fact.payload["people"]))


def _unrestricted(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(now, readers=())


def _page_sent(now: Situation, fact: Fact, at: datetime) -> Situation:
    return replace(now, times=_instant(now, "alerted_at", at))


_EVOLVERS: dict[str, Callable[[Situation, Fact, datetime], Situation]] = {
    "detected": _detected,
    "page_acknowledged": _page_acknowledged,
    "confirmed": _confirmed,
    "false_alarm": _to(State.FALSE_ALARM),
    "merged": _merged,
    "unmerged": _unmerged,
    "assigned": _assigned,
    "complained_named": _complained_named,
    "signed": _signed,
    "returned": _returned,
    "responded": _responded,
    "evaluated": _to(State.EVALUATED, "evaluated_at"),
    "closed": _to(State.CLOSED, "closed_at"),
    "reopened": _reopened,
    "restored": _to(State.CONFIRMED, "confirmed_at"),
    "level_set": _level_set,
    "page_sent": _page_sent,
    "restricted": _restricted,
    "unrestricted": _unrestricted,
}
