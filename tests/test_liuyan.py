"""人民网领导留言板, read from a loopback site that answers in the real form: by forum, newest first, page by page."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from config.sources import LiuyanSource
from incidents import judgements, lifecycle, queries
from incidents.models import Post
from incidents.posts import list_quarantine, unjudged
from incidents.session import Database
from incidents.states import Detect
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Answer, Hit, Site

PATH = "/pro-dfbbs-front/threads/queryThreadsList"
#: 2026-11-23 09:00 at Shanghai
MORNING = 1_795_395_600


def message(tid: int, **more: Any) -> dict[str, Any]:
    return {
        "tid": tid,
        "subject": f"小区停水问题第{tid}次反映",
        "content": f"<p>我们小区已经停水三天，第{tid}次反映，无人处理。</p>",
        "dateline": MORNING - (1000 - tid % 1000) * 60,
        "domainName": "城建",
        "typeName": "投诉",
        "stateInfo": "待回复",
        "answerId": 0,
        "answerOrganization": None,
        "answerContent": None,
        "favNum": 2,
        "ip": "203.0.113.77",
        "nickName": f"泉水叮咚{tid}",
        "gradeManner": 0,
        **more,
    }


class Board:
    """The forums of the site; `messages[fid]` newest first."""

    def __init__(self, site: Site) -> None:
        self.messages: dict[str, list[Any]] = {}
        self.forms: list[dict[str, str]] = []
        site.on(PATH, self.answer)

    def answer(self, hit: Hit) -> Answer:
        form = {name: values[0] for name, values in parse_qs(hit.body.decode()).items()}
        self.forms.append(form)
        every = self.messages.get(form["fid"], [])
        last = int(form["lastItem"])
        at = next(
            (n + 1 for n, one in enumerate(every) if isinstance(one, dict) and one.get("tid") == last), 0
        )
        return reply(every[at : at + int(form["pageSize"])])


def reply(rows: Any, result: str = "success", words: str = "") -> Answer:
    body = json.dumps({"result": result, "resultDesc": words, "responseData": rows}, ensure_ascii=False)
    headers = {"Content-Type": "application/json;charset=UTF-8", "Set-Cookie": "JSESSIONID=1; Path=/"}
    return Answer(200, body.encode(), headers)


def board(site: Site, *fids: int, **more: Any) -> LiuyanSource:
    papers = {"reason": "该平台没有订阅源", "fids": fids or (539,), "page_size": 5}
    found = source("ly", "liuyan", site.url + PATH, **{**papers, **more})
    assert isinstance(found, LiuyanSource)
    return found


def test_forums_are_read_to_their_known_messages_and_no_further(db: Database) -> None:
    with Site() as site:
        site_board = Board(site)
        site_board.messages = {"539": [message(n) for n in range(120, 108, -1)], "1007": [message(300)]}
        first = crawl(db, board(site, 539, 1007))
        assert [(s.state, s.evidence) for s in first.sources] == [("ok", "13 entries, 13 new posts")]
        asked = [(form["fid"], form["lastItem"]) for form in site_board.forms]
        assert sorted(asked) == [
            ("1007", "0"),
            ("1007", "300"),  # a short page is no proof of the end: the site gives 10 to 20 as it likes
            ("539", "0"),
            ("539", "111"),
            ("539", "116"),
        ]
        assert {hit.method for hit in site.log(PATH)} == {"POST"}
        assert not any("cookie" in hit.headers for hit in site.log())
        assert site.log(PATH)[0].headers["x-requested-with"] == "XMLHttpRequest"

        site_board.forms.clear()
        (told,) = crawl(db, board(site, 539, 1007), now=NOW + timedelta(hours=1)).sources
        assert told.state == "unchanged"
        assert len(site_board.forms) == 2
        site_board.messages["539"].insert(0, message(121))
        site_board.forms.clear()
        assert crawl(db, board(site, 539, 1007), now=NOW + timedelta(hours=2)).new_posts == 1
        # one page with news, one without, and the other forum
        assert len(site_board.forms) == 3


def test_name_and_network_address_never_reach_the_database(db: Database) -> None:
    with Site() as site:
        words = "泉水叮咚7网友您好：已联系您13812345678核实，管网今晚修复。"
        Board(site).messages = {
            "539": [
                message(
                    7,
                    content="泉水叮咚7再次反映停水，电话13812345678",
                    answerContent=words,
                    answerOrganization="某区人民政府",
                    stateInfo="已办理",
                ),
                message(6, nickName="匿名网友"),
                {"nickName": "路过的人甲", "ip": "203.0.113.78", "subject": "没有编号"},
            ]
        }
        assert crawl(db, board(site)).new_posts == 2
        with db.reading() as session:
            posts = {post.external_id: post for post in session.scalars(select(Post))}
            everything = repr([vars(post) for post in posts.values()]) + repr(list_quarantine(session))
            session.expunge_all()
            (aside,) = list_quarantine(session)
        assert not [
            word for word in ("泉水叮咚", "路过的人甲", "203.0.113", "13812345678") if word in everything
        ]
        assert posts["7"].author_key is not None
        assert posts["6"].author_key is None
        assert posts["7"].url == site.url + "/threads/content?tid=7"
        assert posts["7"].published_at == datetime.fromtimestamp(MORNING - 993 * 60, UTC)
        assert posts["7"].provenance["answer"] == {
            "organization": "某区人民政府",
            "text": "[网名]网友您好：已联系您[手机号]核实，管网今晚修复。",
        }
        assert posts["7"].provenance["state"] == "已办理"
        assert "answer" not in posts["6"].provenance
        assert "管网今晚修复" not in posts["7"].text  # what the office says is no citizen's word
        assert aside.reason == "no tid"


@pytest.mark.parametrize(("status", "pause"), [(403, timedelta(hours=6)), (429, timedelta(minutes=20))])
def test_a_refusal_ends_the_reading_for_all_forums(db: Database, status: int, pause: timedelta) -> None:
    with Site() as site:
        headers = {"Retry-After": "1200"} if status == 429 else {}
        site.on(PATH, Answer(status, b"<html>403 Forbidden</html>", {"Content-Type": "text/html", **headers}))
        place = board(site, 539, 1007, 1008, every_min=5)
        (told,) = crawl(db, place, block_pause_h=6).sources
        assert told.state == "blocked"
        assert site.hits(PATH) == 1
        assert crawl(db, place, now=NOW + pause - timedelta(minutes=1), block_pause_h=6).sources == ()
        Board(site).messages = {"539": [message(1)]}
        assert crawl(db, place, now=NOW + pause, block_pause_h=6).new_posts == 1


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (reply([], "fail", "请先登录"), "login", "请先登录"),
        (reply([], "fail", "访问过于频繁"), "blocked", "访问过于频繁"),
        (reply(None, "fail", "论坛不存在"), "changed", "check fids"),
        (reply({"list": []}), "changed", "responseData is no list"),
        (reply([{"id": 1}, {"id": 2}]), "changed", "none of 2 messages"),
        (Answer(200, b"<html><body>\xe8\xaf\xb7\xe5\xae\x8c\xe6\x88\x90\xe5\xae\x89\xe5\x85\xa8\xe9\xaa\x8c\xe8\xaf\x81</body></html>", {"Content-Type": "text/html"}), "blocked", "安全验证"),
        (Answer(200, b"[]", {"Content-Type": "application/json"}), "changed", "names no result"),
        (reply([]), "empty", "no entry"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_messages_is_told_as_what_it_is(
    db: Database, answer: Answer, state: str, words: str
) -> None:
    with Site() as site:
        site.on(PATH, answer)
        (told,) = crawl(db, board(site)).sources
        assert (told.state, words in told.evidence) == (state, True), told.evidence


def test_a_message_shown_late_is_taken_and_one_that_retention_removed_is_not(db: Database) -> None:
    with Site() as site:
        site_board = Board(site)
        site_board.messages = {"539": [message(500), message(499)]}
        crawl(db, board(site))
        late, old = message(450), message(400, dateline=MORNING - 200 * 86_400)
        site_board.messages = {"539": [message(500), message(499), late, old]}
        assert crawl(db, board(site), now=NOW + timedelta(hours=1)).new_posts == 1
        with db.reading() as session:
            assert any("第450次" in row.title for row in unjudged(session, 10))


def test_more_messages_than_the_limit_are_read_over_several_readings(db: Database) -> None:
    with Site() as site:
        Board(site).messages = {"539": [message(n) for n in range(20, 8, -1)]}
        place = board(site, max_items=5)
        assert [crawl(db, place, now=NOW + timedelta(hours=n)).new_posts for n in range(4)] == [5, 5, 2, 0]


def test_messages_beyond_the_pages_are_told(db: Database) -> None:
    with Site() as site:
        site_board = Board(site)
        site_board.messages = {"539": [message(1)]}
        crawl(db, board(site, max_pages=2))
        site_board.messages = {"539": [message(n) for n in range(60, 0, -1)]}
        (told,) = crawl(db, board(site, max_pages=2), now=NOW + timedelta(hours=1)).sources
        assert "older new ones may have been missed" in told.evidence


def test_the_entry_needs_a_reason_and_opens_the_clocks_of_the_message_board() -> None:
    with Site() as site:
        assert board(site).way == "message_board"
        with pytest.raises(ValidationError, match="needs `reason`"):
            board(site, reason="")
        with pytest.raises(ValidationError, match="stands here twice"):
            board(site, 539, 539)


def test_a_later_answer_is_found_deep_in_the_list_and_noted_on_its_incident(db: Database) -> None:
    with Site() as site:
        site_board = Board(site)
        site_board.messages = {"539": [message(n) for n in range(130, 110, -1)]}
        place = board(site, max_pages=9)
        assert crawl(db, place).new_posts == 20
        with db.transaction() as session:
            post_id = session.scalars(select(Post.id).where(Post.external_id == "112")).one()
            held = judgements.open_watching(
                session, title="停水", domain="", district="", first_posted_at=NOW, sketch={}
            )
            judgements.add_post(
                session, held, post_id, similarity=1.0, voice=True, published_at=NOW, negative=True, now=NOW
            )
            lifecycle.handle(
                session, held, Detect("burst", {}, "general"), actor="system", channel="system", now=NOW
            )
        answered = message(
            112,
            stateInfo="已办理",
            answerOrganization="某区人民政府",
            answerContent="您好：已联系您13812345678，管网今晚修复。",
        )
        site_board.messages["539"] = [
            answered if one["tid"] == 112 else one for one in site_board.messages["539"]
        ]

        site_board.forms.clear()
        assert crawl(db, place, now=NOW + timedelta(hours=1)).new_posts == 0
        assert len(site_board.forms) == 1  # nothing new on top: an ordinary reading stops there
        later = NOW + timedelta(hours=25)
        crawl(db, place, now=later)
        crawl(db, place, now=later + timedelta(hours=25))  # the same answer is noted once
        with db.reading() as session:
            post = session.get_one(Post, post_id)
            notes = [event for event in queries.events_of(session, held) if event.kind == "note"]
            provenance, text = post.provenance, post.text
        assert provenance["state"] == "已办理"
        assert provenance["answer"]["organization"] == "某区人民政府"
        assert provenance["answer_noticed_at"] == later.isoformat()
        assert "管网今晚修复" not in text
        (note,) = notes
        assert note.payload["text"].endswith("某区人民政府）：您好：已联系您[手机号]，管网今晚修复。")


def test_the_look_for_answers_ends_at_its_age(db: Database) -> None:
    with Site() as site:
        site_board = Board(site)
        old = [message(n, dateline=MORNING - 40 * 86400) for n in range(120, 100, -1)]
        site_board.messages = {"539": [message(130), *old]}
        crawl(db, board(site, max_pages=9))
        site_board.forms.clear()
        crawl(db, board(site, max_pages=9), now=NOW + timedelta(hours=25))
        assert len(site_board.forms) == 1
