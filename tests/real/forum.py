"""The product against a real django-spirit forum: 100 topics with 300 posts, each collected once; replies found later.

`make test-real` runs it after the WordPress proof. The first wrong step ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from incidents.models import Post
from tests.real.reader import PAPERS, Reader
from tests.real.spirit import Spirit, ensure_environment

TOPICS, POSTS, LONGEST = 100, 300, 45
_BEGUN = time.monotonic()
_PLACES = ("历下区", "市中区", "槐荫区", "天桥区", "历城区", "长清区")
_MATTERS = ("路灯不亮", "井盖松动", "公交班次太少", "夜间施工噪声", "垃圾没有清运", "停水没有通知")


def say(text: str) -> None:
    """One step of the proof, with the seconds since the beginning."""
    sys.stdout.write(f"[forum {time.monotonic() - _BEGUN:6.1f} s] {text}\n")
    sys.stdout.flush()


def invented(now: datetime) -> list[dict[str, Any]]:
    """The forum's topics, oldest first: one long thread, the others with two or three posts."""
    chance = random.Random(300)
    sizes = [LONGEST] + [3] * 57 + [2] * 42
    assert (len(sizes), sum(sizes)) == (TOPICS, POSTS)
    topics = []
    for number, size in enumerate(sizes):
        place, matter = chance.choice(_PLACES), chance.choice(_MATTERS)
        begun = now - timedelta(days=6) + timedelta(minutes=number * 80)
        posts = [
            {
                "user": f"citizen{chance.randrange(60)}",
                "text": f"第{number}帖第{at}楼：{place}{matter}，已经第{at + 1}次反映。\n\n请有关部门尽快处理。",
                "at": (begun + timedelta(minutes=at)).isoformat(),
            }
            for at in range(size)
        ]
        topics.append({"title": f"{place}{matter}（{number}）", "topic": None, "posts": posts})
    return topics


def entry(forum: str) -> str:
    """The source as an operator would write it for this forum."""
    return (
        f"  - id: forum\n    name: 泉边论坛\n    kind: forum\n    url: {forum}/topic/active/\n"
        "    link_pattern: '/topic/\\d+/[^/]+/$'\n"
        "    next_selector: '.paginator a:has(.fa-chevron-right)'\n    max_pages: 10\n"
        "    row_selector: .layout__topics__topic\n    activity_selector: .topic__comments\n"
        "    post_selector: .comments_list__comment\n    post_key: data-pk\n"
        "    post_text_selector: .comment__text\n"
        "    post_author_selector: .comment__info__username__link\n"
        "    post_date_selector: '.comment__info__date li[title]'\n"
        "    thread_next_selector: '.paginator a:has(.fa-chevron-right)'\n"
        f"{PAPERS}"
    )


def compare(found: list[Post], topics: list[dict[str, Any]]) -> None:
    """Every post that was written is stored once, with its words, its time, its title and one pseudonym for each author."""
    wanted = {
        post["text"].replace("\n\n", "\n"): (post, topic["title"] if at == 0 else "")
        for topic in topics
        for at, post in enumerate(topic["posts"])
    }
    stored = [post.text for post in found]
    assert len(set(stored)) == len(stored), "a post is stored twice"
    missing, foreign = set(wanted) - set(stored), set(stored) - set(wanted)
    assert not missing, (
        f"{len(missing)} posts missing, such as {sorted(missing)[:2]}; foreign: {sorted(foreign)[:2]}"
    )
    assert not foreign, f"what is no post: {sorted(foreign)[:2]}"
    names: dict[str, set[str | None]] = {}
    for post in found:
        given, title = wanted[post.text]
        away = abs(post.published_at - datetime.fromisoformat(given["at"]))
        assert away < timedelta(minutes=1), f"{post.text[:12]}: time off by {away}"
        if title and not given.get("later"):
            assert post.title == title, f"{post.title!r} instead of {title!r}"
        names.setdefault(given["user"], set()).add(post.author_key)
    assert all(len(keys) == 1 and None not in keys for keys in names.values()), (
        "pseudonyms do not match authors"
    )
    assert len({key for keys in names.values() for key in keys}) == len(names)


def proof(folder: Path) -> None:
    """The whole run. Raises AssertionError or TimeoutError at the first thing that does not hold."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    forum = Spirit(folder)
    try:
        say(f"django-spirit runs at {forum.base}")
        topics = invented(now)
        numbers = forum.write(topics)
        say(f"{TOPICS} topics with {POSTS} posts written")
        reader = Reader(folder / "config", entry(forum.base))

        def crawl() -> tuple[list[Post], str]:
            before = forum.log().count('"GET /')
            reader.crawl("forum")
            asked = forum.log().count('"GET /') - before
            state, words = reader.state("forum")
            assert state in ("ok", "unchanged"), f"{state}: {words}"
            return reader.posts("forum"), f"{asked} requests; {words}"

        found, told = crawl()
        compare(found, topics)
        assert len(found) == POSTS
        say(f"{len(found)}/{POSTS} posts with {told}")
        assert re.search(r'"GET /robots.txt', forum.log()), "robots.txt was not read"
        found, told = crawl()
        assert len(found) == POSTS
        assert int(told.split()[0]) <= 2, f"nothing had changed, and {told}"
        say(f"nothing new: {told}")
        more = [
            {
                "title": topics[0]["title"],
                "topic": numbers[0],
                "posts": [
                    {
                        "user": "citizen7",
                        "text": f"补充第{at}条：今天仍未解决。",
                        "at": now.isoformat(),
                        "later": True,
                    }
                    for at in range(3)
                ],
            },
            {
                "title": "新帖：小区电梯停运",
                "topic": None,
                "posts": [
                    {"user": "citizen8", "text": "电梯停运两天，老人无法下楼。", "at": now.isoformat()}
                ],
            },
        ]
        forum.write(more)
        found, told = crawl()
        compare(found, [*topics, *more])
        assert len(found) == POSTS + 4
        assert int(told.split()[0]) <= 6, f"one new thread, three replies on one page, and {told}"
        say(f"a new thread and three replies to the oldest one: 4/4 with {told}")
    finally:
        forum.close()


def main() -> int:
    """Run the proof; 0 if everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run")
    keep = parser.parse_args().keep
    if ensure_environment():
        say("django-spirit installed from its lock file")
    folder = Path(tempfile.mkdtemp(prefix="quansheng-forum-"))
    try:
        proof(folder)
    except (AssertionError, TimeoutError, RuntimeError) as wrong:
        say(f"WRONG: {wrong or type(wrong).__name__}")
        log = folder / "spirit" / "access.log"
        if log.is_file():
            sys.stdout.write(f"--- end of access.log\n{log.read_text('utf-8', 'replace')[-2000:]}\n")
        return 1
    finally:
        if not keep:
            subprocess.run(["rm", "-rf", str(folder)], check=False)
        else:
            say(f"kept: {folder}")
    say("Proved.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
