"""Times, words and names in the reader's language: what templates call `say`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from config.departments import Suggestion
from config.domains import domain_label
from config.i18n import retold
from config.roster import OnDuty
from console import words
from console.context import Reader, Visit
from incidents import accounts, evaluation_words
from incidents.backtests import Change
from incidents.labels import LabelView
from incidents.queries import EventView, IncidentView, get_incident


@dataclass(frozen=True)
class Line:
    """One line below an event; `url` makes it a link."""

    text: str
    url: str = ""


def safe_url(url: str) -> str:
    """Only http and https become links: a post's address comes from outside."""
    return url if url.startswith(("http://", "https://")) else ""


#: parts that there are several of: how their names begin, whose name follows, and what they are
_PARTS_OF = (
    ("door.", "channel", "渠道应答"),
    ("canary.", "channel", "渠道自检"),
    ("job:send:", "channel", "发送"),
    ("job:intake:", "source", "接收数据"),
    ("refused:", "source", "推送被拒"),
)


class Say:
    """Times, words and names in the reader's language; `say` in templates."""

    def __init__(self, here: Reader) -> None:
        self.here = here
        self.zh = here.lang != "en"
        bundle = here.console.bundle
        self._sources = {item.id: item.name for item in bundle.sources}

    def word(self, table: str, code: object) -> str:
        """The name of a code."""
        return self.here.t(words.word(table, code))

    def words(self, table: str, codes: Sequence[object]) -> str:
        """The names of several codes."""
        return ("、" if self.zh else ", ").join(self.word(table, code) for code in codes)

    def part(self, name: str) -> str:
        """The name of a part of the system that gives a sign of life; of a channel's or a source's part with its own name."""
        for begin, table, code in _PARTS_OF:
            if name.startswith(begin):
                own = name.removeprefix(begin)
                which = self.source(own) if table == "source" else self.word(table, own)
                return f"{self.here.t(code)} · {which}"
        return self.word("part", name)

    def reason(self, given: Suggestion | OnDuty) -> str:
        """Why a department is suggested, or why a person is on duty, in the reader's language."""
        return given.why(self.here.lang)

    def department(self, id: str) -> str:
        """The name of a department; an id that the configuration no longer knows stands for itself."""
        return self.here.console.bundle.departments.zh(id) if id else self.here.t("未定")

    def departments(self, ids: Iterable[str]) -> str:
        """Names of some departments in one line."""
        return self.here.console.bundle.departments.names(tuple(ids), self.here.lang)

    def conflict_law(self) -> str:
        """The law by which the unit complained of has to stand back, with its words."""
        return self.here.console.bundle.departments.conflict_law()

    def source(self, id: str) -> str:
        """The name of a source."""
        return self._sources.get(id, id)

    def evidence(self, text: str) -> str:
        """What a reading of a source came to: stored in English, told in the reader's language."""
        return retold("spiders", text, self.here.lang)

    def person(self, actor: str) -> str:
        """Who acted: `system`, a roster id or a login name."""
        if actor == "system":
            return self.here.t("系统")
        known = self.here.console.bundle.roster.person(actor)
        return known.name if known else self._logins.get(actor, actor)

    def people(self, logins: Iterable[str]) -> str:
        """Names of several people."""
        return ("、" if self.zh else ", ").join(self.person(login) for login in logins)

    @cached_property
    def _logins(self) -> dict[str, str]:
        with self.here.console.db.reading() as session:
            return {account.login: account.display_name for account in accounts.list_accounts(session)}

    def recipient(self, address: str) -> str:
        """Whom a message went to: an officer's name for their address, else the address."""
        for person in self.here.console.bundle.roster.people:
            if address and address in (person.id, person.email, person.slack_user):
                return person.name
        return address

    def period(self, since: datetime, until: datetime) -> str:
        """First and last day of a period that ends at `until`, not included."""
        return f"{self.day(since)} – {self.day(until - timedelta(microseconds=1))}"

    def change(self, change: Change) -> str:
        """What a backtest tries, in words."""
        told = []
        if change.false_alarms_per_week is not None:
            told.append(self.here.t("每周误报 {n}", n=f"{change.false_alarms_per_week:g}"))
        if change.watched_domains is not None:
            names = ("、" if self.zh else ", ").join(self.domain(name) for name in change.watched_domains)
            told.append(self.here.t("重点领域：{names}", names=names or self.here.t("无")))
        told += [f"{self.word('fast_limit', name)} {value:g}" for name, value in change.fast.items()]
        told += [
            self.here.t("{rule} 的时限 {n}", rule=self.rule(name), n=n) for name, n in change.rules.items()
        ]
        return ("；" if self.zh else "; ").join(told)

    def switch_on(self, change: Change) -> str:
        """The lines of the configuration that would bring a change into force."""
        lines = []
        if change.detects:
            lines += ["# quansheng.toml", "[analysis]"]
        if change.false_alarms_per_week is not None:
            lines.append(f"false_alarms_per_week = {change.false_alarms_per_week:g}")
        if change.watched_domains is not None:
            lines.append(f"watched_domains = {json.dumps(list(change.watched_domains))}")
        if change.fast:
            lines += ["", "[analysis.fast]", *(f"{name} = {value:g}" for name, value in change.fast.items())]
        rules = self.here.console.bundle.rules
        for name, amount in change.rules.items():
            unit = {"calendar_hours": "PT{}H", "workdays": "P{}WD"}.get(rules.rule(name).unit, "P{}D")
            lines += [
                f"# rules/{self.here.console.bundle.settings.city.id}.yaml, {name}",
                f"deadline: {unit.format(amount)}",
            ]
        return "\n".join(lines)

    def domain(self, id: str) -> str:
        """The name of a subject."""
        return domain_label(id, self.here.lang)

    @cached_property
    def _zone(self) -> ZoneInfo:
        return self.here.console.zone

    @cached_property
    def _today(self) -> date:
        return self.local(self.here.now).date()

    def local(self, value: datetime) -> datetime:
        """In the city's zone."""
        return value.astimezone(self._zone)

    def time(self, value: datetime | None) -> str:
        """Short: the year only when it is not this one."""
        if value is None:
            return "—"
        local = self.local(value)
        clock, days = f"{local:%H:%M}", (self._today - local.date()).days
        if days == 0:
            return self.here.t("今天 {clock}", clock=clock)
        if days == 1:
            return self.here.t("昨天 {clock}", clock=clock)
        return f"{self.day(value)} {clock}"

    def day(self, value: datetime) -> str:
        """A day; the year only when it is not this one."""
        local, today = self.local(value), self.local(self.here.now)
        if self.zh:
            return (
                f"{local.year}年{local.month}月{local.day}日"
                if local.year != today.year
                else f"{local.month}月{local.day}日"
            )
        return local.strftime("%-d %b %Y" if local.year != today.year else "%-d %b")

    def full(self, value: datetime | None) -> str:
        """To the second, with the zone's offset: for records."""
        if value is None:
            return "—"
        written = self.local(value).isoformat(" ", "seconds")
        return f"{written[:19]} {written[19:]}"

    def due(self, value: datetime | None) -> str:
        """The end of a clock to the minute; a midnight belongs to the day that it ends (24:00)."""
        if value is None:
            return "—"
        local = self.local(value)
        if (local.hour, local.minute) == (0, 0):
            return (local - timedelta(minutes=1)).strftime("%Y-%m-%d 24:00")
        return local.strftime("%Y-%m-%d %H:%M")

    def last_day(self, value: datetime | None) -> str:
        """The day that an end belongs to, as a date field wants it; "" without one."""
        return "" if value is None else (self.local(value) - timedelta(minutes=1)).strftime("%Y-%m-%d")

    def span(self, length: timedelta) -> str:
        """A length of time in its two biggest units."""
        minutes = int(abs(length).total_seconds() // 60)
        days, rest = divmod(minutes, 1440)
        hours, minutes = divmod(rest, 60)
        parts = ((days, "{n} 天"), (hours, "{n} 小时"), (minutes, "{n} 分"))
        shown = [self.here.t(text, n=n) for n, text in parts if n][:2]
        return " ".join(shown) or self.here.t("不到 1 分")

    def seconds(self, count: float) -> str:
        """A length of time given in seconds."""
        return self.span(timedelta(seconds=count))

    def ago(self, value: datetime | None) -> str:
        """How long ago."""
        if value is None:
            return self.here.t("从未")
        return self.here.t("{span}前", span=self.span(self.here.now - value))

    def left(self, due: datetime) -> str:
        """A countdown in words."""
        rest = due - self.here.now
        text = "剩 {span}" if rest >= timedelta(0) else "已超 {span}"
        return self.here.t(text, span=self.span(rest))

    def urgency(self, due: datetime | None) -> str:
        """CSS class of a running clock: over, soon (less than 4 h), near (less than 24 h), calm."""
        if due is None:
            return "calm"
        rest = due - self.here.now
        if rest < timedelta(0):
            return "over"
        if rest < timedelta(hours=4):
            return "soon"
        return "near" if rest < timedelta(hours=24) else "calm"

    def why(self, incident: IncidentView) -> str:
        """Why it was flagged, in one sentence: analysis' own words, else its numbers."""
        keys = ("sentence_zh", "sentence") if self.zh else ("sentence_en", "sentence")
        for key in keys:
            if isinstance(incident.why.get(key), str) and incident.why[key]:
                return str(incident.why[key])
        return self.here.t(
            "{posts} 帖，{voices} 人发声；{track}。",
            posts=incident.posts,
            voices=incident.voices,
            track=self.word("track", incident.track),
        )

    def facts(self, why: dict[str, Any]) -> list[tuple[str, str]]:
        """The arithmetic behind the sentence, as pairs; sentences and empty values left out."""
        return [
            (self.word("why", key), self.fact(key, value))
            for key, value in why.items()
            if not key.startswith("sentence") and value not in (None, "", [], {})
        ]

    def event(self, event: EventView) -> list[Line]:
        """What an event says beyond its kind."""
        given = event.payload
        lines: list[Line] = []
        if event.kind in (
            "detected",
            "assigned",
            "complained_named",
            "deadline_opened",
            "level_set",
            "false_alarm",
            "evaluated",
            "rated",
            "called_back",
            "merged",
            "split",
            "post_removed",
            "restricted",
        ):
            lines.append(Line(self._headline(event)))
        if event.kind in ("responded", "informed", "press_held", "promise_kept", "promise_broken"):
            url = str(given.get("url") or given.get("link") or "")
            lines.append(Line(url, safe_url(url)))
        for key in ("officer", "summary", "note", "text", "detail", "error"):
            # a whole answer stands in its own panel
            if given.get(key) and (key, event.kind) != ("text", "responded"):
                lines.append(Line(str(given[key])))
        if given.get("reason") and event.kind not in ("false_alarm",):
            lines.append(Line(self.here.t("理由：{reason}", reason=given["reason"])))
        if event.kind == "rung_fired":
            people = [self.person(str(person.get("id", ""))) for person in given.get("people", [])]
            rung = self.here.t("第 {n} 级", n=given.get("step", ""))
            nobody = self.here.t("均已确认收到")
            if given.get("exhausted"):  # how older versions noted the end of a ladder
                nobody = self.word("event", "ladder_ended")
            lines.insert(0, Line(f"{rung} {'、'.join(people) or nobody}"))
        if event.kind in ("page_sent", "page_refused", "no_one_on_duty"):
            who = given.get("person") or given.get("role") or ""
            channel = self.word("channel", given["channel"]) if given.get("channel") else ""
            lines.insert(
                0, Line(" · ".join(part for part in (self.person(str(who)) if who else "", channel) if part))
            )
        if event.kind.startswith("deadline_") and event.kind != "deadline_opened" and given.get("rule"):
            lines.insert(0, Line(self.rule(str(given["rule"]))))
        return [line for line in lines if line.text]

    def _headline(self, event: EventView) -> str:
        given = event.payload
        if event.kind == "assigned":
            return self._assigned(given)
        if event.kind == "complained_named":
            said = (("投诉对象：{names}", "units"), ("不是投诉对象：{names}", "cleared"))
            return ("；" if self.zh else "; ").join(
                self.here.t(text, names=self.departments(given[key])) for text, key in said if given.get(key)
            )
        if event.kind == "detected":
            return (
                f"{self.word('track', given.get('track', ''))} · {self.word('level', given.get('level', ''))}"
            )
        if event.kind == "false_alarm":
            return self.word("false_alarm", given.get("reason", ""))
        if event.kind == "evaluated":
            return self.here.t("{score} 分", score=self.number(given.get("score", "")))
        if event.kind == "rated":
            return self.here.t("总分 {score}", score=self.number(float(sum(given["scores"].values()))))
        if event.kind == "called_back":
            source = str(given.get("source") or "")
            brought = self.here.t("导入：{source}", source=self.source(source)) + " · " if source else ""
            return brought + self.here.t(
                "解决 {a}/{b}，满意 {c}+{d}/{e}",
                a=given["solved"],
                b=given["solved"] + given["unsolved"],
                c=given["satisfied"],
                d=given["basically"],
                e=given["satisfied"] + given["basically"] + given["dissatisfied"],
            )
        if event.kind == "level_set":
            return (
                f"{self.word('level', given.get('from', ''))} → {self.word('level', given.get('level', ''))}"
            )
        if event.kind == "restricted":
            return self.people(given.get("people", []))
        if event.kind == "post_removed":
            return self.here.t("{n} 帖", n=len(given.get("posts", [])))
        if event.kind in ("merged", "split"):
            with self.here.console.db.reading() as session:
                other = get_incident(session, int(given["parent_id" if event.kind == "merged" else "into"]))
            moved = self.here.t("{n} 帖", n=len(given["posts"])) + " → " if event.kind == "split" else ""
            # another matter may complain about the clerk's unit: its number says enough
            clerk = isinstance(self.here, Visit) and self.here.account.role == "department"
            title = "" if clerk or other is None else f" {other.title}"
            return f"{moved}{other.number}{title}" if other else moved
        due = given.get("due_at")
        until = self.here.t("，至 {time}", time=self.full(datetime.fromisoformat(due))[:16]) if due else ""
        return self.rule(str(given.get("rule") or "")) + until

    def _assigned(self, given: dict[str, Any]) -> str:
        """Who leads, who helps, who was passed over and who decided where nobody was left."""
        parts = [self.department(str(given.get("department", "")))]
        if given.get("co"):
            parts.append(self.here.t("协办：{names}", names=self.departments(given["co"])))
        if given.get("avoided"):
            parts.append(self.here.t("回避：{names}", names=self.departments(given["avoided"])))
        if given.get("decided_by"):
            parts.append(self.here.t("指定：{name}", name=given["decided_by"]))
        return ("；" if self.zh else "; ").join(parts)

    def said(self, kind: str, value: str) -> str:
        """What a label's value is called."""
        if kind == "domain":
            return self.domain(value)
        return self.word(kind, value)

    def stands(self, kind: str, post: Any) -> str:
        """What the judgement of a post says now, as labels write it."""
        value = post[kind] if isinstance(post, dict) else getattr(post, kind)
        if kind == "signal":
            return "yes" if value else "no"
        return str(value)

    def taught(self, label: LabelView) -> str:
        """One correction: who, when, what, and what the machine had said."""
        who, when = self.person(label.actor), self.time(label.created_at)
        if not label.changed:
            return self.here.t(
                "{who} {when} 确认：{value}", who=who, when=when, value=self.said(label.kind, label.value)
            )
        return self.here.t(
            "{who} {when} 改为“{value}”，系统判为“{was}”",
            who=who,
            when=when,
            value=self.said(label.kind, label.value),
            was=self.said(label.kind, label.machine),
        )

    def likeness(self, reasons: dict[str, Any], common: bool = True) -> list[str]:
        """Why two incidents, or the two parts of one, are proposed as they are."""
        found = []
        if reasons.get("words"):
            words = "、".join(map(str, reasons["words"]))
            found.append(
                self.here.t("共同用词：{list}", list=words)
                if common
                else self.here.t("主要用词：{list}", list=words)
            )
        if reasons.get("places"):
            found.append(self.here.t("地点或单位：{list}", list="、".join(map(str, reasons["places"]))))
        if reasons.get("areas"):
            found.append(self.here.t("区县：{list}", list="、".join(map(str, reasons["areas"]))))
        if isinstance(reasons.get("days"), int | float):
            days = float(reasons["days"])
            found.append(self.here.t("相隔 {n} 天", n=self.number(days)) if days else self.here.t("时间重叠"))
        return found

    def stored(self, line: dict[str, Any]) -> str:
        """A sentence of a stored evaluation in the reader's language."""
        return evaluation_words.say(line["text"], line["given"], self.here.lang)

    def gist(self, indicator: dict[str, Any]) -> str:
        """The arithmetic of a stored indicator in one sentence."""
        lines = [(line["text"], line["given"]) for line in indicator["lines"]]
        return evaluation_words.gist(indicator["id"], lines, self.here.lang)

    def half_life(self, hours: float) -> str:
        """How long the talk took to halve."""
        return evaluation_words.half_life(hours, self.here.lang)

    def evaluation(self, table: str, code: str) -> str:
        """What a code of an evaluation is called."""
        return evaluation_words.word(table, code, self.here.lang)

    def cautions(self) -> list[str]:
        """What everybody who reads an evaluation should know."""
        return evaluation_words.cautions(self.here.lang)

    def percent(self, share: float) -> str:
        """A share."""
        return f"{share:.0%}"

    def moved(self, value: float) -> str:
        """A relative change, with its sign."""
        return f"{value:+.0%}".replace("-", "−")

    def points(self, value: float) -> str:
        """A change of a share, in percentage points."""
        return self.here.t("{n} 个百分点", n=f"{value * 100:+.1f}".replace("-", "−"))

    def instant(self, text: str) -> datetime:
        """A time as stored models write it."""
        return datetime.fromisoformat(text)

    def rule(self, rule_id: str) -> str:
        """Number and duty of a rule; the bare number when the present rule file no longer has it."""
        try:
            return f"{rule_id} {self.here.console.bundle.rules.rule(rule_id).action}"
        except KeyError:
            return rule_id

    def number(self, value: object) -> str:
        """A number with as many digits as are worth reading."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return str(value)
        if isinstance(value, int):
            return f"{value:,}"
        return f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:,.2f}".rstrip("0").rstrip(".")

    def fact(self, key: str, value: object) -> str:
        """One value of the detection's arithmetic."""
        if key in ("signal", "grave", "signal_share") and isinstance(value, int | float):
            return f"{value:.0%}"
        if isinstance(value, bool):
            return self.here.t("是") if value else self.here.t("否")
        if key == "track":
            return self.word("track", value)
        if isinstance(value, dict) and "word" in value:
            return str(value["word"])
        if isinstance(value, list | tuple):
            return "、".join(self.fact("", item) for item in value)
        if isinstance(value, dict):
            return "；".join(f"{inner}: {self.fact(inner, item)}" for inner, item in value.items())
        if key == "domain":
            return self.domain(str(value))
        return self.number(value)
