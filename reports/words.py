"""Sentences of a report, Chinese and English, made from the model alone.

Every sentence about incidents cites their numbers; a rate below the minimum sample becomes "not enough data"; a
figure that the model does not hold has no sentence. msgids are the Chinese texts (reports/locale).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from config.domains import domain_label
from reports import kinds
from reports.model import (
    CountRow,
    DayRow,
    DepartmentRow,
    IncidentLine,
    LinkRow,
    MissedLine,
    ReportModel,
    RuleRow,
    TopicDomain,
    TopicLine,
)
from reports.reasons import detection_reason
from reports.self_words import blind_sentences, charge_sentences, model_sentences
from reports.special_words import special_summary, special_volume

#: numbers cited in one sentence before "and n more"; the tables below the sentence name all
CITED = 6
#: topics of a domain that the report lists, and topics named as gone
TOPICS, GONE = 5, 3


class Words:
    """Texts of one report in one language. `limit`: entries of a long list that are shown; None shows all."""

    def __init__(self, model: ReportModel, language: str, limit: int | None = None) -> None:
        self.model = model
        self.limit = limit
        self.language = language
        self.chinese = not language.startswith("en")
        self._ = kinds.translator_for(model.kind, language)
        self.zone = ZoneInfo(model.timezone)

    # --- small parts

    def number(self, value: int) -> str:
        """1,234."""
        return f"{value:,}"

    def share(self, part: int, whole: int) -> str:
        """A percentage, or "not enough data" below the minimum sample."""
        if whole < self.model.min_sample:
            return self._("数据不足")
        return f"{100 * part / whole:.1f}%"

    def change(self, now: int, before: int) -> str:
        """Against the week before: per cent when both weeks are large enough, else the plain difference."""
        if now == before:
            return self._("持平")
        if before < self.model.min_sample:
            return f"{now - before:+,}"
        return f"{100 * (now - before) / before:+.1f}%"

    def duration(self, seconds: int | None) -> str:
        """The two largest units of a duration; a dash when there is none."""
        if seconds is None:
            return "—"
        minutes = round(seconds / 60)
        days, rest = divmod(minutes, 1440)
        hours, minutes = divmod(rest, 60)
        if days:
            parts = [(days, self._("天")), (hours, self._("小时"))]
        elif hours:
            parts = [(hours, self._("小时")), (minutes, self._("分钟"))]
        else:
            return f"{minutes}{self.gap}{self._('分钟')}"
        return self.gap.join(f"{value}{self.gap}{unit}" for value, unit in parts if value)

    @property
    def gap(self) -> str:
        """What stands between words."""
        return "" if self.chinese else " "

    def instant(self, at: datetime | None) -> str:
        """Local time without the year; a dash when there is none."""
        if at is None:
            return "—"
        local = at.astimezone(self.zone)
        return f"{local.month}月{local.day}日 {local:%H:%M}" if self.chinese else f"{local:%d %b %H:%M}"

    def day(self, at: datetime) -> str:
        """Local date with the year."""
        local = at.astimezone(self.zone)
        return f"{local.year}年{local.month}月{local.day}日" if self.chinese else f"{local:%d %B %Y}"

    def join(self, parts: Sequence[str]) -> str:
        """A list of names or numbers."""
        return ("、" if self.chinese else ", ").join(parts)

    def cite(self, numbers: Sequence[str], cap: int = CITED) -> str:
        """Incident numbers in brackets; empty when there are none."""
        if not numbers:
            return ""
        inside = self.join(numbers[:cap])
        if len(numbers) > cap:
            inside = self._("{list} 等{n}件").format(list=inside, n=len(numbers))
        return f"（{inside}）" if self.chinese else f" ({inside})"

    # --- names

    def domain(self, domain: str) -> str:
        """Name of a domain; posts outside all domains are called so."""
        return self._("领域外") if domain in ("none", "") else domain_label(domain, self.language)

    def trend(self, line: TopicLine) -> str:
        """How a topic moved since the week before."""
        names = {
            "first": self._("首周"),
            "new": self._("新话题"),
            "growing": self._("升温"),
            "steady": self._("平稳"),
            "fading": self._("降温"),
        }
        return names[line.trend]

    def topic_sum(self, domain: TopicDomain, shown: int) -> str:
        """Posts of a domain, those in topics, and what is not shown."""
        held = sum(line.posts for line in domain.topics)
        if not held:
            return self._("本周{n}条，各说各事，没有成形的话题。").format(n=self.number(domain.posts))
        text = self._("本周{n}条，其中{held}条归入{topics}个话题，其余不成话题。").format(
            n=self.number(domain.posts), held=self.number(held), topics=len(domain.topics)
        )
        if len(domain.topics) > shown:
            text += self._("仅列前{n}个。").format(n=shown)
        return text.strip()

    def topic_few(self) -> str:
        """Domains with too few posts for topics, in one sentence; empty when there are none."""
        few = [row for row in self.model.topics if row.few]
        if not few:
            return ""
        named = [f"{self.domain(row.id)}{self.gap}{self.number(row.posts)}" for row in few]
        return self._("帖文太少，不足以归纳话题：{list}。").format(list=self.join(named))

    def gone(self, domain: TopicDomain) -> str:
        """Topics of the week before that are no longer there; empty when there are none."""
        if not domain.gone:
            return ""
        return self._("上周有、本周未再出现：{list}。").format(
            list=("；" if self.chinese else "; ").join(domain.gone[:GONE])
        )

    def state(self, state: str) -> str:
        """Name of a state."""
        names = {
            "detected": self._("待研判"),
            "confirmed": self._("属实待交办"),
            "assigned": self._("已交办待签收"),
            "acknowledged": self._("已签收办理中"),
            "responded": self._("已回应待评估"),
            "evaluated": self._("已评估待办结"),
            "closed": self._("已办结"),
        }
        return names.get(state, state)

    def level(self, level: str) -> str:
        """Name of a grade."""
        names = {
            "general": self._("一般"),
            "serious": self._("较大"),
            "major": self._("重大"),
            "critical": self._("特别重大"),
        }
        return names.get(level, level)

    def reason(self, reason: str) -> str:
        """Name of a false alarm's typed reason."""
        names = {
            "wrong_place": self._("不在本市"),
            "not_now": self._("不是现在的事"),
            "fiction_or_history": self._("文艺作品或旧事"),
            "advertisement": self._("广告"),
            "duplicate_topic": self._("与其他事件重复"),
            "no_issue": self._("不构成舆情"),
            "other": self._("其他"),
        }
        return names.get(reason, reason)

    def track(self, track: str) -> str:
        """Name of the track that raised an incident."""
        names = {"fast": self._("快速通道"), "burst": self._("突增通道"), "manual": self._("人工上报")}
        return names.get(track, track)

    def link(self, link: str) -> tuple[str, str]:
        """Name of a link of the chain and who answers for it."""
        names = {
            "posted_detected": (self._("发帖 → 发现"), self._("信源与系统")),
            "detected_alerted": (self._("发现 → 预警送达"), self._("系统")),
            "alerted_acknowledged": (self._("预警送达 → 值班确认"), self._("值班员")),
            "acknowledged_assigned": (self._("值班确认 → 交办"), self._("值班员")),
            "assigned_responded": (self._("交办 → 首次回应"), self._("承办部门")),
            "posted_responded": (self._("全程：发帖 → 首次回应"), self._("全链条")),
        }
        return names[link]

    # --- headings

    def title(self) -> str:
        """Title of the report."""
        if self.model.kind == "special":
            return self._("{city}政务舆情专报").format(city=self.model.city)
        return self._("{city}政务舆情周报").format(city=self.model.city)

    def period(self) -> str:
        """Which period this is."""
        return kinds.span(self.model, self.language)

    def issue(self) -> str:
        """Number of the issue."""
        return kinds.issue(self.model, self.language)

    def headline(self) -> str:
        """Title below the mast."""
        return kinds.headline(self.model, self.language)

    def dates(self) -> str:
        """First and last day, with the year."""
        # a special report ends at an instant, every other one at a midnight
        last = self.model.until - timedelta(hours=0 if self.model.kind == "special" else 12)
        if last.date() == self.model.since.date():
            return f"（{self.day(self.model.since)}）" if self.chinese else self.day(self.model.since)
        if self.chinese:
            return f"（{self.day(self.model.since)}至{self.day(last)}）"
        return f"{self.day(self.model.since)} to {self.day(last)}"

    def charges(self) -> list[str]:
        """Whose time the missed clocks were."""
        return charge_sentences(self)

    def departments_note(self) -> str:
        """How to read the table of departments."""
        return self._(
            "按件数排列，不是排名；回应下为用时中位数，时限下为按时率；到期时限少于{n}项的部门不计算按时率。超时记在到期时承办的部门名下。"
        ).format(n=self.model.min_sample)

    # --- sentences

    def summary(self) -> list[str]:
        """The three or four lines that a leader reads; an empty week says that it is empty."""
        if self.model.kind == "special":
            return special_summary(self)
        if self.model.empty:
            return [
                self._("本周没有采集到帖文，也没有发现、在办或办结的事件，没有到期的时限。"),
                self.coverage(),
            ]
        lines = [self.volume_sentence(), self.incident_sentence(), self.clock_sentence()]
        answered = self.answer_sentence()
        return [*lines, answered] if answered else lines

    def volume_sentence(self) -> str:
        """How many posts, against the week before, and their tone."""
        v = self.model.volume
        if self.model.kind == "special":
            return special_volume(self)
        return self._(
            "采集公开帖文{posts}条，上周{before}条，{change}；负面占{share}（已研判{judged}条），上周{share_before}。"
        ).format(
            posts=self.number(v.posts),
            before=self.number(v.before),
            change=self.change(v.posts, v.before),
            share=self.share(v.negative, v.judged),
            judged=self.number(v.judged),
            share_before=self.share(v.negative_before, v.judged_before),
        )

    def incident_sentence(self) -> str:
        """Detected, growing, closed, open: each with its incident numbers."""
        m = self.model
        parts = [
            self._("新发现事件{n}件{cite}").format(n=len(m.new), cite=self._lines(m.new)),
            self._("持续升温{n}件{cite}").format(n=len(m.growing), cite=self._lines(m.growing)),
            self._("办结{n}件{cite}").format(n=len(m.closed), cite=self._lines(m.closed)),
        ]
        if m.reopened:
            parts.append(self._("重开{n}件{cite}").format(n=len(m.reopened), cite=self.cite(m.reopened)))
        return self._("{parts}；期末在办{n}件。").format(
            parts=("，" if self.chinese else ", ").join(parts), n=len(m.open_incidents)
        )

    def clock_sentence(self) -> str:
        """Clocks kept and missed, with the incidents that missed them."""
        m = self.model
        overdue = sorted({line.number for line in m.missed if line.answered_at is None})
        if not m.rules and not m.missed:
            return self._("本周没有运行中的法定时限。")
        text = self._("法定时限按时办结{kept}项，本周超时{missed}项{cite}").format(
            kept=m.kept,
            missed=m.ran_out,
            cite=self.cite(sorted({line.number for line in m.missed if not line.earlier}))
            if m.ran_out or m.kind != "special"
            else self.cite([m.period]),
        )
        if overdue:
            text += self._("；期末仍超时未回应{n}件{cite}").format(n=len(overdue), cite=self.cite(overdue))
        return text + ("。" if self.chinese else ".")

    def answer_sentence(self) -> str:
        """How fast departments answered; empty when nothing was answered in the week."""
        link = next(link for link in self.model.links if link.id == "assigned_responded")
        if not link.n:
            return ""
        return self._("部门首次回应{n}次，用时中位数{median}，最慢{worst}{cite}。").format(
            n=link.n,
            median=self.duration(link.median),
            worst=self.duration(link.worst),
            cite=self.cite([link.worst_number]),
        )

    def _lines(self, lines: Sequence[IncidentLine]) -> str:
        return self.cite([line.number for line in lines])

    def matter(self, line: IncidentLine) -> str:
        """One sentence why this incident is in the report, with its numbers."""
        posts = (
            self._("累计帖文{posts}条")
            if self.model.kind == "special"
            else self._("本周帖文{posts}条，上周{before}条")
        )
        parts = [
            posts.format(posts=self.number(line.posts), before=self.number(line.posts_before)),
            self._("{at}由人工上报").format(at=self.instant(line.detected_at))
            if line.track == "manual"
            else self._("{at}由{track}发现").format(
                at=self.instant(line.detected_at), track=self.track(line.track)
            ),
        ]
        because = detection_reason(line.why, self.language)
        if because:
            parts[-1] += self._("（{because}）").format(because=because)
        if line.responded_at is not None:
            parts.append(self._("{at}首次回应").format(at=self.instant(line.responded_at)))
        if line.closed_at is not None:
            parts.append(self._("{at}办结").format(at=self.instant(line.closed_at)))
        if line.score is not None:
            parts.append(self._("评估{score}分").format(score=f"{line.score:g}"))
        if line.round > 1:
            parts.append(self._("第{n}轮办理").format(n=line.round))
        if line.department:
            parts.append(
                self._("承办：{department}").format(department=self.model.department(line.department))
            )
        return ("；" if self.chinese else "; ").join(parts) + ("。" if self.chinese else ".")

    def tags(self, line: IncidentLine) -> str:
        """Domain, district, grade, state."""
        parts = [self.domain(line.domain), line.district, self.level(line.level), self.state(line.state)]
        return " · ".join(part for part in parts if part)

    def rest(self, whole: int) -> str:
        """How many entries of a list were left out; empty when it is whole."""
        if self.limit is None or whole <= self.limit:
            return ""
        return self._("另有{n}项未列出，完整清单见控制台。").format(n=whole - self.limit)

    def link_sentence(self, link: LinkRow) -> str:
        """One link as a sentence, for the plain text."""
        name, who = self.link(link.id)
        text = self._("{name}（{who}）：完成{n}次，中位数{median}，最慢{worst}{cite}").format(
            name=name,
            who=who,
            n=link.n,
            median=self.duration(link.median),
            worst=self.duration(link.worst),
            cite=self.cite([link.worst_number] if link.worst_number else []),
        )
        if link.waiting:
            text += self._("；仍在等待{n}件{cite}，最久{wait}").format(
                n=len(link.waiting), cite=self.cite(link.waiting), wait=self.duration(link.longest_wait)
            )
        return text + ("。" if self.chinese else ".")

    def link_details(self, link: LinkRow) -> str:
        """Who answers for a link, which incident was slowest and which ones still wait, for the table."""
        found = [self.link(link.id)[1]]
        if link.worst_number:
            found.append(self._("最慢{number}").format(number=link.worst_number))
        if link.waiting:
            found.append(
                self._("等待{n}件{cite}，最久{wait}").format(
                    n=len(link.waiting),
                    cite=self.cite(link.waiting, cap=3),
                    wait=self.duration(link.longest_wait),
                )
            )
        return ("；" if self.chinese else "; ").join(found)

    def clause(self, row: RuleRow) -> str:
        """Document and words of a rule, and the incidents whose clocks it ran."""
        text = row.source or self._("本市配置，非法定")
        if row.quote:
            text += f"：“{row.quote}”" if self.chinese else f': "{row.quote}"'
        if row.kept_numbers:
            text += self._("；按时{cite}").format(cite=self.cite(row.kept_numbers))
        if row.missed_numbers:
            text += self._("；超时{cite}").format(cite=self.cite(row.missed_numbers))
        return text

    def on_time(self, row: RuleRow | DepartmentRow) -> str:
        """Share of clocks kept of those that ended, or "not enough data"."""
        return self.share(row.kept, row.kept + row.missed)

    def missed_sentence(self, line: MissedLine) -> str:
        """One clock that ran out."""
        who = self.model.department(line.department) if line.department else self._("未交办（值班环节）")
        text = self._("{number}：{rule}“{action}”应于{due}前完成，{who}，").format(
            number=line.number, rule=line.rule, action=line.action, due=self.instant(line.due_at), who=who
        )
        if line.answered_at is None:
            text += self._("至期末已超时{late}，尚未回应").format(late=self.duration(line.late))
        else:
            text += self._("超时{late}后于{at}回应").format(
                late=self.duration(line.late), at=self.instant(line.answered_at)
            )
        if line.earlier:
            text += self._("（上周及以前到期）")
        if line.provisional:
            text += self._("（日历暂定）")
        return text + ("。" if self.chinese else ".")

    def coverage(self) -> str:
        """How many sources gave posts, and which did not. No data is not no problem."""
        on = [row for row in self.model.sources if row.enabled]
        silent = [row.name for row in on if not row.posts]
        if not self.model.sources:
            return self._("没有配置信源：本报告看不到任何公开帖文。")
        text = self._("启用信源{n}个，本周有新帖{given}个").format(n=len(on), given=len(on) - len(silent))
        if silent:
            text += self._("；无新帖{n}个（{names}）——没有数据不等于没有舆情").format(
                n=len(silent), names=self.join(silent)
            )
        return text + ("。" if self.chinese else ".")

    def own_errors(self) -> list[str]:
        """Our own mistakes: false alarms with their reason, misses, merges."""
        m = self.model
        lines = [
            self._("本周预警{n}件；研判属实{real}件，判为误报{wrong}件{cite}，误报率{rate}。").format(
                n=m.detected,
                real=m.confirmed,
                wrong=len(m.false_alarms),
                cite=self.cite([line.number for line in m.false_alarms]),
                rate=self.share(len(m.false_alarms), m.confirmed + len(m.false_alarms)),
            )
        ]
        lines += [
            self._("{number}《{title}》：{track}，误报原因：{reason}{note}。").format(
                number=line.number,
                title=line.title,
                track=self.track(line.track),
                reason=self.reason(line.reason),
                note=(("，" if self.chinese else ", ") + line.note) if line.note else "",
            )
            for line in m.false_alarms[: self.limit]
        ]
        left_out = self.rest(len(m.false_alarms))
        if left_out:
            lines.append(left_out)
        if m.manual:
            lines.append(self._("系统漏报、由人工上报{n}件。").format(n=m.manual))
        if m.merged:
            pairs = self.cite([f"{line.number}→{line.parent}" for line in m.merged])
            lines.append(self._("并入其他事件{n}件{pairs}。").format(n=len(m.merged), pairs=pairs))
        return [*lines, *self.hot(), *blind_sentences(self), *model_sentences(self)]

    def hot(self) -> list[str]:
        """What the hot lists knew and we did not; nothing when no hot list is read."""
        h = self.model.hot
        if h is None:
            return []
        if not h.n:
            return [self._("本周热榜上没有本市重点领域的话题。")]
        told = self._(
            "热榜上本市重点领域的话题{n}个，其中{before}个在上榜前已预警（{share}，95%区间{low}–{high}）；上榜后才预警{after}个，有帖未预警{unraised}个，确认漏报{missed}个，未匹配且未核对{open}个（按未发现计）。"
        ).format(
            n=h.n,
            before=h.before,
            share=f"{h.before / h.n:.0%}",
            low=f"{h.low:.0%}",
            high=f"{h.high:.0%}",
            after=h.after,
            unraised=h.unraised,
            missed=h.missed,
            open=h.open,
        )
        names = {
            "after": self._("上榜后预警"),
            "unraised": self._("有帖未预警"),
            "missed": self._("漏报"),
            "open": self._("未核对"),
        }
        lines = [
            self._("热榜《{title}》：{outcome}{cite}。").format(
                title=miss.title,
                outcome=names[miss.outcome],
                cite=self.cite([miss.number]) if miss.number else "",
            )
            for miss in h.misses[: self.limit]
        ]
        return [told, *lines, *filter(None, [self.rest(len(h.misses))])]

    def audit(self) -> str:
        """The end of the event chain."""
        if not self.model.audit.seq:
            return self._("事件记录为空。")
        return self._("期末事件记录第{seq}号，校验值{hash}。").format(
            seq=self.model.audit.seq, hash=self.model.audit.hash
        )

    def heads(self) -> list[str]:
        """The end of the event chain on each day, as `audit verify --head` takes it."""
        lines = [f"{head.day.isoformat()} {head.seq}:{head.hash}" for head in self.model.heads]
        return (
            [self._("每日末号及校验值（可用 quansheng audit verify --head 核对）："), *lines] if lines else []
        )

    # --- charts as words

    def slot(self, row: DayRow) -> str:
        """A day, an hour or a month."""
        if row.hour is not None:
            return f"{row.hour:02d}:00"
        return f"{row.day:%Y-%m}" if self.model.kind == "yearly" else f"{row.day.month}-{row.day.day}"

    def days_alt(self) -> str:
        """What the chart of days shows."""
        days = self.model.days
        top = max(days, key=lambda row: row.posts)
        return self._("每日帖文：{days}；最多为{top}。").format(
            days=self.join([f"{self.slot(row)} {row.posts}" for row in days]),
            top=self.slot(top),
        )

    def domains_alt(self, rows: Sequence[CountRow]) -> str:
        """What the chart of domains shows."""
        return self._("各领域帖文（本周/上周）：{rows}。").format(
            rows=self.join([f"{self.domain(row.id)} {row.posts}/{row.before}" for row in rows])
        )
