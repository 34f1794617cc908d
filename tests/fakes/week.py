"""Two weeks in an invented Jinan with traps: a late answer, a reopened case, a merge, a false alarm, a silent source.

Everything goes in through the functions that the product uses; nothing here is a real post, person or case.
The week of the report is 2026-W47 (16 to 22 November).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from config.bundle import Bundle, load_bundle
from incidents import clocks
from incidents.judgements import NewJudgement, add_post, open_watching, save_judgements
from incidents.lifecycle import handle, record
from incidents.posts import NewPost, save_posts
from incidents.session import Database, Session
from incidents.states import (
    Acknowledge,
    Assign,
    Close,
    Command,
    Confirm,
    Detect,
    Evaluate,
    FalseAlarm,
    Merge,
    Reopen,
    Respond,
    Return,
    SignFor,
)

ZONE = ZoneInfo("Asia/Shanghai")
WEEK = "2026-W47"
#: the Monday morning after the week
MONDAY = datetime(2026, 11, 23, 8, 7, tzinfo=ZONE)
SOURCES = ("forum", "board", "news", "quiet")
_SOURCE = """  - {{id: {id}, name: "{name}", kind: rss, url: "https://{id}.jinan-demo.test/feed/", enabled: true, tier: A,
     every_min: 30, legal_basis: 已公开信息, impact_note: 每30分钟1次请求, owner_unit: 市政府办公厅}}
"""
_NAMES = {"forum": "民生论坛", "board": "网民留言板", "news": "本地新闻评论", "quiet": "社区公告栏"}


def at(day: int, clock: str = "09:00") -> datetime:
    """A time in November 2026, as clocks in Jinan show it; the 61st is New Year's Eve."""
    hour, minute = (int(part) for part in clock.split(":"))
    return datetime(2026, 11, 1, hour, minute, tzinfo=ZONE) + timedelta(days=day - 1)


def bundle_in(folder: Path, *, keep_sources: bool = False, **reports: object) -> Bundle:
    """The packaged configuration with four invented sources and two recipients."""
    folder.mkdir(parents=True, exist_ok=True)
    if not keep_sources:
        (folder / "sources.yaml").write_text(
            "sources:\n" + "".join(_SOURCE.format(id=name, name=_NAMES[name]) for name in SOURCES),
            encoding="utf-8",
        )
    (folder / "quansheng.toml").write_text("", encoding="utf-8")
    return load_bundle(
        folder / "quansheng.toml",
        reports={"recipients": ("office@example.invalid", "leader@example.invalid"), **reports},
    )


@dataclass
class Case:
    """One invented incident: its posts by day, then what people did."""

    title: str
    domain: str
    district: str
    posts: dict[int, int]  # day of November -> posts
    detected: datetime
    track: str
    why: dict[str, object]
    level: str = "general"
    acts: list[tuple[datetime, Command]] = field(default_factory=list)
    paged: datetime | None = None
    rules: tuple[tuple[str, int], ...] = (("R03", 48),)  # rule and its hours
    id: int = 0


class Town:
    """Plays the cases into a database, everything in the order of time."""

    def __init__(self, db: Database, *, first: int = 0) -> None:
        self.db = db
        self._random = random.Random(47)
        self._agenda: list[tuple[datetime, int, Callable[[Session], None]]] = []
        self._posts = first  # number of the last post

    def later(self, when: datetime, act: Callable[[Session], None]) -> None:
        """Do something at a time."""
        self._agenda.append((when, len(self._agenda), act))

    def play(self) -> None:
        """Do everything, oldest first, in one transaction (a thousand would take seconds)."""
        with self.db.transaction() as session:
            for _, _, act in sorted(self._agenda, key=lambda entry: entry[:2]):
                act(session)
        self._agenda.clear()

    def case(self, case: Case) -> Case:
        """Put an incident on the agenda."""
        first = min(case.posts)
        begun = min(case.detected - timedelta(minutes=35), at(first, "10:00"))
        self.later(begun, lambda session: self._watch(session, case, begun))
        for day, count in case.posts.items():
            for index in range(count):
                # the first day's posts come one after the other, the later ones at any time
                when = begun + timedelta(minutes=3 * index) if day == first else self._moment(day)
                self.post(when, case.domain, (case.district,), "neg", case=case)
        self.later(case.detected, lambda session: self._detect(session, case))
        if case.paged is not None:
            paged = case.paged
            self.later(
                paged, lambda session: _done(record(session, case.id, "page_sent", {"step": 0}, now=paged))
            )
        for when, command in case.acts:
            self.later(when, partial(self._act, case=case, command=command, when=when))
        return case

    def post(
        self,
        when: datetime,
        domain: str,
        districts: tuple[str, ...],
        tone: str,
        *,
        case: Case | None = None,
        judged: bool = True,
        copy: bool = False,
        source: str = "",
    ) -> None:
        """Put a post on the agenda."""
        self._posts += 1
        number = self._posts
        source = source or self._random.choice(SOURCES[:3])

        when = when.astimezone(UTC)  # as posts come back from the database

        def act(session: Session) -> None:
            fetched = when + timedelta(minutes=10)
            new = NewPost(
                source_id=source,
                external_id=f"p{number}",
                url=f"https://{source}.example.invalid/p/{number}",
                title="",
                text=f"虚构帖文第{number}号",
                published_at=when,
                published_estimated=False,
                fetched_at=fetched,
                author_key=f"a{number}",
            )
            (post_id,) = save_posts(session, [new]).ids
            if judged:
                save_judgements(session, [_judgement(post_id, domain, tone, districts, copy)], fetched)
            if case is not None:
                add_post(
                    session, case.id, post_id, similarity=0.9, voice=True,
                    published_at=when, negative=tone == "neg", now=fetched,
                )  # fmt: skip

        self.later(when, act)

    def background(self, day: int, count: int) -> None:
        """Posts of one day that belong to no incident."""
        domains = ("schooling", "housing", "food_safety", "transport", "environment", "health", "none")
        districts = ("历下区", "市中区", "槐荫区", "天桥区", "历城区", "章丘区")
        for _ in range(count):
            domain = self._random.choices(domains, (9, 12, 7, 8, 5, 4, 6))[0]
            places: tuple[str, ...] = tuple(
                self._random.sample(districts, self._random.choice((0, 1, 1, 1, 2)))
            )
            tone = self._random.choices(("neg", "neu", "pos"), (35, 45, 20))[0]
            self.post(
                self._moment(day), domain, places, tone,
                judged=self._random.random() > 0.02, copy=self._random.random() < 0.05,
            )  # fmt: skip

    def _moment(self, day: int) -> datetime:
        return at(day, "00:02") + timedelta(minutes=self._random.randrange(1430))

    def _watch(self, session: Session, case: Case, when: datetime) -> None:
        case.id = open_watching(
            session,
            title=case.title,
            domain=case.domain,
            district=case.district,
            first_posted_at=when,
            sketch={},
        )

    def _detect(self, session: Session, case: Case) -> None:
        when = case.detected
        handle(
            session,
            case.id,
            Detect(case.track, case.why, case.level),
            actor="system",
            channel="system",
            now=when,
        )
        for rule, hours in case.rules:
            clocks.open_deadline(
                session, incident_id=case.id, rule_id=rule, round=1, stops_on="responded", started_at=when,
                due_at=when + timedelta(hours=hours), provisional=False, calendar_version="test", trace=["test"],
            )  # fmt: skip

    def _act(self, session: Session, case: Case, command: Command, when: datetime) -> None:
        if isinstance(command, Merge):
            command = Merge(parent_id=self.parents[case.title].id)
        handle(session, case.id, command, actor="wang", channel="console", now=when)
        if isinstance(command, Respond):
            clocks.close_deadlines(session, case.id, at=command.published_at or when, stops_on="responded")
        elif isinstance(command, Merge | FalseAlarm):
            clocks.close_deadlines(session, case.id, at=when, outcome="cancelled")

    #: title of a merged case -> the case it goes into
    parents: dict[str, Case] = {}  # noqa: RUF012 (filled by `two_weeks`, one town each)


def _done(result: object) -> None:
    assert result


def _judgement(post_id: int, domain: str, tone: str, districts: tuple[str, ...], copy: bool) -> NewJudgement:
    return NewJudgement(
        post_id=post_id, domain=domain, domain_score=0.9, tone=tone, tone_score=0.8, snownlp_score=0.2,
        signal=True, signal_score=0.9, risk=0, risk_score=0.1, model_version="test", districts=list(districts),
        near_copy_of=1 if copy else None,
    )  # fmt: skip


def _burst(
    window_h: int, posts: int, voices: int, expected: float, negative: int, sources: int
) -> dict[str, object]:
    """As the burst track writes its arithmetic."""
    return {
        "track": "burst", "window_h": window_h, "posts": posts, "voices": voices, "expected": expected,
        "negative": negative, "sources": sources, "p": 1e-6, "limit": 1e-4,
    }  # fmt: skip


def _fast(*words: str) -> dict[str, object]:
    """As the fast track writes its words."""
    return {"track": "fast", "words": [{"word": word, "category": "harm", "clause": word} for word in words]}


def _answer(when: datetime) -> Respond:
    return Respond(url="https://gov.example.invalid/answer", summary="通报", published_at=when)


def two_weeks(db: Database) -> dict[str, Case]:
    """Weeks 46 and 47 of 2026; returns the cases by a short name."""
    town = Town(db)
    for day, count in zip(
        range(9, 23), (44, 51, 47, 40, 52, 38, 30, 49, 46, 55, 61, 58, 42, 37), strict=True
    ):
        town.background(day, count)
    cases = {
        "closed": Case(
            "槐荫区某小区供热管道漏水停暖", "housing", "槐荫区", {9: 9, 10: 12, 17: 2}, at(9, "10:30"), "burst",
            _burst(6, 9, 9, 0.8, 8, 2),
            paged=at(9, "10:31"),
            acts=[
                (at(9, "10:40"), Acknowledge(1)), (at(9, "11:05"), Confirm()),
                (at(9, "11:20"), Assign("housing-construction")), (at(9, "14:00"), SignFor()),
                (at(10, "16:00"), _answer(at(10, "15:30"))), (at(16, "10:00"), Evaluate(86)),
                (at(17, "09:30"), Close("供热恢复，回访满意")),
            ],
        ),
        "growing": Case(
            "历下区某外卖平台多家门店用过期食材", "food_safety", "历下区", {13: 6, 14: 5, 16: 11, 17: 19, 18: 8, 19: 4},
            at(13, "15:10"), "burst",
            _burst(3, 6, 6, 0.5, 6, 3),
            level="serious", paged=at(13, "15:11"),
            acts=[
                (at(13, "15:32"), Acknowledge(1)), (at(13, "16:10"), Confirm()),
                (at(13, "17:00"), Assign("market-regulation")), (at(16, "09:10"), SignFor()),
                (at(17, "18:30"), _answer(at(17, "18:00"))),
            ],
        ),
        "waiting": Case(
            "天桥区某老旧小区加装电梯停工纠纷", "housing", "天桥区", {11: 7, 12: 3}, at(11, "20:00"), "burst",
            _burst(12, 7, 6, 0.9, 7, 1),
            paged=at(11, "20:02"),
            acts=[
                (at(11, "20:30"), Acknowledge(1)), (at(12, "08:50"), Confirm()),
                (at(12, "09:30"), Assign("housing-construction")), (at(16, "11:00"), Return("不属于本单位职责")),
                (at(16, "15:00"), Assign("tianqiao", reason="属地办理")),
            ],
        ),
        "reopened": Case(
            "章丘区某中学食堂换供应商后学生腹泻", "schooling", "章丘区", {9: 5, 18: 6}, at(9, "12:20"), "fast",
            _fast("腹泻", "呕吐"),
            level="serious", paged=at(9, "12:20"),
            acts=[
                (at(9, "12:24"), Acknowledge(1)), (at(9, "12:40"), Confirm()), (at(9, "12:50"), Assign("education")),
                (at(10, "09:00"), _answer(at(10, "08:30"))), (at(11, "10:00"), Evaluate(90)),
                (at(12, "10:00"), Close()), (at(18, "13:00"), Reopen("学生再次出现不适")),
                (at(18, "13:30"), Assign("education")), (at(19, "09:40"), _answer(at(19, "09:30"))),
            ],
        ),
        "fast": Case(
            "历城区某小学午餐后多名学生呕吐就医", "food_safety", "历城区", {18: 14, 19: 21, 20: 5}, at(18, "07:42"), "fast",
            _fast("呕吐", "就医"),
            level="major", paged=at(18, "07:43"), rules=(("R01", 5), ("R02", 24)),
            acts=[
                (at(18, "07:46"), Acknowledge(1)), (at(18, "07:58"), Confirm()),
                (at(18, "08:05"), Assign("market-regulation")), (at(18, "08:20"), SignFor()),
                (at(18, "11:30"), _answer(at(18, "11:20"))), (at(20, "15:00"), Evaluate(92)),
            ],
        ),
        "fresh": Case(
            "市中区某楼盘延期交房业主集中反映", "housing", "市中区", {20: 8, 21: 16, 22: 9}, at(21, "11:15"), "burst",
            _burst(2, 12, 11, 1.1, 11, 3),
            paged=at(21, "11:16"),
            acts=[(at(21, "11:28"), Acknowledge(1)), (at(21, "13:00"), Confirm()),
                  (at(21, "14:10"), Assign("housing-construction"))],
        ),
        "merged": Case(
            "市中区业主维权要求开发商退房", "housing", "市中区", {21: 4, 22: 2}, at(21, "16:00"), "burst",
            _burst(4, 4, 4, 0.7, 4, 2),
            paged=at(21, "16:01"), acts=[(at(21, "16:20"), Acknowledge(1)), (at(21, "16:40"), Merge(0))],
        ),
        "false": Case(
            "济南路某幼儿园疑似中毒（外省）", "schooling", "历下区", {19: 3}, at(19, "21:05"), "fast",
            _fast("中毒"),
            paged=at(19, "21:06"),
            acts=[(at(19, "21:25"), Acknowledge(1)), (at(19, "21:40"), FalseAlarm("wrong_place", "外省同名道路"))],
        ),
        "manual": Case(
            "平阴县养老院夜间无人值守", "elderly", "平阴县", {20: 2}, at(20, "10:00"), "manual", {},
            paged=at(20, "10:00"),
            acts=[(at(20, "10:05"), Acknowledge(1)), (at(20, "10:06"), Confirm()),
                  (at(20, "10:30"), Assign("civil-affairs")), (at(20, "14:00"), Return("由县政府办理")),
                  (at(20, "15:00"), Assign("pingyin"))],
        ),
    }  # fmt: skip
    town.parents = {cases["merged"].title: cases["fresh"]}
    for case in cases.values():
        town.case(case)
    town.play()
    return cases


def utc(when: datetime) -> str:
    """As SQLite stores it: what an independent recount compares with."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
