"""The job: unjudged posts -> judgements -> incidents -> detections. One transaction a batch.

A crash between two batches loses nothing; a crash inside one is rolled back as a whole and the batch is
judged again with the same result. The index of live incidents is kept in memory between runs and rebuilt
from the sketches whenever the database moved without it (first run, crash, another worker).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from analysis import hot_titles_job
from analysis.alarms import Ledger, Limit
from analysis.cluster import Clusterer, ClusterItem, Match, Sketch, read_item
from analysis.cluster_proposals import merge_candidates, split_candidate
from analysis.copies import CopyFinder
from analysis.counts import BASELINE_DAYS, Profile
from analysis.emerge import (
    BASELINE,
    FOLLOWED_VOICES,
    PAST,
    PROFILE,
    RECENT,
    WARM_VOICES,
    Background,
    Decision,
    Growth,
    Hour,
    Policy,
    burst,
    fast_track,
    surge_of,
)
from analysis.heat import (
    explain,
    grade,
    heat,
    level_of,
    live_categories,
    media_share,
    overrides,
    read_harm,
    robust_growth,
)
from analysis.judge import Judge, JudgeInput, JudgeOutput
from analysis.model_store import folder_of, token
from analysis.places import Place
from analysis.words import cut
from config.bundle import Bundle
from config.settings import AnalysisSettings
from incidents import judged, judgements, lifecycle, posts, proposals
from incidents.beats import beat, get_beat
from incidents.session import Database, Session, others_wait
from incidents.states import OPEN_STATES, Detect, Refused

log = logging.getLogger(__name__)

BEAT = "analysis"
#: a cluster without a post for so long takes no more posts
LIVE = timedelta(days=180)
#: a burst that ended longer ago is history, not news (a late import, a restored source)
STALE = timedelta(days=14)
#: a post that somebody had fetched from the past is news for so long
FRESH = timedelta(hours=24)
#: where the scores of the last half year are kept
LEDGER = "emergence"
#: posts of an incident that grading reads, and recent posts whose likes and comments it compares them with
GRADED_POSTS, COMPARED_POSTS = 200, 500
COPIES_KEPT = 5000
TITLE_CHARS = 60
#: after so many posts a batch looks whether somebody else wants to write: a person's click waits for this much work
SLICE = 20
#: an incident is looked at again for a merge or a split after so many more posts; a batch looks at so many at most,
#: and for a split at the last posts only (they are compared pair by pair while the writer's lock is held)
PROPOSE_EVERY, PROPOSE_AT_MOST, SPLIT_MEMBERS, SPLIT_FROM = 10, 10, 60, 4


@dataclass
class AnalysisSummary:
    """What one run did."""

    posts: int = 0
    opened: int = 0
    joined: int = 0
    outside: int = 0
    batches: int = 0
    hot_titles: int = 0
    detected: list[int] = field(default_factory=list)


@dataclass
class _State:
    """What a process keeps between batches; `token` is the database's batch counter it belongs to,
    `reshaped` how often people had changed which posts make an incident."""

    clusterer: Clusterer
    token: int
    reshaped: int


_states: WeakKeyDictionary[Database, _State] = WeakKeyDictionary()
#: how many posts the next batch takes, as the last ones went
_sizes: WeakKeyDictionary[Database, int] = WeakKeyDictionary()
_judges: dict[int, tuple[Any, Any, Judge]] = {}


def judge_for(bundle: Bundle) -> Judge:
    """The process's judge for the places of this configuration; loaded anew when another model came into force."""
    models, fast = folder_of(bundle.settings.data_path), bundle.settings.analysis.fast
    held, made_of = _judges.get(id(bundle.places)), (models, token(models), tuple(sorted(fast.items())))
    if held is None or held[0] is not bundle.places or held[1] != made_of:
        _judges.clear()
        loaded = Judge.load(bundle.places, models, fast)
        held = _judges[id(bundle.places)] = (bundle.places, made_of, loaded)
    return held[2]


def run(db: Database, bundle: Bundle, now: datetime, *, max_batches: int | None = None) -> AnalysisSummary:
    """Judge everything that waits; `max_batches` bounds one call."""
    summary = AnalysisSummary()
    outputs: _Outputs = {}
    while max_batches is None or summary.batches < max_batches:
        size = min(_sizes.get(db, bundle.settings.analysis.batch), bundle.settings.analysis.batch)
        judge = judge_for(bundle)  # a model that was installed meanwhile judges from here on
        with db.reading() as session:
            waiting = posts.unjudged(session, size)
        if not waiting:
            break
        _compile()
        # judged outside the transaction: the writer's lock is held for clustering only
        outputs = _judged(judge, waiting, outputs)
        committed = False
        try:
            with db.transaction() as session:
                state = _state_of(db, session, now)
                begun = monotonic()  # the index is rebuilt once, whatever the size
                still = {row.id for row in posts.unjudged(session, size)}
                batch = _Batch(session, bundle, judge, state.clusterer, now, summary)
                batch.take([(row, outputs[row.id][2]) for row in waiting if row.id in still])
                beat(session, BEAT, now, {"batch": state.token + 1})
            committed = True
            _sizes[db] = _next_size(size, monotonic() - begun, bundle.settings.analysis)
        finally:
            if not committed:
                _states.pop(db, None)  # the index has seen posts that the database has not
        state.token += 1
        summary.batches += 1
    if max_batches is None or summary.batches < max_batches:  # posts first: titles are held against them
        summary.hot_titles = hot_titles_job.run(
            db, lambda: judge_for(bundle), lambda session: _state_of(db, session, now).clusterer, now
        )
    return summary


#: post -> by which judge, how it read, and the judgement
_Outputs = dict[int, tuple[Judge, posts.PostRow, JudgeOutput]]


def _judged(judge: Judge, waiting: Sequence[posts.PostRow], before: _Outputs) -> _Outputs:
    """A judgement for each; those that the last batch had no turn for are kept when nothing changed meanwhile."""
    kept = {
        row.id: held
        for row in waiting
        if (held := before.get(row.id)) is not None and held[0] is judge and held[1] == row
    }
    new = [row for row in waiting if row.id not in kept]
    made = {output.id: output for output in judge.judge_batch([_input(row) for row in new])} if new else {}
    return kept | {row.id: (judge, row, made[row.id]) for row in new}


def _next_size(size: int, took_s: float, settings: AnalysisSettings) -> int:
    """Posts of the next batch: fewer when the last one held the writer's lock for long, so that others get their turn.

    A storm of near copies on a busy machine can cost a hundred times what an ordinary post costs.
    """
    most, limit_s = settings.batch, settings.hold_s
    if not limit_s:
        return most
    if took_s > limit_s:
        return max(1, size // 2)
    return min(most, size * 2) if took_s < limit_s / 4 else size


@lru_cache(maxsize=1)
def _compile() -> None:
    """Have the machine code of clustering ready before a transaction holds the writer's lock.

    A fresh installation compiles for 16 s of CPU; inside the first batch every other writer would give up meanwhile.
    """
    clusterer = Clusterer()
    for ident in ("1", "2"):
        place = Place("estate", "泉景小区", "泉景小区")
        words = "泉景小区停水三天，物业不管，居民多次反映无人处理。"
        clusterer.assign(
            ClusterItem(ident, "泉景小区停水三天", words, datetime(2026, 1, 1, tzinfo=UTC), (place,), ident)
        )


def _input(row: posts.PostRow) -> JudgeInput:
    return JudgeInput(
        id=row.id,
        title=row.title,
        text=row.text,
        published_at=row.published_at,
        place=row.place_hint,
        source=row.source_id,
        author=row.author_key,
    )


def _state_of(db: Database, session: Session, now: datetime) -> _State:
    last = get_beat(session, BEAT)
    token = int(last.value.get("batch", 0)) if last is not None else 0
    state = _states.get(db)
    reshaped = judgements.reshapings(session)
    known = None if state is None or state.token != token else reshaped.since(state.reshaped)
    if state is None or known is None:
        state = _states[db] = _State(rebuild(session, now), token, reshaped.count)
    else:
        for incident in judgements.live_incidents(session, now - LIVE, known) if known else ():
            state.clusterer.forget(incident.id)
            _sketch_anew(session, state.clusterer, incident)
        state.reshaped = reshaped.count
    state.clusterer.forget_before((now - LIVE).timestamp() / 86400.0)
    return state


def rebuild(session: Session, now: datetime) -> Clusterer:
    """The index from the sketches of the live incidents, and the memory of near-copies from the last posts."""
    copies = CopyFinder(COPIES_KEPT)
    for text in judged.recent_texts(session, COPIES_KEPT):
        copies.find(str(text.id), text.title, text.text)
    clusterer = Clusterer(copies=copies)
    for incident in judgements.live_incidents(session, now - LIVE):
        if not incident.sketch:
            continue  # opened by hand: nothing to compare with
        if incident.sketch.get(judgements.STALE_SKETCH):
            _sketch_anew(session, clusterer, incident)
            continue
        try:
            clusterer.restore(incident.id, Sketch.from_json(incident.sketch))
        except (KeyError, TypeError, ValueError) as error:
            log.error("incident %s: sketch cannot be read (%r); it takes no more posts", incident.id, error)
    return clusterer


def _sketch_anew(session: Session, clusterer: Clusterer, incident: judgements.LiveIncident) -> None:
    """People moved posts in or out: the incident is what its posts say now."""
    for number, member in enumerate(judgements.members(session, incident.id)):
        reading = read_item(_member_item(member))
        if number == 0:
            clusterer.open(reading, incident.id)
        else:
            clusterer.add(incident.id, reading)
    sketch = clusterer.sketches.get(incident.id)
    if sketch is not None:
        judgements.update_sketch(
            session, incident.id, sketch.to_json(), incident.title, incident.domain, incident.district
        )


def _member_item(member: judgements.Member) -> ClusterItem:
    return ClusterItem(
        id=str(member.id),
        title=member.title,
        text=member.text,
        published_at=member.published_at,
        places=tuple(Place(p["kind"], p["name"], p["norm"]) for p in member.places),
        author=member.author_key,
        districts=tuple(member.districts),
    )


class _Batch:
    """One batch inside its transaction."""

    def __init__(
        self,
        session: Session,
        bundle: Bundle,
        judge: Judge,
        clusterer: Clusterer,
        now: datetime,
        summary: AnalysisSummary,
    ) -> None:
        self.session, self.judge, self.clusterer, self.now, self.summary = (
            session,
            judge,
            clusterer,
            now,
            summary,
        )
        settings = bundle.settings.analysis
        self.policy = Policy(settings.false_alarms_per_week, frozenset(settings.watched_domains))
        self.watch = Watch(session, self.policy, now, ZoneInfo(bundle.settings.city.timezone))
        self._authors: dict[int, set[str]] = {}
        self._titles: dict[int, list[str]] = {}
        self._grown: Counter[int] = Counter()  # posts that each incident got in this batch

    def take(self, items: Sequence[tuple[posts.PostRow, JudgeOutput]]) -> None:
        """Cluster, judge, detect; everything lands in the session. When somebody waits to write, the rest is left to the next batch."""
        for at in range(0, len(items), SLICE):
            self._take(items[at : at + SLICE])
            if others_wait(self.session):
                break
        self._store_sketches()
        self.watch.save()
        self._propose()

    def _take(self, items: Sequence[tuple[posts.PostRow, JudgeOutput]]) -> None:
        matches: list[tuple[posts.PostRow, JudgeOutput, Match | None]] = []
        made: list[judgements.NewJudgement] = []
        # an edited post is judged again where it is: it stays in its incident, and stays the copy that it was
        homes = judgements.homes_of(self.session, [row.id for row, _ in items])
        for row, output in items:
            if row.id in homes:
                made.append(replace(_judgement(output, None), near_copy_of=homes[row.id][1]))
                continue
            match = self._place(row, output)
            matches.append((row, output, match))
            made.append(_judgement(output, match))
        judgements.save_judgements(self.session, made, self.now)
        self.summary.posts += len(items)
        for row, output in items:
            if row.id in homes:
                self._detect(judged.root_of(self.session, homes[row.id][0]), row, output)
        for row, output, match in matches:
            if match is not None and match.incident is not None:
                self._join(row, output, match.incident, match)

    def _place(self, row: posts.PostRow, output: JudgeOutput) -> Match | None:
        """Find or open the incident of a post, in the index and as a row; None when the post tells of nothing."""
        worth = (
            output.signal_score >= self.judge.thresholds.cluster_signal
            or output.domain in self.policy.watched
            or bool(live_categories(output))
        )
        if not worth:
            self.summary.outside += 1
            return None
        match = self.clusterer.match(_item(row, output))
        if match.incident is not None:
            self.clusterer.add(match.incident, match.reading)
            self.summary.joined += 1
            self._titles.setdefault(match.incident, []).append(row.title)
            return match
        number = judgements.open_watching(
            self.session,
            title=_title(row),
            domain=output.domain,
            district=output.districts[0] if output.districts else "",
            first_posted_at=row.published_at,
            sketch={},
        )
        self.clusterer.open(match.reading, number)
        self.summary.opened += 1
        self._titles.setdefault(number, [])
        return Match(match.reading, number, 1.0, match.near_copy_of, match.reasons)

    def _join(self, row: posts.PostRow, output: JudgeOutput, cluster: int, match: Match) -> None:
        root = judged.root_of(self.session, cluster)
        known = self._authors.get(root)
        if known is None:
            known = self._authors[root] = judgements.authors(self.session, root)
        # the post itself is not in the incident yet, so its author is new unless an earlier post had him
        voice = match.near_copy_of is None and (row.author_key is None or row.author_key not in known)
        fresh = judgements.add_post(
            self.session,
            root,
            row.id,
            similarity=match.score,
            voice=voice,
            published_at=row.published_at,
            negative=output.tone == "neg",
            now=self.now,
        )
        if row.author_key is not None:
            known.add(row.author_key)
        if fresh:
            self._grown[root] += 1
            self.watch.saw(row.published_at)
            self._detect(root, row, output)

    def _detect(self, incident: int, row: posts.PostRow, output: JudgeOutput) -> None:
        if not is_news(row, self.now):
            return  # it counts in its own hour; what is told by posts of today is judged with it
        standing = judged.standings(self.session, [incident])[incident]
        if standing.last_post_at < self.now - STALE:
            return
        if standing.state != "watching":
            # raised and not yet judged by a person: its score still grows, and counts among the alarms
            if standing.state == "detected":
                self.watch.follow(standing)
            return
        decision = fast_track(output, self.policy.watched)
        if not decision.raised:
            if standing.voices < WARM_VOICES:
                return
            decision = self.watch.decide(standing)
        if not decision.raised:
            return
        if incident in self.clusterer.sketches:
            # its name stays from now on: by all its posts, not by the first one of this batch
            self._name(standing)
            standing = judged.standings(self.session, [incident])[incident]
        graded, level = grading(self.session, standing, decision, live_categories(output), self.now)
        try:
            lifecycle.handle(
                self.session,
                incident,
                Detect(decision.track, {**decision.why, **graded}, level),
                actor="system",
                channel="system",
                now=self.now,
            )
        except Refused as refusal:
            log.info("incident %s: not raised: %s", incident, refusal.en)
            return
        self.summary.detected.append(incident)

    def _propose(self) -> None:
        """Ask people about incidents that may be one or two matters. Nothing is merged or split without them."""
        standings = judged.standings(self.session, sorted(self._grown))
        looked = 0
        for incident, standing in standings.items():
            before = standing.posts - self._grown[incident]
            due = (
                incident in self.summary.detected
                or before // PROPOSE_EVERY != standing.posts // PROPOSE_EVERY
            )
            if standing.state not in OPEN_STATES or not due:
                continue
            looked += 1
            if looked > PROPOSE_AT_MOST:
                return
            self._propose_merges(incident)
            self._propose_split(incident)

    def _propose_merges(self, incident: int) -> None:
        if incident not in self.clusterer.sketches:
            return  # opened by hand
        for candidate in merge_candidates(self.clusterer, incident, 5):
            other = judged.root_of(self.session, candidate.other)
            standing = judged.standings(self.session, [other]).get(other)
            if other == incident or standing is None or standing.state not in OPEN_STATES:
                continue
            proposals.propose(
                self.session,
                proposals.NewProposal(
                    "merge", incident, candidate.probability, other, reasons=dict(candidate.reasons)
                ),
                self.now,
            )

    def _propose_split(self, incident: int) -> None:
        members = judgements.members(self.session, incident, SPLIT_MEMBERS)
        if len(members) < SPLIT_FROM:
            return
        found = split_candidate([_member_item(member) for member in members], self.clusterer.model)
        if found is None:
            return
        leaving, probability, reasons = found
        proposals.propose(
            self.session,
            proposals.NewProposal(
                "split", incident, probability, posts=tuple(int(id_) for id_ in leaving), reasons=reasons
            ),
            self.now,
        )

    def _store_sketches(self) -> None:
        standings = judged.standings(self.session, sorted(self._titles))
        for cluster in sorted(self._titles):
            self._name(standings[cluster])

    def _name(self, standing: judged.Standing) -> None:
        """Keep the sketch of a cluster, and while it is watched what it is about by now."""
        cluster, sketch = standing.id, self.clusterer.sketches[standing.id]
        title, domain, district = standing.title, standing.domain, standing.district
        if standing.state == "watching":  # once raised, its name stays
            title = _best_title(sketch, [standing.title, *self._titles.get(cluster, [])])
            domain = _main_domain(judged.domains_of(self.session, cluster)) or domain
            district = _main_area(sketch) or district
        judgements.update_sketch(self.session, cluster, sketch.to_json(), title, domain, district)


class Watch:
    """Burst decisions of one moment; what is ordinary and the limit are worked out once a day of the posts' time."""

    def __init__(self, session: Session, policy: Policy, now: datetime, zone: tzinfo) -> None:
        self.session, self.policy, self.now, self.zone = session, policy, now, zone
        held = get_beat(session, LEDGER)
        rate = policy.false_alarms_per_week
        self.ledger = Ledger.from_json(held.value, rate) if held is not None else Ledger.for_rate(rate)
        self._days: dict[date, _Day] = {}
        self._changed = False

    def saw(self, at: datetime) -> None:
        """A post joined a cluster; when it is news, its week is experience."""
        if self.now - STALE <= at <= self.now:
            self.ledger.saw(at)
            self._changed = True

    def save(self) -> None:
        """Keep what was learnt, in the transaction of the batch."""
        if self._changed:
            self.ledger.forget(self.now)
            beat(self.session, LEDGER, self.now, self.ledger.as_json())
            self._changed = False

    def decide(self, standing: judged.Standing) -> Decision:
        """The burst track's answer for one cluster as it stands, raised or not; its score is remembered."""
        decision, at = self._decide(standing)
        if decision.score is not None:
            self.ledger.note(standing.id, at, decision.score)
            self._changed = True
        if decision.raised:  # the limit rises at once: a day of many bursts is no day of many alarms
            self._days.clear()
        return decision

    def follow(self, standing: judged.Standing) -> None:
        """Remember how far a raised burst gets, so that a higher limit knows whether it would have been raised."""
        if standing.id in self.ledger.clusters() and standing.voices <= FOLLOWED_VOICES:
            self.decide(standing)

    def explain(self, standing: judged.Standing) -> Decision:
        """The same answer, remembered by nobody."""
        return self._decide(standing)[0]

    def _decide(self, standing: judged.Standing) -> tuple[Decision, datetime]:
        at = min(standing.last_post_at, self.now)
        hours = [
            Hour(h.hour, h.voices, h.posts, h.negative)
            for h in judgements.hour_counts(self.session, standing.id, at - PAST)
        ]
        mix = judged.mix_of(self.session, standing.id)
        domain = _main_domain(judged.domains_of(self.session, standing.id)) or standing.domain
        growth = Growth(
            at=at,
            first_posted_at=standing.first_posted_at,
            hours=hours,
            domain=domain,
            signal_share=mix.signals / max(mix.posts, 1),
            sources=max(1, mix.sources),
        )
        day = self._day(at)
        return burst(growth, day.background(domain, standing), self.policy, day.limit), at

    def _day(self, at: datetime) -> _Day:
        held = self._days.get(at.date())
        if held is None:
            start = at.replace(hour=0, minute=0, second=0, microsecond=0)
            real = judged.found_real(self.session, self.ledger.clusters())
            held = self._days[at.date()] = _Day(
                judged.domain_volumes(self.session, at, RECENT, BASELINE),
                judged.place_volumes(self.session, at, RECENT, BASELINE),
                Profile.learn(
                    judged.hour_volumes(self.session, start - PROFILE, start),
                    start - PROFILE,
                    start,
                    self.zone,
                ),
                self.ledger.limit(at, self.policy.false_alarms_per_week, real),
            )
        return held


@dataclass(frozen=True)
class _Day:
    """What is ordinary on one day."""

    domains: dict[str, judged.DomainVolume]
    places: dict[str, tuple[int, int]]
    profile: Profile
    limit: Limit

    def background(self, domain: str, standing: judged.Standing) -> Background:
        recent = sum(v.recent for v in self.domains.values())
        before = sum(v.baseline for v in self.domains.values())
        mine = self.domains.get(domain, judged.DomainVolume(0, 0, 0, 0))
        place = self.places.get(standing.district, (0, 0))
        return Background(
            posts_per_week=max(recent / 2, (recent + before) / 14),
            clusters=mine.clusters,
            follow_ups=max(0, mine.follow_ups),
            surge=max(
                surge_of(mine.recent - standing.posts, mine.baseline),
                surge_of(place[0] - standing.voices, place[1]),
            ),
            squares=max(0, mine.squares),
            profile=self.profile,
        )


def is_news(row: posts.PostRow, now: datetime) -> bool:
    """Whether this post may raise an alarm: by the time it was posted, not by the time it was collected.

    A post that came late by itself may, for 14 days. One that a back-fill fetched may only when it is of the last day and says so.
    """
    if row.backfilled:
        return not row.published_estimated and row.published_at >= now - FRESH
    return row.published_at >= now - STALE


def grading(
    session: Session,
    standing: judged.Standing,
    decision: Decision,
    categories: frozenset[str],
    now: datetime,
) -> tuple[dict[str, Any], str]:
    """Heat, grade and overrides of an incident as keys for its why, and the grade to propose."""
    mix = judged.mix_of(session, standing.id)
    parts = judged.parts_of(session, standing.id, GRADED_POSTS)
    hours = judgements.hour_counts(
        session, standing.id, standing.last_post_at - timedelta(days=BASELINE_DAYS)
    )
    growth = max(_growth_factor(decision), robust_growth([(h.hour, h.voices) for h in hours], now))
    most = max((part.interactions for part in parts), default=0)
    share: float | None = None
    if most > 0:
        others = judged.recent_interactions(session, COMPARED_POSTS)
        share = sum(n < most for n in others) / max(1, len(others))
    score = grade(
        standing.voices, growth, mix.risk, categories, media_share(part.url for part in parts), share
    )
    over = overrides(categories, standing.domain, [read_harm(part.text) for part in parts])
    level = level_of(score["score"], over)
    return explain(score, heat([(h.hour, h.voices, h.posts) for h in hours], now), over, level), level


def why_not(session: Session, bundle: Bundle, incident_id: int, now: datetime) -> dict[str, Any] | None:
    """The arithmetic of a cluster that was (not) raised, as it stands now; None when there is no such cluster."""
    standing = judged.standings(session, [incident_id]).get(incident_id)
    if standing is None:
        return None
    settings = bundle.settings.analysis
    policy = Policy(settings.false_alarms_per_week, frozenset(settings.watched_domains))
    decision = Watch(session, policy, now, ZoneInfo(bundle.settings.city.timezone)).explain(standing)
    graded, _ = grading(session, standing, decision, frozenset(), now)
    return {**decision.why, **graded, "would_raise": decision.raised, "state": standing.state}


def _item(row: posts.PostRow, output: JudgeOutput) -> ClusterItem:
    return ClusterItem(
        id=str(row.id),
        title=row.title,
        text=row.text,
        published_at=row.published_at,
        places=output.places,
        author=row.author_key,
        districts=output.districts,
    )


def _judgement(output: JudgeOutput, match: Match | None) -> judgements.NewJudgement:
    copy = match.near_copy_of if match is not None else None
    return judgements.NewJudgement(
        post_id=output.id,
        domain=output.domain,
        domain_score=output.domain_score,
        tone=output.tone,
        tone_score=output.tone_score,
        snownlp_score=output.snownlp_score,
        signal=output.signal,
        signal_score=output.signal_score,
        risk=output.risk,
        risk_score=output.risk_score,
        model_version=output.model,
        abstain=output.abstain,
        districts=list(output.districts),
        places=[dict(place.as_dict()) for place in output.places],
        reasons=dict(output.reasons),
        near_copy_of=int(copy) if copy is not None and int(copy) != output.id else None,
        about=output.about,
    )


def _title(row: posts.PostRow) -> str:
    title = row.title.strip()
    if not any(char.isalnum() for char in title):  # stripped of its markup, a title can be punctuation alone
        title = row.text.strip().split("\n", 1)[0]
    return title if len(title) <= TITLE_CHARS else f"{title[: TITLE_CHARS - 1]}…"


def _best_title(sketch: Sketch, titles: Sequence[str]) -> str:
    """The title closest to what the incident is about; the earlier one of two equals."""

    def likeness(title: str) -> float:
        words = set(cut(title))
        return sum(sketch.terms.get(word, 0.0) for word in words) / (len(words) ** 0.5 or 1.0)

    usable = [t.strip() for t in titles if 0 < len(t.strip()) <= TITLE_CHARS] or [titles[0]]
    return max(usable, key=likeness)


def _main_domain(counts: dict[str, int]) -> str:
    """The domain of most posts; `none` only when there is no other."""
    real = Counter({domain: n for domain, n in counts.items() if domain != "none"})
    ranked = sorted(real.items(), key=lambda pair: (-pair[1], pair[0]))
    return ranked[0][0] if ranked else ("none" if counts else "")


def _main_area(sketch: Sketch) -> str:
    ranked = sorted(sketch.areas.items(), key=lambda pair: (-pair[1], pair[0]))
    return ranked[0][0] if ranked else ""


def _growth_factor(decision: Decision) -> float:
    voices, expected = decision.why.get("voices", 1), decision.why.get("expected", 1.0)
    return max(1.0, float(voices) / max(float(expected), 0.1))
