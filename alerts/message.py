"""What people read. The first line says what, where, how bad and by when; a phone at 3 a.m. shows little more.

Each message is written once for every medium: plain text, HTML for mail, blocks for Slack. Nothing here reads the
database: `Facts` carries everything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from alerts.wording import LEVEL_COLOUR, Wording

#: Slack's own limits: a header has 150 characters, a section 3000, a field 2000
_HEADER, _SECTION, _FIELD = 150, 2900, 1900
_TITLE = 60
#: what a phone shows of a subject before it cuts it off: the title leaves room for the due time
_SHORT = 30
#: messages listed in one bundle; the console has the rest
_BUNDLE_SHOWN = 40


@dataclass(frozen=True)
class Clock:
    """One running clock as it stands in a message."""

    rule_id: str
    action: str
    due_at: datetime
    limit: str  # 5小时
    clause: str  # source of the rule
    quote: str
    provisional: bool = False


@dataclass(frozen=True)
class Facts:
    """Everything that a message about an incident says."""

    number: str
    title: str
    place: str
    domain: str
    level: str
    first_posted_at: datetime
    detected_at: datetime
    posts: int
    voices: int
    sources: int
    why: str  # the arithmetic as a sentence
    sure: str  # how sure the judgement is; empty when nothing is known
    responsible: str
    clocks: Sequence[Clock]
    console_url: str
    example: str = ""  # a line of an original post, redacted
    proposed: bool = False  # the machine proposed this grade and no person has confirmed it


@dataclass(frozen=True)
class Occasion:
    """Why this message is sent now and what is asked for."""

    headline: str  # 新事件, 第2级提醒, 黄牌 ...
    because: str = ""  # 主班林东15分钟未确认
    ask: str = ""  # what happens next, or what to do
    link: str = ""
    button: str = ""
    duty: str = ""  # who was asked and the line of the roster that says so
    urgent: bool = False
    press: tuple[dict[str, Any], ...] = ()  # Slack's own buttons, instead of the link


@dataclass(frozen=True)
class Message:
    """One message in every form."""

    subject: str
    text: str
    html: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    #: the same for a reply in the incident's thread, whose first message says the rest
    brief: list[dict[str, Any]] = field(default_factory=list)
    #: plain lines for robots of chat programs; "" means `text`
    compact: str = ""
    link: str = ""

    def for_channel(self, channel: str, thread: str) -> dict[str, Any]:
        """The outbox form of this message for one channel; mails with the same `thread` lie together."""
        common = {"subject": self.subject, "link": self.link, "number": thread}
        if channel == "slack":
            return {**common, "text": escape(self.subject), "blocks": self.blocks}
        if channel in ("email", "folder"):
            return {**common, "text": self.text, "html": self.html, "thread": thread}
        return {**common, "text": self.compact or self.text}


def one_line(text: str, limit: int = _TITLE) -> str:
    """Posts bring line breaks and endless titles; a first line bears neither."""
    flat = re.sub(r"\s+", " ", text).strip()
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def write(facts: Facts, occasion: Occasion, *, now: datetime, language: str, zone: ZoneInfo) -> Message:
    """The message about an incident."""
    say = Wording(language, zone)
    first = first_line(facts, say, now)
    rows = _rows(facts, occasion, say)
    clocks = [_clock_line(clock, say, now) for clock in facts.clocks]
    short = first_line(facts, say, now, _SHORT)
    mark = f"{say.level(facts.level, proposed=facts.proposed)}·{occasion.headline}"
    subject = f"[{mark}] {short}" if say.english else f"【{mark}】{short}"
    return Message(
        subject=subject,
        text=_text(subject, occasion, rows, clocks, say),
        html=_html(facts, occasion, first, rows, clocks, say),
        blocks=_blocks(facts, occasion, subject, rows, clocks, say),
        brief=_brief(facts, occasion, subject, say),
        compact=_compact(subject, occasion, rows, clocks, say),
        link=occasion.link or facts.console_url,
    )


def first_line(facts: Facts, say: Wording, now: datetime, limit: int = _TITLE) -> str:
    """What, where, and by when the next thing is to be done; the title in at most `limit` characters."""
    title = one_line(facts.title, limit)
    what = title if facts.place in title else f"{facts.place} {title}"
    earliest = min(facts.clocks, key=lambda clock: clock.due_at, default=None)
    if earliest is None:
        return what
    due = say.at(earliest.due_at)
    if earliest.due_at < now:
        late = say.span(now - earliest.due_at)
        return say(
            "{what}，已超时{late}（{action}，应于 {due} 前）",
            what=what,
            late=late,
            action=say(earliest.action),
            due=due,
        )
    return say("{what}，{due} 前{action}", what=what, due=due, action=say(earliest.action))


def _rows(facts: Facts, occasion: Occasion, say: Wording) -> list[tuple[str, str]]:
    """Label and value of each line of the body."""
    size = say(
        "{posts}帖，{voices}位不同发帖人，{sources}个来源",
        posts=facts.posts,
        voices=facts.voices,
        sources=facts.sources,
    )
    since = say(
        "首帖 {first}，发现 {detected}",
        first=say.at(facts.first_posted_at),
        detected=say.at(facts.detected_at),
    )
    rows = [
        (say("提醒原因"), occasion.because),
        (say("事件"), one_line(facts.title, 200) if len(one_line(facts.title, 200)) > _SHORT else ""),
        (say("自何时"), since),
        (say("规模"), size),
        (say("把握"), facts.sure),
        (say("为何现在"), facts.why),
        (say("原帖"), f"“{one_line(facts.example, 90)}”" if facts.example else ""),
        (say("责任单位"), facts.responsible),
        (say("值班"), occasion.duty),
        (say("编号"), f"{facts.number} · {facts.domain}"),
    ]
    return [(label, value) for label, value in rows if value]


def _clock_line(clock: Clock, say: Wording, now: datetime) -> tuple[str, str]:
    """When and what; and the clause in its own words."""
    due = say.at(clock.due_at) + (say("（暂定）") if clock.provisional else "")
    if clock.due_at < now:
        state = say("已超时{span}", span=say.span(now - clock.due_at))
    else:
        state = say("还有{span}", span=say.span(clock.due_at - now))
    head = say("{due} 前{action}（{state}）", due=due, action=say(clock.action), state=state)
    quote = f"“{clock.quote}”" if clock.quote else ""
    return head, f"{clock.rule_id} {clock.limit} {clock.clause} {quote}".strip()


def _text(
    subject: str, occasion: Occasion, rows: list[tuple[str, str]], clocks: list[tuple[str, str]], say: Wording
) -> str:
    colon = ": " if say.english else "："
    lines = [subject, "", *(f"{label}{colon}{value}" for label, value in rows)]
    if clocks:
        lines += ["", f"{say('时限')}{colon}".rstrip()]
        for head, clause in clocks:
            lines += [f"· {head}", f"  {clause}"]
    if occasion.link:
        lines += ["", f"{occasion.button}{colon}{occasion.link}"]
    if occasion.ask:
        lines += ["", occasion.ask]
    return "\n".join(lines) + "\n"


def _compact(
    subject: str, occasion: Occasion, rows: list[tuple[str, str]], clocks: list[tuple[str, str]], say: Wording
) -> str:
    """What a phone shows of a robot's message: the first line, why, how big, who, by when, and the link."""
    colon = ": " if say.english else "："
    left_out = {say("原帖"), say("事件"), say("编号")}
    lines = [subject, *(f"{label}{colon}{value}" for label, value in rows if label not in left_out)]
    lines += [f"{say('时限')}{colon}{head}" for head, _clause in clocks]
    if occasion.link:
        lines.append(f"{occasion.button}{colon}{occasion.link}")
    if occasion.ask:
        lines.append(occasion.ask)
    return "\n".join(lines)


#: a line of a notice; with an address it is a link
Line = str | tuple[str, str]


@dataclass(frozen=True)
class Item:
    """One message in a bundle."""

    number: str
    subject: str
    link: str


def write_bundle(
    items: Sequence[Item], *, outage: str, language: str, zone: ZoneInfo, console_url: str
) -> Message:
    """Several messages to one recipient as one, the most urgent first. `outage` says how long nothing could be sent."""
    say = Wording(language, zone)
    shown = items[:_BUNDLE_SHOWN]
    head = say("【汇总】{n}条提醒，最急：{first}", n=len(items), first=one_line(items[0].subject, 60))
    why = (
        say("系统中断{span}，恢复后合并发送。", span=outage)
        if outage
        else say("短时间内消息较多，合并发送。")
    )
    lines: list[Line] = [why]
    lines += [(f"{index}. {item.subject}", item.link) for index, item in enumerate(shown, 1)]
    if len(items) > len(shown):
        lines.append(say("其余{n}条见工作台。", n=len(items) - len(shown)))
    lines.append(say("每条均须单独确认：打开各自链接或工作台。"))
    return notice(head, lines, language, LEVEL_COLOUR["serious"], console_url)


def notice(
    title: str, lines: Sequence[Line], language: str, colour: str, link: str = "", button: str = ""
) -> Message:
    """A message about no single incident (heartbeat, register, alarm, hand-over, bundle) in every form.

    `link` ends the message; with `button`, its words, it is what is asked for and comes first.
    """
    plain = [line if isinstance(line, str) else line[0] for line in lines]
    whole = [
        part for line in lines for part in ((line,) if isinstance(line, str) else (line[0], f"   {line[1]}"))
    ]
    colon = ": " if language.startswith("en") else "："
    ask = [f"{button}{colon}{link}"] if link and button else []
    end = [link] if link and not button else []
    return Message(
        subject=title,
        text="\n".join([title, "", *ask, *([""] if ask else []), *whole, *end]) + "\n",
        html=_template()
        .get_template("plain.html.j2")
        .render(
            language=language.replace("_", "-"),
            colour=colour,
            title=title,
            button=button,
            link=link,
            lines=[
                (line, "") if isinstance(line, str) else line for line in (*lines, *((at, at) for at in end))
            ],
        ),
        blocks=_sections(f"*{escape(title)}*", [*([(button, link)] if ask else []), *lines]),
        compact="\n".join([title, *ask, *plain, *end]),
        link=link,
    )


def _sections(first: str, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Slack sections, each within its limit."""
    parts = [first]
    for line in lines:
        shown = escape(line) if isinstance(line, str) else f"<{line[1]}|{escape(line[0])}>"
        if len(parts[-1]) + len(shown) >= _SECTION:
            parts.append(shown[:_SECTION])
        else:
            parts[-1] += f"\n{shown}"
    return [{"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in parts]


@cache
def _template() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _html(
    facts: Facts,
    occasion: Occasion,
    first: str,
    rows: list[tuple[str, str]],
    clocks: list[tuple[str, str]],
    say: Wording,
) -> str:
    return (
        _template()
        .get_template("mail.html.j2")
        .render(
            language=say.language.replace("_", "-"),
            colour=LEVEL_COLOUR.get(facts.level, LEVEL_COLOUR["general"]),
            badge=f"{say.level(facts.level, proposed=facts.proposed)} · {occasion.headline}",
            first=first,
            rows=rows,
            clocks_title=say("时限"),
            clocks=clocks,
            occasion=occasion,
            console_url=facts.console_url,
            console_label=say("在工作台查看"),
        )
    )


def escape(text: str) -> str:
    """Slack's three special characters; a post must not mention @channel or forge a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(
    facts: Facts,
    occasion: Occasion,
    subject: str,
    rows: list[tuple[str, str]],
    clocks: list[tuple[str, str]],
    say: Wording,
) -> list[dict[str, Any]]:
    head = one_line(subject, _HEADER)
    body = "\n".join(f"*{escape(label)}* {escape(value)}" for label, value in rows)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": head}},
        {"type": "section", "text": {"type": "mrkdwn", "text": body[:_SECTION]}},
    ]
    if clocks:
        lines = "\n".join(f"• *{escape(line)}*\n{escape(one_line(clause, 200))}" for line, clause in clocks)
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": lines[:_SECTION]}})
    if occasion.ask:
        blocks.append(
            {"type": "context", "elements": [{"type": "mrkdwn", "text": escape(occasion.ask)[:_FIELD]}]}
        )
    buttons: list[dict[str, Any]] = []
    if occasion.press:
        buttons += occasion.press
    elif occasion.link:
        buttons.append(_button(occasion.button, occasion.link, "primary"))
    buttons.append(_button(say("在工作台查看"), facts.console_url))
    blocks.append({"type": "actions", "elements": buttons})
    return blocks


def _brief(facts: Facts, occasion: Occasion, subject: str, say: Wording) -> list[dict[str, Any]]:
    words = "\n".join(escape(one_line(line, 1000)) for line in (occasion.because, occasion.ask) if line)
    return [
        {"type": "header", "text": {"type": "plain_text", "text": one_line(subject, _HEADER)}},
        {"type": "section", "text": {"type": "mrkdwn", "text": words or escape(one_line(subject, _HEADER))}},
        {"type": "actions", "elements": [_button(say("在工作台查看"), facts.console_url)]},
    ]


def _button(label: str, url: str, style: str = "") -> dict[str, Any]:
    button: dict[str, Any] = {
        "type": "button",
        "text": {"type": "plain_text", "text": label[:75]},
        "url": url,
    }
    return button | ({"style": style} if style else {})
