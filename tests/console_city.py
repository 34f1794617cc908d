"""A full duty desk of an invented city, served over loopback to a Chromium: for axe, journeys and the pictures of the docs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import uvicorn

from commands.public import publish
from incidents import proposals
from incidents.installation import Installation
from incidents.proposals import NewProposal
from incidents.queries import IncidentView
from incidents.states import Acknowledge, Assign, Confirm, Evaluate, Inform, Respond, SignFor
from reports import accountability_job, evaluation_job
from reports import job as report_job
from tests.console_world import ZONE, World, client, submit

#: role -> login; all share the password of tests.console_world
PEOPLE = {
    "duty": "lin",
    "analyst": "mei",
    "department": "wang",
    "supervisor": "zhou",
    "leader": "qin",
    "administrator": "admin",
    "auditor": "shen",
}
#: when the public edition of the city's month is made
DECEMBER = datetime(2026, 12, 1, 8, tzinfo=ZONE)


def people(town: World) -> None:
    """One account of each role; the clerk works at the market regulator."""
    names = {
        "duty": "林东",
        "analyst": "梅析",
        "department": "王经办",
        "supervisor": "周督办",
        "leader": "秦主任",
        "administrator": "管理员",
        "auditor": "沈审计",
    }
    for role, login in PEOPLE.items():
        unit = "market-regulation" if role == "department" else ""
        town.account(login, role, unit, names[role])


def settle(town: World) -> dict[str, IncidentView]:
    """Eight incidents in as many stages, an open question, sources of which one is ill; by a short name each."""
    made: dict[str, IncidentView] = {}
    hour = timedelta(hours=1)
    made["old"] = town.incident(
        "老旧小区二次供水水箱多年未清洗，居民反映水有异味",
        [
            "自来水有一股漂白粉味，水箱从来没人洗",
            "物业说归自来水公司管，自来水公司说归物业",
            "老人不敢喝水，天天买桶装水",
        ],
        domain="housing",
        district="市中区",
        began=130 * hour,
        every=9 * hour,
        at=town.now - 100 * hour,
    )
    made["school"] = town.incident(
        "某实验小学学区划片调整未公示，家长质疑程序",
        [
            "划片突然改了，没有任何公示",
            "去年承诺的学位今年没有了",
            "打了三次电话都说在研究",
            "孩子九月上学怎么办",
        ],
        domain="schooling",
        district="历城区",
        began=30 * hour,
        every=3 * hour,
        at=town.now - 26 * hour,
    )
    made["market"] = town.incident(
        "农贸市场水产摊缺斤短两，投诉后无人处理",
        ["买三斤虾回家称只有两斤四两", "公平秤坏了半年没人修", "市场管理处互相推"],
        district="历下区",
        began=54 * hour,
        every=5 * hour,
        at=town.now - 40 * hour,
    )
    made["lift"] = town.incident(
        "安置房电梯停用二十天，高层老人无法下楼",
        ["十七楼，老人二十天没下过楼", "维修基金批不下来", "物业只会贴通知"],
        domain="housing",
        district="槐荫区",
        level="serious",
        began=20 * hour,
        every=2 * hour,
        at=town.now - 15 * hour,
    )
    made["fees"] = town.incident(
        "幼儿园收取伙食费不公示，家长要求公开账目",
        ["伙食费涨了一百五，账目从不公开", "问园长说按规定，哪条规定", "孩子说顿顿白菜"],
        domain="schooling",
        district="天桥区",
        began=70 * hour,
        every=4 * hour,
        at=town.now - 60 * hour,
    )
    for name in ("old", "school", "market", "lift", "fees"):
        town.act(made[name], Acknowledge(epoch=made[name].epoch))
        if name != "lift":
            town.act(town.get(made[name].id), Confirm("已电话核实"))
    made["lift"] = town.act(town.get(made["lift"].id), Confirm("已电话核实", "serious"))
    town.act(made["market"], Assign("market-regulation", "王经办", "请现场检定公平秤", ("urban-management",)))
    town.act(made["fees"], Assign("education", "", ""))
    town.act(town.get(made["fees"].id), SignFor("张老师"))
    told = "https://www.jinan.example.invalid/col1/art_318.html"
    town.act(town.get(made["fees"].id), Inform(told, "教育局：已派员核查该园伙食费账目"))
    town.act(
        town.get(made["fees"].id),
        Respond("https://www.jinan.example.invalid/col1/art_322.html", "账目已公开，多收部分退还"),
    )
    town.act(town.get(made["fees"].id), Evaluate(86, "回应及时，退费已到账"), actor="zhou")
    made["canteen"] = town.incident(
        "某中学食堂午餐后多名学生呕吐送医",
        [
            "孩子吃完食堂午饭食物中毒，现在在医院输液",
            "班里七八个孩子都吐了，学校说没事",
            "急诊室全是同校的家长",
            "老师让删群里的消息，到底怎么回事",
            "食堂上周就有人反映肉有味",
            "有没有人管管学校食堂",
        ],
        level="major",
        began=timedelta(minutes=55),
        every=timedelta(minutes=5),
        track="fast",
        copies=3,
        elsewhere={2: "市中区", 4: "历城区", 5: "市中区"},
    )
    made["canteen2"] = town.incident(
        "中学门口小饭桌卫生差，学生腹泻",
        ["小饭桌后厨全是苍蝇", "孩子拉肚子两天了，隔壁孩子也是", "执照都没有还在收学生"],
        began=timedelta(hours=2),
        every=timedelta(minutes=21),
    )
    made["heat"] = town.incident(
        "集中供暖首日多个小区室温不足十六度",
        ["供热第一天家里十五度", "热线一直占线", "交了费不热怎么退", "孩子冻感冒了"],
        domain="housing",
        district="高新区",
        level="serious",
        began=timedelta(hours=5),
        every=timedelta(minutes=40),
        copies=1,
    )
    town.run()
    with town.db.transaction() as session:
        proposals.propose(
            session,
            NewProposal(
                "merge",
                made["canteen"].id,
                0.71,
                made["canteen2"].id,
                reasons={"words": ["中学", "学生"], "places": ["某中学"], "days": 0.0},
            ),
            town.now,
        )
    town.sources()
    return {name: town.get(view.id) for name, view in made.items()}


def papers(town: World, made: dict[str, IncidentView]) -> None:
    """What months of work leave behind: tables, evaluations, a report, a public edition, a letter being written."""
    hour = timedelta(hours=1)
    good = town.incident(
        "校门口护栏损坏，次日已修复",
        ["护栏断了一截，孩子过马路不安全", "今天看到工人来修了"],
        domain="schooling",
        began=4 * hour,
        every=hour,
        at=town.now - hour,
    )
    good = town.act(good, Confirm("已电话核实"), Assign("education"), SignFor("张老师"))
    told = "https://www.jinan.example.invalid/col1/art_330.html"
    made["praised"] = town.act(
        good, Inform(told, "教育局：已派员查看"), Respond(told, "护栏已修复"), Evaluate(95, "当日办结")
    )
    evaluation_job.run_due(town.db, town.bundle, town.now)
    accountability_job.run(town.db, town.bundle, "2026-11", town.now)
    report_job.run(town.db, town.bundle, town.keys, town.now)
    home = Installation(town.db, town.bundle, town.keys)
    publish(home, "2026-11", None, "admin", DECEMBER)
    supervisor = client(town, PEOPLE["supervisor"])
    page = supervisor.get("/accountability").text
    answer = submit(supervisor, page, "/accountability/letters", number=made["praised"].number)
    assert answer.status_code == 303, answer.text


@contextmanager
def served(town: World) -> Iterator[str]:
    """The console of a world on a free port of loopback; its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    server = uvicorn.Server(
        uvicorn.Config(town.app(), log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
