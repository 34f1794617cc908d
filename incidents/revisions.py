"""Edits that are noticed: what a post said before, and what counts as saying something else.

Everything here works in the caller's transaction. Texts come in redacted. A post that was edited is judged again.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from incidents.chunks import chunks
from incidents.index import IndexRow, add_to_index, remove_from_index
from incidents.models import JsonDict, Judgement, Post, PostRevision

#: a page that shows two texts in turn is edited by nobody: after so many edits a return to earlier words is passed over
MAX_RETURNS = 4
#: lines that a site adds and its author did not write
_NOTE = re.compile(
    r"^\W*(?:本帖最后由.{0,60}编辑|本(?:主题|帖)由.{0,60}(?:编辑|修改|移动).{0,20}|(?:最后|最近)?(?:编辑|修改|更新)(?:于|时间|日期)?\s*[:：]?\s*[\d\s年月日时分秒:：/.\-前昨今天]{2,40}.{0,12}"
    r"|(?:发布|发表)于\s*[\d\s年月日时分秒:：/.\-前昨今天]{2,40}.{0,20}|last edited.{0,60}|edited .{0,40}ago)\W*$",
    re.IGNORECASE,
)
_COUNT = re.compile(
    r"(?:阅读|浏览|点击|查看|围观|评论|回复|跟帖|点赞|赞|转发|分享|收藏|人气|热度|在看|参与)(?:量|数|次数|人数)?\s*[:：]?\s*[(（\[]?\s*\d[\d,.]*\s*[万千kKwW]?\+?\s*[)）\]]?\s*(?:次|人|条|个)?"
    r"|\d[\d,.]*\s*[万千kKwW]?\+?\s*(?:次|人|条|个)?(?:阅读|浏览|点击|围观|评论|回复|跟帖|点赞|人看过|转发|分享|收藏|在看)"
)
_AGO = re.compile(r"\d+\s*(?:秒钟?|分钟|小时|天|周|个月)前|刚刚")
#: how lists end a text that they cut
_CUT = re.compile(r"(?:\.{3,}|…+|。{3,}|\[?(?:展开|查看|阅读)(?:全文|更多|原文)\]?)+\s*$")
_FILLER = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Reading:
    """A known post as it was read again."""

    post_id: int
    title: str
    text: str
    fetched_at: datetime
    provenance: JsonDict


@dataclass(frozen=True)
class RevisionView:
    """One edit: the words before it, when it was noticed, and the hashes of both."""

    post_id: int
    noticed_at: datetime
    old_title: str
    old_text: str
    old_sha256: str
    new_sha256: str
    evidence: JsonDict


def content_sha256(title: str, body: str) -> str:
    """The fingerprint by which exact repeats of a text are known."""
    return hashlib.sha256(f"{title}\n{body}".encode()).hexdigest()


def essence(text: str) -> str:
    """The words of a text without what a site adds or lets run: notes of editing, counts, times ago, blanks and punctuation."""
    lines = [line for line in unicodedata.normalize("NFKC", text).splitlines() if not _NOTE.match(line)]
    words = _AGO.sub(" ", _COUNT.sub(" ", "\n".join(lines)))
    return _FILLER.sub("", words).lower()


def says_the_same(old: str, new: str) -> bool:
    """Whether two readings of one text differ in nothing that its author wrote, or one is only the beginning of the other."""
    if old == new:
        return True
    before, after = essence(old), essence(new)
    if before == after:
        return True
    for cut, whole in ((new, before), (old, after)):
        if _CUT.search(cut):
            begin = essence(_CUT.sub("", cut))
            if len(begin) >= 10 and whole.startswith(begin):
                return True
    return False


def comparable(old: JsonDict, new: JsonDict) -> bool:
    """Whether two readings were made in the same way: another extractor or version of ours reads other words in the same page."""
    names = ("kind", "reader", "extractor")
    return bool(new.get("reader")) and all(old.get(name) == new.get(name) for name in names)


def note_edits(session: Session, readings: Sequence[Reading]) -> list[int]:
    """Keep the old words of every post that says something else now, store the new ones and have them judged again; their ids."""
    edited = []
    for reading in readings:
        post = session.get(Post, reading.post_id, populate_existing=True)
        if post is None or not comparable(post.provenance, reading.provenance):
            continue
        title = reading.title or post.title
        # of what is stored: a reading without a title keeps the old one
        sha256 = content_sha256(title, reading.text)
        if post.content_sha256 == sha256:
            continue
        if says_the_same(post.title, title) and says_the_same(post.text, reading.text):
            continue
        if _alternates(session, post.id, sha256):
            continue
        session.add(
            PostRevision(
                post_id=post.id,
                noticed_at=reading.fetched_at,
                old_title=post.title,
                old_text=post.text,
                old_sha256=post.content_sha256,
                new_sha256=sha256,
                evidence={
                    "old_fetched_at": post.fetched_at.astimezone(UTC).isoformat(),
                    "read": {
                        k: reading.provenance[k]
                        for k in ("kind", "extractor", "visit")
                        if k in reading.provenance
                    },
                    "judged": _judged(session, post.id),
                },
            )
        )
        remove_from_index(session, [post.id])
        session.execute(
            update(Post)
            .where(Post.id == post.id)
            .values(title=title, text=reading.text, content_sha256=sha256, judged_at=None)
            .execution_options(synchronize_session=False)
        )
        session.flush()
        session.expire(post)
        add_to_index(session, [IndexRow(post.id, title, reading.text)])
        edited.append(reading.post_id)
    return edited


def _alternates(session: Session, post_id: int, sha256: str) -> bool:
    earlier = session.scalars(select(PostRevision.old_sha256).where(PostRevision.post_id == post_id)).all()
    return len(earlier) >= MAX_RETURNS and sha256 in earlier


def _judged(session: Session, post_id: int) -> dict[str, Any]:
    was = session.get(Judgement, post_id)
    if was is None:
        return {}
    names = ("domain", "tone", "tone_score", "risk", "signal", "model_version")
    return {name: getattr(was, name) for name in names}


def revisions_of(session: Session, post_id: int) -> list[RevisionView]:
    """The edits of one post, oldest first."""
    query = select(PostRevision).where(PostRevision.post_id == post_id).order_by(PostRevision.id)
    return [_view(row) for row in session.scalars(query)]


def last_edits(session: Session, post_ids: Iterable[int]) -> dict[int, RevisionView]:
    """The last edit of each of these posts; those that were never edited are left out."""
    ids = list(post_ids)
    found: dict[int, RevisionView] = {}
    for chunk in chunks(ids):
        query = select(PostRevision).where(PostRevision.post_id.in_(chunk))
        found.update({row.post_id: _view(row) for row in session.scalars(query.order_by(PostRevision.id))})
    return found


def words_before(session: Session, post_ids: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """All that these posts said before their edits, the oldest first; those that were never edited are left out."""
    ids = list(post_ids)
    found: dict[int, tuple[str, ...]] = {}
    for chunk in chunks(ids):
        query = select(PostRevision.post_id, PostRevision.old_title, PostRevision.old_text)
        query = query.where(PostRevision.post_id.in_(chunk)).order_by(PostRevision.id)
        for id_, title, text in session.execute(query):
            found[id_] = (*found.get(id_, ()), f"{title}\n{text}".strip())
    return found


def _view(row: PostRevision) -> RevisionView:
    return RevisionView(**{name: getattr(row, name) for name in RevisionView.__dataclass_fields__})
