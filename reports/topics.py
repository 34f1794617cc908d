"""What the week was about, as the report tells it: topics of each watched domain with their change and an example.

Read from the stored topics; nothing is made up here. An example is cut to EXAMPLE_CHARS characters: it shows the
subject and cannot be searched for as a quotation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.topics import MIN_POSTS
from incidents import access
from incidents import topics as store
from incidents.session import Session
from reports.model import TopicDomain, TopicLine
from reports.period import Period, week_of

#: characters of an example
EXAMPLE_CHARS = 20
_BREAK = re.compile(r"[。！？!?；;\n\r]")
_MARK = re.compile(r"\[[^\[\]]{2,6}\]|[#【】《》“”\"]|https?://\S+")


def example(text: str) -> str:
    """The beginning of a post, at most EXAMPLE_CHARS characters, without marks of redaction and links."""
    whole = _MARK.sub("", text).strip()
    first = _BREAK.split(whole, maxsplit=1)[0].strip(" ，,、：:") or whole
    return first if len(first) <= EXAMPLE_CHARS else first[: EXAMPLE_CHARS - 1] + "…"


def topic_domains(session: Session, period: Period, watched: Sequence[str]) -> tuple[TopicDomain, ...]:
    """Topics of the watched domains that had posts; empty when the topics of this week were never made."""
    # a report travels further than a page: what is restricted is counted, not told
    kept = access.restricted(session)
    now = access.tell_topics(session, store.topics_of(session, period.name), kept)
    earlier = access.tell_topics(session, store.topics_of(session, week_of(period.before[0].date())), kept)
    if not now and not earlier:
        return ()
    if period.as_of < period.until:
        earlier = []  # while the week runs nothing is gone yet
    posts = store.domain_posts(session, period.since, period.as_of)
    known = {(topic.domain, topic.key) for topic in store.remembered(session, period.name)}
    shown = {topic.key: topic.examples[0] for topic in now if topic.examples}
    words = store.headings(session, shown.values())
    found = []
    for domain in watched:
        mine = [topic for topic in now if topic.domain == domain]
        keys = {topic.key for topic in mine}
        if not posts.get(domain) and not mine:
            continue
        found.append(
            TopicDomain(
                id=domain,
                posts=max(posts.get(domain, 0), sum(topic.posts for topic in mine)),
                few=not mine and posts.get(domain, 0) < MIN_POSTS,
                topics=tuple(
                    TopicLine(
                        key=topic.key,
                        title=topic.title,
                        posts=topic.posts,
                        voices=topic.voices,
                        before=topic.before,
                        trend=store.trend(
                            topic.posts, topic.before, known=(domain, topic.key) in known, ever=bool(known)
                        ),
                        example=example(words.get(shown.get(topic.key, -1), "")),
                    )
                    for topic in mine
                ),
                gone=tuple(
                    topic.title for topic in earlier if topic.domain == domain and topic.key not in keys
                ),
            )
        )
    return tuple(found)
