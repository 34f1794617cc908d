"""Correcting, taking out, splitting and answering proposals in the console, without JavaScript; and the pages that say why."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from incidents import events, labels, proposals, queries
from incidents.judgements import add_post, open_watching, save_judgements
from incidents.proposals import NewProposal
from incidents.queries import IncidentView
from incidents.session import Database
from tests.console_world import AUDIT_KEY, NOW, World, _judgement, client, hidden, submit, world

TEXTS = ["某小学食堂饭菜有异味", "孩子在食堂吃完肚子疼", "隔壁小区电梯坏了半个月"]


@pytest.fixture
def town(any_db: Database, tmp_path: Path) -> World:
    made = world(any_db, tmp_path)
    made.account()
    made.account("mei", "analyst", name="梅分析")
    made.account("audit", "auditor", name="审计")
    made.account("clerk", "department", "education", name="承办")
    return made


def ids(town: World, incident: IncidentView) -> list[int]:
    with town.db.reading() as session:
        return [row.id for row in queries.posts_of(session, incident.id)]


def correct(browser: httpx.Client, page: str, post: int, **fields: str) -> httpx.Response:
    """As a browser sends it: what the page showed goes along, and one choice differs."""
    html = browser.get(page).text
    form = html.split(f'action="/posts/{post}/correct"', 1)[1].split("</form>", 1)[0]
    chosen = dict(
        re.findall(r'<select [^>]*name="(\w+)">.*?<option value="([^"]*)" selected>', form, flags=re.DOTALL)
    )
    return submit(browser, html, f"/posts/{post}/correct", **{**chosen, **fields})


@pytest.mark.parametrize("login", ["lin", "mei"])
def test_a_person_corrects_on_the_incident_page_and_the_page_says_so(town: World, login: str) -> None:
    incident = town.incident("食堂问题", TEXTS)
    first = ids(town, incident)[0]
    browser = client(town, login)
    page = f"/incidents/{incident.number}"
    answer = correct(browser, page, first, tone="pos", about="school", reason="表扬信")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{page}?done=correct#p-{first}"
    html = browser.get(answer.headers["location"].split("#")[0]).text
    assert "更正已保存" in html
    assert "今天 10:20 改为“正面”，系统判为“负面”" in html
    assert {"lin": "林东", "mei": "梅分析"}[login] in html
    assert "投诉对象：学校" in html
    with town.db.reading() as session:
        assert events.verify(session, AUDIT_KEY).events > 1


def test_a_person_corrects_in_the_search_and_comes_back_to_it(town: World) -> None:
    incident = town.incident("食堂问题", TEXTS)
    first = ids(town, incident)[0]
    browser = client(town, "mei")
    answer = correct(browser, "/search?q=食堂&tone=neg", first, domain="schooling")
    assert answer.status_code == 303
    where = httpx.URL(answer.headers["location"])
    assert (where.path, dict(where.params)["q"], dict(where.params)["done"]) == ("/search", "食堂", "correct")
    assert "系统判为“食品安全”" in browser.get("/search?q=食堂").text
    assert browser.get("/search?domain=schooling").text.count('<article class="post"') == 1, (
        "counts are right at once"
    )


def test_what_somebody_else_corrected_meanwhile_is_not_undone(town: World) -> None:
    incident = town.incident("食堂问题", TEXTS)
    first = ids(town, incident)[0]
    page = f"/incidents/{incident.number}"
    one, two = client(town), client(town, "mei")
    old = one.get(page).text
    form = old.split(f'action="/posts/{first}/correct"', 1)[1].split("</form>", 1)[0]
    shown = dict(re.findall(r'name="seen_(\w+)" value="([^"]*)"', form))
    assert correct(two, page, first, tone="neu").status_code == 303
    submit(one, old, f"/posts/{first}/correct", **{**shown, "risk": "3"})
    with town.db.reading() as session:
        row = next(row for row in queries.posts_of(session, incident.id) if row.id == first)
        assert (row.tone, row.risk) == ("neu", 3)
        assert {label.actor for label in labels.of_post(session, first)} == {"lin", "mei"}


def test_pressing_twice_is_no_error_and_saying_nothing_is_explained(town: World) -> None:
    incident = town.incident("食堂问题", TEXTS)
    first = ids(town, incident)[0]
    browser = client(town)
    html = browser.get(f"/posts/{first}").text
    for _ in range(2):
        assert submit(browser, html, f"/posts/{first}/correct", tone="neu").status_code == 303
    answer = submit(browser, html, f"/posts/{first}/correct", tone="neg")
    assert answer.status_code == 409
    assert "没有改动任何一项" in answer.text
    with town.db.reading() as session:
        assert len(labels.of_post(session, first)) == 1
    assert submit(browser, html, f"/posts/{first}/correct", tone="angry").status_code == 409


@pytest.mark.parametrize("login", ["audit", "clerk"])
def test_other_roles_neither_see_the_forms_nor_get_through(town: World, login: str) -> None:
    incident = town.incident("食堂问题", TEXTS)
    first = ids(town, incident)[0]
    other = town.incident("电梯问题", TEXTS)
    with town.db.transaction() as session:
        asked = proposals.propose(session, NewProposal("merge", incident.id, 0.6, other.id), NOW)
    browser = client(town, login)
    home = browser.get("/").text
    assert 'class="asked"' not in home
    if login == "audit":
        html = browser.get(f"/incidents/{incident.number}").text
        assert "/correct" not in html
        assert "split-form" not in html
        assert "/accept" not in html
    for address in (
        f"/posts/{first}/correct",
        f"/posts/{first}/outside",
        f"/incidents/{incident.number}/split",
        f"/proposals/{asked}/accept",
    ):
        token = re.search(r'name="csrf" value="([^"]+)"', home)
        assert token
        answer = browser.post(address, data={"csrf": token[1], "tone": "pos", f"post-{first}": "1"})
        assert answer.status_code in (403, 404), address
    with town.db.reading() as session:
        assert labels.count_labels(session) == {}
        assert len(proposals.open_proposals(session)) == 1


def test_an_analyst_does_not_split_or_answer(town: World) -> None:
    incident = town.incident("食堂问题", TEXTS)
    html = client(town, "mei").get(f"/incidents/{incident.number}").text
    assert "/correct" in html
    assert "split-form" not in html
    assert "您的角色可以更正研判" in html


def test_a_form_without_its_token_changes_nothing(town: World) -> None:
    incident = town.incident("食堂问题", TEXTS)
    first = ids(town, incident)[0]
    other = town.incident("电梯问题", TEXTS)
    with town.db.transaction() as session:
        asked = proposals.propose(session, NewProposal("merge", incident.id, 0.6, other.id), NOW)
    browser = client(town)
    for address in (
        f"/posts/{first}/correct",
        f"/posts/{first}/outside",
        f"/incidents/{incident.number}/split",
        f"/proposals/{asked}/refuse",
    ):
        for data in ({}, {"csrf": "guessed"}):
            assert (
                browser.post(address, data={**data, "tone": "pos", f"post-{first}": "1"}).status_code == 403
            ), address
    with town.db.reading() as session:
        assert labels.count_labels(session) == {}
        assert len(proposals.open_proposals(session)) == 1


@pytest.mark.parametrize(
    "back",
    ["https://evil.example/", "//evil.example/search", "/\\evil.example", "/search\r\nX: y", "/logout", ""],
)
def test_the_way_back_stays_on_this_site(town: World, back: str) -> None:
    incident = town.incident("食堂问题", TEXTS)
    first = ids(town, incident)[0]
    answer = correct(client(town), f"/posts/{first}", first, tone="pos", back=back)
    assert answer.headers["location"] == f"/posts/{first}?done=correct#p-{first}"


def test_a_post_is_taken_out_of_its_incident(town: World) -> None:
    incident = town.incident("食堂问题", TEXTS)
    last = ids(town, incident)[-1]
    browser = client(town, "mei")
    page = f"/incidents/{incident.number}"
    answer = submit(browser, browser.get(page).text, f"/posts/{last}/outside", reason="说的是电梯")
    assert answer.headers["location"] == f"{page}?done=outside#posts"
    html = browser.get(page).text
    assert TEXTS[2] not in html
    assert "移出不属于本事件的帖子" in html
    assert town.get(incident.id).posts == 2
    why = browser.get(f"/posts/{last}").text
    assert "为何不在事件中" in why
    assert "说的是电梯" in why
    again = submit(browser, browser.get(page).text, f"/posts/{ids(town, incident)[0]}/outside")
    assert again.status_code == 303
    assert "/outside" not in browser.get(page).text, "the last post cannot leave"


def test_ticked_posts_become_an_incident_of_their_own_once(town: World) -> None:
    incident = town.incident("食堂问题", TEXTS, copies=1)
    first, _, last = ids(town, incident)
    browser = client(town)
    page = f"/incidents/{incident.number}"
    html = browser.get(page).text
    assert submit(browser, html, f"{page}/split").status_code == 409
    fields = {f"post-{last}": "1", "note": "另一小区", "title": "电梯停用半月"}
    places = {submit(browser, html, f"{page}/split", **fields).headers["location"] for _ in range(2)}
    assert len(places) == 1, "pressed twice, split once"
    made = browser.get(places.pop()).text
    assert "电梯停用半月" in made
    assert f"由{incident.number}拆分而来" in made
    assert "拆分出新事件" in browser.get(page).text
    town.run()
    assert "时限起算" in browser.get(f"/incidents/{re.findall('QS-[0-9-]+', made)[0]}").text, "its clocks run"
    everything = {f"post-{first}": "1", f"post-{ids(town, incident)[1]}": "1"}
    refused = submit(browser, browser.get(page).text, f"{page}/split", **everything)
    assert refused.status_code == 409
    assert "不能移走全部帖子" in refused.text


def test_open_questions_are_on_the_desk_and_side_by_side_on_the_page(town: World) -> None:
    one = town.incident("食堂问题", TEXTS)
    two = town.incident("小学食堂异味", ["食堂有味", "又有味", "还有味"])
    with town.db.transaction() as session:
        asked = proposals.propose(
            session,
            NewProposal(
                "merge", one.id, 0.62, two.id, reasons={"words": ["食堂"], "places": ["某小学"], "days": 0.0}
            ),
            NOW,
        )
    browser = client(town)
    home = browser.get("/").text
    assert f"/incidents/{one.number}#q-{asked}" in home
    folded = home.split('class="asked"', 1)[1].split("</details>", 1)[0]
    assert "食堂有味" in folded, "both sides can be compared without leaving the desk"
    assert f'action="/proposals/{asked}/accept"' in folded
    for view in (one, two):
        html = browser.get(f"/incidents/{view.number}").text
        block = html.split(f'id="q-{asked}"', 1)[1].split("</article>", 1)[0]
        assert "食堂问题" in block
        assert "小学食堂异味" in block
        assert "共同用词：食堂" in block
        assert "62%" in block
    answer = submit(browser, html, f"/proposals/{asked}/accept", reason="同一所小学")
    assert answer.headers["location"] == f"/incidents/{one.number}?done=accept"
    assert town.get(two.id).parent_id == one.id
    late = browser.post(f"/proposals/{asked}/refuse", data=hidden(html, f"/proposals/{asked}/accept"))
    assert late.status_code == 409
    assert "已由他人处理" in late.text
    assert 'class="asked"' not in browser.get("/").text


def test_a_question_about_a_split_is_refused_for_good(town: World) -> None:
    one = town.incident("食堂问题", TEXTS)
    last = ids(town, one)[-1]
    with town.db.transaction() as session:
        reasons = {"leave": {"words": ["电梯"]}, "stay": {"words": ["食堂"]}}
        asked = proposals.propose(
            session, NewProposal("split", one.id, 0.9, posts=(last,), reasons=reasons), NOW
        )
    browser = client(town)
    html = browser.get(f"/incidents/{one.number}").text
    block = html.split(f'id="q-{asked}"', 1)[1].split("</article>", 1)[0]
    stays, leaves = block.split("拆出为新事件", 1)
    assert TEXTS[0] in stays
    assert TEXTS[2] in leaves
    token = re.search(r'name="csrf" value="([^"]+)"', html)
    assert token
    answer = browser.post(f"/proposals/{asked}/refuse", data={"csrf": token[1]})
    assert answer.headers["location"].endswith("?done=refuse")
    with town.db.reading() as session:
        assert labels.latest(session, [last])[last]["merge"].value == str(one.id)
    with town.db.transaction() as session:
        assert proposals.propose(session, NewProposal("split", one.id, 0.9, posts=(last,)), NOW) is None


def test_a_cluster_says_why_it_was_not_raised(town: World) -> None:
    with town.db.transaction() as session:
        cluster = open_watching(
            session, title="停水", domain="housing", district="历下区", first_posted_at=NOW, sketch={}
        )
        made = [town.post(session, "停水了", NOW), town.post(session, "又停水", NOW)]
        save_judgements(session, [_judgement(id_, "housing", "历下区", None, risk=1) for id_ in made], NOW)
        for id_ in made:
            add_post(
                session, cluster, id_, similarity=1.0, voice=True, published_at=NOW, negative=True, now=NOW
            )
    browser = client(town)
    html = browser.get(f"/clusters/{cluster}").text
    assert "为何没有提示" in html
    assert "未报" in html
    assert "快速通道：没有危险词" in html
    assert "not raised" in browser.get(f"/clusters/{cluster}?lang=en").text
    assert f'href="/clusters/{cluster}"' in browser.get("/search?q=停水").text
    answer = submit(browser, browser.get(f"/clusters/{cluster}").text, f"/posts/{made[1]}/outside")
    assert answer.headers["location"].startswith(f"/clusters/{cluster}?done=outside")
    incident = town.incident("食堂问题", TEXTS)
    assert browser.get(f"/clusters/{incident.id}").headers["location"] == f"/incidents/{incident.number}"


@pytest.mark.parametrize(
    "path", ["/posts/999", "/posts/abc", "/posts/²", "/clusters/999", "/clusters/0x1", f"/posts/{'9' * 40}"]
)
def test_what_is_not_there_is_a_plain_answer(town: World, path: str) -> None:
    assert client(town).get(path).status_code == 404


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_post_says_why_it_was_judged_so_in_both_languages(town: World, lang: str) -> None:
    incident = town.incident("食堂问题", TEXTS)
    first = ids(town, incident)[0]
    html = client(town, "mei", lang=lang).get(f"/posts/{first}").text
    assert ("Tone: negative" if lang == "en" else "情绪：负面") in html
    assert len(re.findall(r"<h1\b", html)) == 1
    found = re.findall(r'\bid="([^"]+)"', html)
    assert len(found) == len(set(found))
    assert client(town, "clerk").get(f"/posts/{first}").status_code == 403


def test_a_question_answered_on_the_desk_leads_back_to_the_desk(town: World) -> None:
    one = town.incident("食堂问题", TEXTS)
    two = town.incident("小学食堂异味", ["食堂有味", "又有味", "还有味"])
    with town.db.transaction() as session:
        asked = proposals.propose(session, NewProposal("merge", one.id, 0.62, two.id), NOW)
    browser = client(town)
    html = browser.get("/").text
    answer = submit(browser, html, f"/proposals/{asked}/accept")
    assert answer.headers["location"].startswith("/?done=accept")
    assert "已采纳建议" in browser.get(answer.headers["location"]).text
    late = submit(browser, html, f"/proposals/{asked}/accept")
    assert late.status_code == 409
    assert "已由他人处理" in late.text
    assert 'id="live"' in late.text
