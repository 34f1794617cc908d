"""What mattered in the week: each incident in one place of the report, by its situation at the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from incidents import weekly_numbers as numbers
from incidents.session import Session
from incidents.states import LEVELS, Situation, State
from incidents.weekly_numbers import Story
from reports.model import FalseAlarmLine, IncidentLine, MergedLine
from reports.period import Period
from reports.story import detection, is_over, last, published_at, situation, within

#: an older incident counts as growing from this many posts in the week; below it, one post more is no news
GROWTH_MIN = 3


class Desk:
    """The incidents of the period with their situation at its end."""

    def __init__(self, session: Session, period: Period) -> None:
        self.period = period
        self.stories = [
            story
            for story in numbers.stories(session, period.since, period.as_of)
            if any(event.kind == "detected" for event in story.events)
        ]
        self.by_id = {story.id: story for story in self.stories}
        self.situations = {story.id: situation(story.events) for story in self.stories}
        self.posts = self._rolled_up(numbers.incident_posts(session, period.since, period.as_of))
        self.posts_before = self._rolled_up(
            numbers.incident_posts(session, period.before[0], period.before[-1])
        )

    def narrow(self, number: str) -> None:
        """Keep one incident with those merged into it. Raises KeyError when it is not here or was merged itself."""
        mine = {
            story.id
            for story in self.stories
            if story.number == number and self.situations[story.id].state != State.MERGED
        }
        if not mine:
            raise KeyError(number)
        (chosen,) = mine
        self.stories = [
            story for story in self.stories if story.id == chosen or self.root(story.id) == chosen
        ]
        self.by_id = {story.id: story for story in self.stories}

    def root(self, incident_id: int) -> int:
        """The incident that stands for this one after merges."""
        seen = {incident_id}
        while (now := self.situations.get(incident_id)) is not None and now.state == State.MERGED:
            if now.parent_id is None or now.parent_id in seen:
                break
            incident_id = now.parent_id
            seen.add(incident_id)
        return incident_id

    def _rolled_up(self, posts: dict[int, int]) -> Counter[int]:
        total = Counter[int]()
        for incident_id, count in posts.items():
            total[self.root(incident_id)] += count
        return total

    def happened(self, story: Story, kind: str) -> bool:
        """Whether an event of this kind fell into the period."""
        return bool(within(story, kind, self.period.since, self.period.as_of))

    def line(self, story: Story) -> IncidentLine:
        """One incident as the report tells it."""
        now, raised = self.situations[story.id], detection(story)
        answers = [event for event in story.events if event.kind == "responded" and event.round == now.round]
        score = (
            last(story, "evaluated").get("score") if now.state in (State.EVALUATED, State.CLOSED) else None
        )
        return IncidentLine(
            number=story.number,
            title=story.title,
            domain=story.domain,
            district=story.district,
            level=now.level,
            state=str(now.state),
            track=now.track,
            why=now.why,
            department=now.department,
            posts=self.posts[story.id],
            posts_before=self.posts_before[story.id],
            first_posted_at=story.first_posted_at,
            detected_at=raised.occurred_at,
            responded_at=published_at(answers[0]) if answers else None,
            closed_at=now.times.get("closed_at") if now.state == State.CLOSED else None,
            score=None if score is None else float(score),
            round=now.round,
        )

    def matters(self) -> dict[str, object]:
        """What mattered: new, growing, closed, other open incidents; false alarms and merges apart."""
        detected = [story for story in self.stories if self.happened(story, "detected")]
        fresh = {story.id for story in detected}
        parts: dict[str, list[IncidentLine]] = defaultdict(list)
        for story in self.stories:
            part = self._part(story, self.situations[story.id], story.id in fresh)
            if part:
                parts[part].append(self.line(story))

        def order(line: IncidentLine) -> tuple[int, int, str]:
            return -LEVELS.index(line.level), -line.posts, line.number

        return {
            "detected": len(detected),
            # what people split off an incident had been noticed with it: not missed by us
            "manual": sum(
                detection(story).payload.get("track") == "manual"
                and "split_from" not in detection(story).payload.get("why", {})
                for story in detected
            ),
            "confirmed": sum(self.happened(story, "confirmed") for story in self.stories),
            **{
                name: tuple(sorted(parts[name], key=order))
                for name in ("new", "growing", "closed", "other_open")
            },
            "reopened": tuple(story.number for story in self.stories if self.happened(story, "reopened")),
            "false_alarms": tuple(self._false_alarms()),
            "merged": tuple(self.merges()),
        }

    def _part(self, story: Story, now: Situation, fresh: bool) -> str:
        """Where an incident stands in the report: each in one place only."""
        if now.state == State.CLOSED:
            return "closed" if self.happened(story, "closed") else ""
        if is_over(now.state):
            return ""
        if fresh:
            return "new"
        grows = self.posts[story.id] >= GROWTH_MIN and self.posts[story.id] > self.posts_before[story.id]
        return "growing" if grows else "other_open"

    def _false_alarms(self) -> Iterable[FalseAlarmLine]:
        for story in self.stories:
            if self.situations[story.id].state != State.FALSE_ALARM or not self.happened(
                story, "false_alarm"
            ):
                continue
            said = last(story, "false_alarm")
            yield FalseAlarmLine(
                number=story.number,
                title=story.title,
                track=self.situations[story.id].track,
                reason=str(said.get("reason", "other")),
                note=str(said.get("note", "")),
            )

    def merges(self) -> Iterable[MergedLine]:
        """Incidents found in the period to be part of another one."""
        for story in self.stories:
            if self.situations[story.id].state == State.MERGED and self.happened(story, "merged"):
                parent = self.by_id.get(self.root(story.id))
                yield MergedLine(number=story.number, parent=parent.number if parent else "")
