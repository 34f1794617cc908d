"""People put right: a post's judgement, which posts make an incident, and answers to proposals; and why it was so."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from console.context import Forbidden, Visit, member
from console.forms import Posted, own_form
from console.render import page
from console.rights import hidden, may_act, may_answer, may_teach, need_posts
from console.views.desk import show_desk
from console.views.incident import find, show_incident
from incidents import corrections, judged, labels, looks, proposals, queries
from incidents.dossier import Dossier, dossier
from incidents.states import Refused

router = APIRouter(include_in_schema=False)
_BACK = re.compile(r"/(search|incidents/[A-Z0-9-]{1,24}|clusters/[0-9]{1,18}|posts/[0-9]{1,18})(\?[^\s\\]*)?")
_PICKED = re.compile(r"post-([0-9]{1,18})")
POSTS_SHOWN = 100
NOT_YOURS = "您的角色不能执行此操作。"


def _back(form: Posted, done: str, anchor: str, default: str) -> Response:
    """To the page that the form came from; an address of another site is not followed."""
    wish = form.text("back", 1500)
    split = urlsplit(wish if _BACK.fullmatch(wish) else default)
    query = [pair for pair in parse_qsl(split.query) if pair[0] not in ("done", "lang")]
    return RedirectResponse(f"{split.path}?{urlencode([*query, ('done', done)])}#{anchor}", 303)


def _sentence(here: Visit, refusal: Refused) -> str:
    return refusal.en if here.lang == "en" else refusal.zh


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise HTTPException(404)
    return int(text)


def _load(here: Visit, post_id: int) -> Dossier:
    with here.console.db.reading() as session:
        found = dossier(session, post_id)
        root = judged.root_of(session, found.incident_id) if found and found.incident_id is not None else None
    if found is None or root in hidden(here):
        raise HTTPException(404)
    return found


def _view(here: Visit, **about: Any) -> None:
    """One event an hour for a person and a post or cluster."""
    looks.note(
        here.console.db,
        "viewed",
        about,
        about="/".join(f"{name}={value}" for name, value in about.items()),
        actor=here.account.login,
        channel="console",
        now=here.now,
    )


def _fix(post: Dossier) -> dict[str, Any] | None:
    """What the form of corrections starts from."""
    row = post.judgement
    if row is None:
        return None
    return {"id": post.id} | {kind: getattr(row, kind) for kind in labels.VALUES}


def _show_post(here: Visit, post: Dossier, *, status: int = 200, error: str = "") -> Response:
    # loads the models' numbers: not wanted by a console that nobody asks why
    from analysis.judge import Thresholds
    from analysis.why import judged_so, placed_so

    limits = Thresholds.load()
    watched = frozenset(here.console.bundle.settings.analysis.watched_domains)
    with here.console.db.reading() as session:
        holder = None
        if post.incident_id is not None:
            holder = queries.get_incident(session, judged.root_of(session, post.incident_id))
        said = labels.of_post(session, post.id)
    _view(here, post=post.id)
    return page(
        here,
        "post.html",
        status=status,
        error=error,
        done=here.done,
        post=post,
        fix=_fix(post),
        holder=holder,
        all_said=said,
        why=[sentence.of(here.lang) for sentence in judged_so(post, limits, corrections=False)],
        where=[sentence.of(here.lang) for sentence in placed_so(post, watched, limits)],
    )


@router.get("/posts/{number}")
def post_page(number: str, here: Annotated[Visit, Depends(member)]) -> Response:
    """One post: its judgement and why, where it belongs and why, and the form to put it right."""
    need_posts(here)
    return _show_post(here, _load(here, _number(number)))


@router.get("/clusters/{number}")
def cluster_page(number: str, here: Annotated[Visit, Depends(member)]) -> Response:
    """A cluster that has not emerged, and why it was not raised; an incident is shown on its own page."""
    need_posts(here)
    return _show_cluster(here, _number(number))


def _show_cluster(here: Visit, id_: int, *, status: int = 200, error: str = "") -> Response:
    from analysis.job import why_not  # loads the models, see _show_post
    from analysis.why import silenced_words

    with here.console.db.reading() as session:
        incident = queries.get_incident(session, id_)
        if incident is None:
            raise HTTPException(404)
        if incident.number:
            return RedirectResponse(f"/incidents/{quote(incident.number)}", 303)
        posts = queries.posts_of(session, id_, limit=POSTS_SHOWN)
        said = labels.latest(session, [post.id for post in posts])
        reasons = [
            one.judgement.reasons
            for one in (dossier(session, post.id) for post in posts)
            if one is not None and one.judgement is not None
        ]
        why = why_not(session, here.console.bundle, id_, here.now) or {}
    _view(here, cluster=id_, posts=len(posts))
    return page(
        here,
        "cluster.html",
        status=status,
        error=error,
        done=here.done,
        incident=incident,
        posts=posts,
        said=said,
        why=why,
        sentence=str(why.get("sentence_en" if here.lang == "en" else "sentence_zh") or ""),
        silenced=[sentence.of(here.lang) for sentence in silenced_words(reasons)],
    )


@router.post("/posts/{number}/correct")
def correct_post(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Set tone, domain, signal, risk, about. Only fields that the person changed are corrections: what somebody else
    corrected since the page was read is not undone by it."""
    if not may_teach(here):
        raise Forbidden(NOT_YOURS)
    post = _load(here, _number(number))
    said = {
        kind: form.text(kind, 40)
        for kind in labels.VALUES
        if kind in form and form.text(kind, 40) != form.text(f"seen_{kind}", 40)
    }
    try:
        with here.console.db.transaction() as session:
            corrections.correct(
                session,
                post.id,
                said,
                confirm=bool(form.text("confirm", 5)),
                reason=form.text("reason", 500),
                actor=here.account.login,
                channel="console",
                now=here.now,
            )
    except Refused as refusal:
        return _show_post(here, post, status=409, error=_sentence(here, refusal))
    return _back(form, "correct", f"p-{post.id}", f"/posts/{post.id}")


@router.post("/posts/{number}/outside")
def outside_post(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """The post does not belong to the incident it is in."""
    if not may_teach(here):
        raise Forbidden(NOT_YOURS)
    post = _load(here, _number(number))
    try:
        with here.console.db.transaction() as session:
            found = dossier(session, post.id)
            if found is None or found.incident_id is None:
                raise Refused("该帖子已不在任何事件中。", "the post is in no incident any more")
            corrections.take_out(
                session,
                judged.root_of(session, found.incident_id),
                post.id,
                reason=form.text("reason", 500),
                actor=here.account.login,
                channel="console",
                now=here.now,
            )
    except Refused as refusal:
        return _show_post(here, post, status=409, error=_sentence(here, refusal))
    return _back(form, "outside", "posts", f"/posts/{post.id}")


@router.post("/incidents/{number}/split")
def split_incident(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """The ticked posts are another matter: they become an incident of their own."""
    incident = find(here, number)
    if not may_act(here, "split", incident):
        raise Forbidden(NOT_YOURS)
    picked = [int(match[1]) for match in map(_PICKED.fullmatch, form) if match]
    key = form.text("key", 40)
    try:
        with here.console.db.transaction() as session:
            made = corrections.split(
                session,
                incident.id,
                picked,
                title=form.text("title", 60),
                note=form.text("note"),
                actor=here.account.login,
                channel="console",
                now=here.now,
                expected_version=form.integer("version"),
                idempotency_key=f"console:{incident.id}:split:{key}" if key else None,
            )
    except Refused as refusal:
        return show_incident(
            here, number, status=409, error=_sentence(here, refusal), failed="split", draft=form
        )
    return RedirectResponse(f"/incidents/{quote(made.number)}?done=split", 303)


@router.post("/proposals/{number}/{answer}")
def answer_proposal(
    number: str,
    answer: str,
    here: Annotated[Visit, Depends(member)],
    form: Annotated[Posted, Depends(own_form)],
) -> Response:
    """Accept (the merge or split is carried out) or refuse (never asked again)."""
    if answer not in ("accept", "refuse"):
        raise HTTPException(404)
    if not may_answer(here):
        raise Forbidden(NOT_YOURS)
    with here.console.db.reading() as session:
        asked = proposals.get_proposal(session, _number(number))
        incident = queries.get_incident(session, asked.incident_id) if asked else None
    if asked is None or incident is None or {asked.incident_id, asked.other_id} & hidden(here):
        raise HTTPException(404)
    who: dict[str, Any] = {
        "actor": here.account.login,
        "channel": "console",
        "now": here.now,
        "reason": form.text("reason", 500),
    }
    result = asked.incident_id
    try:
        with here.console.db.transaction() as session:
            if answer == "accept":
                result = corrections.accept(session, asked.id, **who)
            else:
                corrections.refuse(session, asked.id, **who)
            shown = queries.get_incident(session, result) or incident
    except Refused as refusal:
        if form.get("back") == "desk":
            return show_desk(here, status=409, error=_sentence(here, refusal), about=incident.number)
        return show_incident(here, incident.number, status=409, error=_sentence(here, refusal))
    if form.get("back") == "desk":
        return RedirectResponse(f"/?done={answer}&n={quote(shown.number)}#i-{shown.id}", 303)
    return RedirectResponse(f"/incidents/{quote(shown.number)}?done={answer}", 303)
