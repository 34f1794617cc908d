"""Letters of supervision: drafted from the record, every sentence with its evidence, sent by a named person, answered in time."""

from __future__ import annotations

import ast
import io
from datetime import timedelta
from pathlib import Path

import docx
import httpx
import pytest

from config.i18n import catalogue
from console import letters as writer
from incidents import accountability, letters, rebuild
from incidents.accountability import Proposal
from incidents.events import verify
from incidents.letters import LetterView
from incidents.queries import IncidentView
from incidents.session import Database
from incidents.states import Assign, Confirm, Respond, SignFor
from reports import accountability_job
from reports.letter_docx import letter_docx
from tests.console_world import AUDIT_KEY, World, client, submit, world

UNIT = "market-regulation"


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    for login, role, unit in (
        ("sun", "supervisor", ""),
        ("li", "supervisor", ""),
        ("qian", "leader", ""),
        ("clerk", "department", UNIT),
        ("other", "department", "education"),
        ("root", "administrator", ""),
        ("an", "analyst", ""),
    ):
        made.account(login, role, unit, name=login)
    return made


def late(town: World, level: str = "general", hours: float = 49) -> IncidentView:
    """A case of the unit that has run out of its time."""
    case = town.incident("食堂饭菜有异味。怎么办？", ["饭菜有异味"] * 3, level=level)
    town.run()
    commands = (Confirm("", level if level == "major" else ""), Assign(UNIT))
    town.act(case, *commands)
    town.now += timedelta(hours=1)
    town.act(case, SignFor())
    town.now += timedelta(hours=hours)
    town.run()
    return town.get(case.id)


def steps(town: World, case: IncidentView) -> dict[str, Proposal]:
    with town.db.reading() as session:
        return {one.level: one for one in accountability.of_incident(session, case.id)}


def approve(town: World, step: Proposal, ground: str = "", by: str = "qian") -> None:
    with town.db.transaction() as session:
        accountability.decide(
            session,
            step.id,
            approve=True,
            by=by,
            name="钱主任",
            reason="超时未办",
            ground=ground,
            channel="console",
            now=town.now,
        )
    town.run()


def drafted(town: World, browser: httpx.Client, kind: str, **fields: str) -> httpx.Response:
    page = browser.get("/accountability").text
    token = page.split('name="csrf" value="', 1)[1].split('"', 1)[0]
    return browser.post(
        "/accountability/letters",
        data={"csrf": token, "period": "2026-11", "kind": kind, **fields},
        headers={"Origin": "http://console.test"},
    )


def letter(town: World, number: int = 1) -> LetterView:
    with town.db.reading() as session:
        found = letters.get(session, number)
    assert found is not None
    return found


def test_sentences_are_cut_with_their_citations_and_ungrounded_ones_are_named() -> None:
    body = ["甲于 9:30 交办【E1】。乙未回应。【E2】", "Third one cites【R03】. Fourth does not."]
    assert letters.sentences(body[0]) == ["甲于 9:30 交办【E1】。", "乙未回应。【E2】"]
    assert letters.ungrounded(body, {"E1": {}, "E2": {}, "R03": {}}) == ["Fourth does not."]
    assert letters.ungrounded(["依据 2.5 小时【E1】"], {"E1": {}}) == []
    assert letters.ungrounded(["凭空一句【E9】。"], {"E1": {}}) == ["凭空一句【E9】。"]
    assert letters.ungrounded(["一【E1】！二？三【E1】。"], {"E1": {}}) == ["二？"]


def test_an_order_is_drafted_edited_issued_received_and_answered(town: World) -> None:
    case = late(town)
    step = steps(town, case)["L3"]
    sun = client(town, "sun")
    assert drafted(town, sun, "order", step=str(step.id)).status_code == 303
    made = letter(town)
    assert (made.kind, made.department, made.level, made.version) == ("order", UNIT, "L3", 1)
    assert letters.ungrounded(made.body, made.evidence) == []
    assert {"R03", "L3", "P15", case.number} <= set(made.evidence)
    assert "48小时" in made.evidence["R03"]["quote"]
    # every event that is cited is in the chain with this hash
    with town.db.engine.connect() as connection:
        chain = {row[0]: row[1] for row in connection.exec_driver_sql("SELECT seq, hash FROM incident_event")}
    cited = {code: given for code, given in made.evidence.items() if code.startswith("E")}
    assert len(cited) >= 4
    assert all(chain[int(code[1:])] == given["hash"] for code, given in cited.items())
    page = sun.get("/accountability/letters/1").text
    assert "食堂饭菜有异味" in page
    # a sentence of one's own without evidence is refused, and what was typed stays
    added = "\n".join([*made.body, "你单位态度恶劣。"])
    refused = submit(sun, page, "/accountability/letters/1/edit", body=added)
    assert refused.status_code == 409
    assert refused.text.count("你单位态度恶劣") == 2
    better = "\n".join([*made.body[:-1], "请于收到之日起十个工作日内书面回复【P15】。"])
    assert submit(sun, page, "/accountability/letters/1/edit", body=better).status_code == 303
    assert letter(town).version == 2
    with town.db.reading() as session:
        assert [one[0] for one in letters.versions(session, letter(town))] == [1, 2]
    stale = submit(
        sun, page, "/accountability/letters/1/decide", approver="孙", reason="属实", decision="approve"
    )
    assert stale.status_code == 409, "decided on another version than was read"
    page = sun.get("/accountability/letters/1").text
    sign = {"approver": "孙督办", "reason": "属实", "decision": "approve"}
    early = submit(sun, page, "/accountability/letters/1/decide", **sign)
    assert early.status_code == 409
    assert "须先批准该项措施" in early.text
    approve(town, step)
    assert (
        submit(sun, page, "/accountability/letters/1/decide", **(sign | {"approver": ""})).status_code == 409
    )
    assert submit(sun, page, "/accountability/letters/1/decide", **sign).status_code == 303
    issued = letter(town)
    assert issued.state == "approved"
    assert issued.reply_due_at is not None
    # Thursday 26 November: ten working days later is Thursday 10 December, 24:00
    assert issued.reply_due_at.astimezone(town.now.tzinfo).isoformat() == "2026-12-11T00:00:00+08:00"
    assert any("10" in one for one in issued.trace)
    # the department reads, signs and answers; another one sees nothing of it
    assert client(town, "other").get("/accountability/letters/1").status_code == 404
    clerk = client(town, "clerk")
    own = clerk.get("/accountability/letters/1").text
    assert "作出决定" not in own
    assert submit(clerk, own, "/accountability/letters/1/receive", person="王科长").status_code == 303
    empty = submit(clerk, own, "/accountability/letters/1/answer", text="已整改", url=" ")
    assert empty.status_code == 409
    answer = submit(clerk, own, "/accountability/letters/1/answer", text="已整改", url="济市监〔2026〕9号")
    assert answer.status_code == 303
    done = letter(town)
    assert (done.received_by, done.answer_url, done.late(town.now)) == ("王科长", "济市监〔2026〕9号", False)
    pdf = clerk.get("/accountability/letters/1.pdf")
    assert pdf.content.startswith(b"%PDF-")
    with town.db.reading() as session:
        assert [str(one) for one in rebuild.differences(session)] == []
        assert verify(session, AUDIT_KEY).ok


def test_an_order_without_an_answer_is_overdue_after_ten_working_days_and_supervision_hears(
    town: World,
) -> None:
    case = late(town)
    step = steps(town, case)["L3"]
    sun = client(town, "sun")
    drafted(town, sun, "order", step=str(step.id))
    approve(town, step)
    page = sun.get("/accountability/letters/1").text
    submit(
        sun, page, "/accountability/letters/1/decide", approver="孙督办", reason="属实", decision="approve"
    )
    due = letter(town).reply_due_at
    assert due is not None
    town.now = due - timedelta(minutes=1)
    town.run()
    assert letter(town).overdue_noticed_at is None
    town.now = due + timedelta(minutes=1)
    town.run()
    assert letter(town).overdue_noticed_at == town.now
    sun = client(town, "sun")
    assert "已超" in sun.get("/accountability").text
    with town.db.reading() as session:
        assert [str(one) for one in rebuild.differences(session)] == []


def test_a_talk_needs_a_ground_a_grave_matter_a_leader_and_another_hand(town: World) -> None:
    case = late(town, "major", hours=6)
    found = steps(town, case)
    sun, qian = client(town, "sun"), client(town, "qian")
    assert drafted(town, sun, "talk", step=str(found["L6"].id)).status_code == 409, "no ground was found yet"
    assert drafted(town, sun, "talk", step=str(found["L3"].id)).status_code == 409, (
        "an order leads to no talk"
    )
    approve(town, found["L6"], "late_report")
    assert drafted(town, sun, "talk", step=str(found["L6"].id)).status_code == 303
    made = letter(town)
    assert any("报告不及时" in one for one in made.body)
    page = sun.get("/accountability/letters/1").text
    assert "您的角色不能决定这一级措施" in page, "a supervisor does not decide on a talk"
    page = qian.get("/accountability/letters/1").text
    assert drafted(town, qian, "circular", step=str(found["L6"].id)).status_code == 303
    mine = qian.get("/accountability/letters/2").text
    sign = {"approver": "钱主任", "reason": "属实", "decision": "approve"}
    own = submit(qian, mine, "/accountability/letters/2/decide", **sign)
    assert own.status_code == 409, "whoever wrote it does not let it go out"
    assert submit(qian, page, "/accountability/letters/1/decide", **sign).status_code == 303
    # the matter is found to be a lesser one: nothing more goes out
    with town.db.transaction() as session:
        session.connection().exec_driver_sql("UPDATE incident SET level = 'general'")
    town.account("zhao", "leader", name="赵")
    zhao = client(town, "zhao")
    page = zhao.get("/accountability/letters/2").text
    assert submit(zhao, page, "/accountability/letters/2/decide", **sign).status_code == 409
    reject = sign | {"decision": "reject", "reason": "情节轻微"}
    assert submit(zhao, page, "/accountability/letters/2/decide", **reject).status_code == 303
    assert letter(town, 2).state == "rejected"
    assert letter(town, 1).reply_due_at is None


def test_a_following_step_is_drafted_about_the_clock_that_began_it(town: World) -> None:
    case = late(town)
    approve(town, steps(town, case)["L3"])
    for _ in range(8):
        town.now += timedelta(days=1)
        town.run()
    step = steps(town, case)["L4"]
    assert drafted(town, client(town, "sun"), "order", step=str(step.id)).status_code == 303
    made = letter(town)
    assert "R03" in made.evidence
    assert any("时限自" in one for one in made.body)
    assert letters.ungrounded(made.body, made.evidence) == []


def test_a_referral_follows_a_censure_that_changed_nothing(town: World) -> None:
    case = late(town, "major", hours=6)
    approve(town, steps(town, case)["L6"], "poor_handling")
    for _ in range(20):
        town.now += timedelta(days=1)
        town.run()
    step = steps(town, case)["L7"]
    sun = client(town, "sun")
    assert drafted(town, sun, "referral", step=str(step.id)).status_code == 409, "not approved, no ground"
    approve(town, step, "poor_handling")
    assert drafted(town, sun, "referral", step=str(step.id)).status_code == 303
    assert any("处置不力" in one for one in letter(town).body)


def test_praise_only_for_a_case_whose_clocks_were_all_kept(town: World) -> None:
    bad = late(town)
    case = town.incident("公交站台没有顶棚", ["没有顶棚"] * 3, domain="transport", began=timedelta(hours=1))
    town.run()
    town.act(case, Confirm(), Assign("transport"))
    town.now += timedelta(hours=5)
    sun = client(town, "sun")
    assert drafted(town, sun, "praise", number=case.number).status_code == 409, "not answered yet"
    town.act(case, Respond("https://gov.example.invalid/1"))
    assert drafted(town, sun, "praise", number=bad.number).status_code == 409
    assert drafted(town, sun, "praise", number=case.number).status_code == 303
    made = letter(town)
    assert made.kind == "praise"
    assert "予以通报表扬" in made.evidence["N82"]["quote"]
    assert letters.ungrounded(made.body, made.evidence) == []


def test_who_sees_what(town: World) -> None:
    late(town)
    accountability_job.run_due(town.db, town.bundle, town.now)
    everybody = {
        one: client(town, one).get("/accountability") for one in ("sun", "clerk", "other", "root", "an")
    }
    assert [everybody[one].status_code for one in everybody] == [200, 200, 200, 200, 403]
    assert 'id="u-market-regulation"' in everybody["sun"].text
    assert 'id="u-market-regulation"' in everybody["clerk"].text
    assert "QS-2026-000001" in everybody["clerk"].text
    assert 'id="u-' not in everybody["other"].text
    assert "QS-2026-000001" not in everybody["other"].text
    assert 'id="letters"' not in everybody["root"].text
    assert "<summary>作出决定" not in everybody["clerk"].text
    english = client(town, "sun", lang="en").get("/accountability").text
    assert "Accountability" in english


def test_every_sentence_of_a_letter_has_its_english() -> None:
    tree = ast.parse((Path(writer.__file__)).read_text(encoding="utf-8"))
    said = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "add"
        and isinstance(node.args[0], ast.Constant)
    }
    known = catalogue("console", "en")
    assert known is not None
    assert len(said) >= 12
    assert said - {message.id for message in known if message.string} == set()


def test_the_record_that_a_clerk_reads_holds_no_letter_in_the_making(town: World) -> None:
    case = late(town)
    sun = client(town, "sun")
    assert drafted(town, sun, "order", step=str(steps(town, case)["L3"].id)).status_code == 303
    body = letter(town).body[0]
    clerk = client(town, "clerk")
    for path in (
        f"/api/incidents/{case.number}/events",
        f"/incidents/{case.number}",
        f"/incidents/{case.number}/case.json",
    ):
        theirs, ours = clerk.get(path), sun.get(path)
        assert (theirs.status_code, ours.status_code) == (200, 200), path
        assert body not in theirs.text, path
        assert "letter_drafted" not in theirs.text, path
    assert "letter_drafted" in sun.get(f"/api/incidents/{case.number}/events").text


def test_what_people_type_about_a_letter_is_redacted_before_it_is_recorded(town: World) -> None:
    case = late(town)
    sun = client(town, "sun")
    assert drafted(town, sun, "order", step=str(steps(town, case)["L3"].id)).status_code == 303
    approve(town, steps(town, case)["L3"], by="qian")
    qian = client(town, "qian")
    address = "/accountability/letters/1"
    submit(
        qian,
        qian.get(address).text,
        f"{address}/decide",
        decision="approve",
        approver="钱主任",
        reason="超时，见来电 13812345678",
    )
    assert letter(town).state == "approved"
    clerk = client(town, "clerk")
    answered = submit(
        clerk,
        clerk.get(address).text,
        f"{address}/answer",
        text="已联系来电人 13812345678 并整改。",
        url="济市监〔2026〕9号",
    )
    assert answered.status_code == 303, answered.text
    assert "整改" in letter(town).answer
    with town.db.engine.connect() as connection:
        chain = str(connection.exec_driver_sql("SELECT payload FROM incident_event").all())
    assert "13812345678" not in chain


def test_a_letter_is_a_docx_that_a_clerk_can_edit(town: World) -> None:
    case = late(town)
    step = steps(town, case)["L3"]
    plain = client(town, "sun")
    drafted(town, plain, "order", step=str(step.id))
    assert plain.get("/accountability/letters/1.docx").status_code == 404, "nobody gave a maker of DOCX"
    assert ".docx" not in plain.get("/accountability/letters/1").text
    town.letter_docx = letter_docx
    sun = client(town, "sun")
    assert "/accountability/letters/1.docx" in sun.get("/accountability/letters/1").text
    answer = sun.get("/accountability/letters/1.docx")
    assert answer.headers["content-type"].endswith("wordprocessingml.document")
    paper = docx.Document(io.BytesIO(answer.content))
    said = [(one.style.name if one.style else "", one.text) for one in paper.paragraphs if one.text]
    assert ("QS Notice", "草稿，未经批准") in said
    assert [text for style, text in said if style == "QS To"] == ["市市场监督管理局："]
    bodies = [text.replace("\u2011", "-") for style, text in said if style == "QS Body"]
    assert bodies == list(letter(town).body), "the words of the record and nothing else"
    assert [text for style, text in said if style == "QS Sign"] == ["济南市", "　　年　月　日"]
    first = next(at for at, one in enumerate(paper.paragraphs) if one.style and one.style.name == "QS Sign")
    assert paper.paragraphs[first - 1].paragraph_format.keep_with_next, "no signature alone on a page"
    evidence = [text for style, text in said if style == "QS Small"]
    assert sum("SHA-256" in text for text in evidence) >= 4
    assert "导出人：sun（sun）" in evidence[-1]
    approve(town, step)
    page = sun.get("/accountability/letters/1").text
    done = submit(
        sun, page, "/accountability/letters/1/decide", approver="孙", reason="属实", decision="approve"
    )
    assert done.status_code == 303
    issued = docx.Document(io.BytesIO(client(town, "clerk").get("/accountability/letters/1.docx").content))
    words = "\n".join(one.text for one in issued.paragraphs)
    assert "草稿" not in words
    assert "批准人：孙" in words
    assert "回复期限" in words
    assert client(town, "other").get("/accountability/letters/1.docx").status_code == 404
    with town.db.engine.connect() as connection:
        kinds = connection.exec_driver_sql(
            "SELECT count(*) FROM incident_event WHERE kind = 'exported' AND actor IN ('sun', 'clerk')"
        ).scalar()
    assert kinds == 2


def test_a_letter_in_english_has_its_english(town: World) -> None:
    case = late(town)
    drafted(town, client(town, "sun"), "order", step=str(steps(town, case)["L3"].id))
    town.letter_docx = letter_docx
    content = client(town, "sun", lang="en").get("/accountability/letters/1.docx").content
    words = "\n".join(one.text for one in docx.Document(io.BytesIO(content)).paragraphs)
    assert f"about {case.number}" in words.replace("\u2011", "-")
    assert "This file can be edited" in words
