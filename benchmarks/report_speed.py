"""A week of 100,000 posts and 1,000 incidents in all four formats: seconds of each step and peak memory of the process.

    python -m benchmarks.report_speed [--posts 100000] [--incidents 1000]

Everything is invented and goes into a SQLite file in a temporary folder through the functions that the product uses. The
evaluation of the week is computed and kept as the job of the house does it before the report; the report is then written by a
process of its own, which measures itself; targets: 10 s and 500 MB in all, typst 1 s.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, timedelta
from pathlib import Path

from incidents import clocks
from incidents.judgements import NewJudgement, add_post, open_watching, save_judgements
from incidents.lifecycle import handle
from incidents.migrate import upgrade
from incidents.posts import NewPost, save_posts
from incidents.session import Database
from incidents.states import Acknowledge, Assign, Command, Confirm, Detect, Respond

KEY = b"a key of nobody, for a benchmark"
DISTRICTS = ("历下区", "市中区", "槐荫区", "天桥区", "历城区", "章丘区")
DOMAINS = ("schooling", "housing", "food_safety", "transport", "environment", "health", "none")
OFFICES = ("education", "housing-construction", "market-regulation", "civil-affairs", "tianqiao", "zhangqiu")


def fill(url: str, posts: int, incidents: int) -> None:
    """The week before the report's Monday, and half as many posts in the one before that."""
    from tests.fakes.week import at

    dice = random.Random(7)
    db = Database(url, audit_key=KEY)
    upgrade(db.engine)
    ids: list[int] = []
    start = at(9, "00:00").astimezone(UTC)
    for batch in range(0, posts + posts // 2, 5000):
        new, judged = [], []
        for number in range(batch, min(batch + 5000, posts + posts // 2)):
            week = timedelta(days=0 if number < posts // 2 else 7)
            when = start + week + timedelta(seconds=dice.randrange(7 * 86400))
            new.append(
                NewPost(
                    source_id=f"s{number % 40}", external_id=f"p{number}", url=f"https://x.example.invalid/{number}",
                    title="", text=f"虚构帖文第{number}号", published_at=when, published_estimated=False,
                    fetched_at=when + timedelta(minutes=10), author_key=f"a{number % 60000}",
                )
            )  # fmt: skip
        with db.transaction() as session:
            saved = save_posts(session, new).ids
            judged = [
                NewJudgement(
                    post_id=post, domain=dice.choice(DOMAINS), domain_score=0.9,
                    tone=dice.choices(("neg", "neu", "pos"), (35, 45, 20))[0], tone_score=0.8, snownlp_score=0.2,
                    signal=True, signal_score=0.9, risk=0, risk_score=0.1, model_version="test",
                    districts=dice.sample(DISTRICTS, dice.choice((0, 1, 1, 2))), near_copy_of=None,
                )
                for post in saved
            ]  # fmt: skip
            save_judgements(session, judged, new[-1].fetched_at)
            ids += saved
    for batch in range(0, incidents, 100):
        with db.transaction() as session:
            for number in range(batch, min(batch + 100, incidents)):
                # all in one order of time: the record runs forward
                when = at(16, "00:30") + timedelta(seconds=number * 590_000 // incidents)
                district = dice.choice(DISTRICTS)
                incident = open_watching(
                    session, title=f"{district}虚构事件第{number}号", domain=DOMAINS[number % 6], district=district,
                    first_posted_at=when - timedelta(minutes=40), sketch={},
                )  # fmt: skip
                for post in ids[-1 - number * 5 : -1 - number * 5 - 5 : -1]:
                    add_post(
                        session, incident, post, similarity=0.9, voice=True,
                        published_at=when - timedelta(minutes=20), negative=True, now=when,
                    )  # fmt: skip
                why = {"track": "burst", "window_h": 6, "posts": 9, "voices": 9, "expected": 0.8}
                acts: list[Command] = [
                    Detect("burst", why, "general"),
                    Acknowledge(1),
                    Confirm(),
                    Assign(OFFICES[number % 6]),
                ]
                for step, act in enumerate(acts):
                    handle(
                        session,
                        incident,
                        act,
                        actor="wang",
                        channel="console",
                        now=when + timedelta(seconds=step * 40),
                    )
                clocks.open_deadline(
                    session, incident_id=incident, rule_id="R03", round=1, stops_on="responded", started_at=when,
                    due_at=when + timedelta(hours=48), provisional=False, calendar_version="test", trace=["test"],
                )  # fmt: skip
                if number % 3:
                    answered = when + timedelta(minutes=8)
                    handle(
                        session, incident, Respond(url="https://gov.example.invalid/a", published_at=answered),
                        actor="wang", channel="console", now=answered,
                    )  # fmt: skip
                    clocks.close_deadlines(session, incident, at=answered, stops_on="responded")
    db.close()


def evaluate(url: str, folder: Path) -> None:
    """The evaluations that the house has computed and kept by Monday morning, timed; they are no part of the report."""
    from reports.evaluation_job import run_due
    from tests.fakes.week import MONDAY, bundle_in

    began, turns = time.perf_counter(), 0
    db, bundle = Database(url, audit_key=KEY), bundle_in(folder)
    while (done := run_due(db, bundle, MONDAY)) is not None and done.looked_at:
        turns += 1
    db.close()
    print(f"evaluation of all incidents and the week, {turns} turns: {time.perf_counter() - began:.0f} s")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def measure(url: str, folder: Path) -> None:
    """The report of the week in all formats, timed."""
    began = time.perf_counter()
    from reports.build import build_weekly
    from reports.document import document
    from reports.docx import as_docx
    from reports.layout import Edition
    from reports.pdf import as_pdf
    from reports.render import LISTED, render
    from reports.tables import tables
    from reports.words import Words
    from reports.xlsx import as_xlsx
    from tests.fakes.week import MONDAY, WEEK, bundle_in

    bundle = bundle_in(folder)
    steps = {"imports": time.perf_counter() - began}

    def timed(name: str, since: float) -> None:
        steps[name] = time.perf_counter() - since

    db = Database(url, audit_key=KEY)
    now = time.perf_counter()
    with db.reading() as session:
        model = build_weekly(session, bundle, WEEK, MONDAY)
    timed("figures", now)
    now = time.perf_counter()
    drawn = render(model, Edition(), "zh_CN")
    timed("mail, page, text, charts", now)
    words = Words(model, "zh_CN", LISTED)
    paper = document(model, words, Edition(), [(one.name, one.alt, one.png) for one in drawn.images], "")
    now = time.perf_counter()
    pdf = as_pdf(paper, MONDAY)
    timed("PDF (typst)", now)
    now = time.perf_counter()
    docx = as_docx(paper, MONDAY)
    timed("DOCX", now)
    now = time.perf_counter()
    xlsx = as_xlsx(tables(model, Words(model, "zh_CN")), drawn.subject, (), MONDAY, "报告")
    timed("XLSX", now)
    for name, seconds in steps.items():
        print(f"{name:28}{seconds:8.2f} s")
    print(f"{'in all':28}{sum(steps.values()):8.2f} s, {time.process_time():.2f} s of CPU")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    print(
        f"{model.volume.posts:,} posts, {len(model.open_incidents):,} open incidents; mail {len(drawn.mail.encode()) // 1024} kB, "
        f"PDF {len(pdf) // 1024} kB, DOCX {len(docx) // 1024} kB, XLSX {len(xlsx) // 1024} kB"
    )


def main() -> None:
    """Fill, then measure in a process of its own."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--posts", type=int, default=100_000)
    options.add_argument("--incidents", type=int, default=1_000)
    options.add_argument("--measure", nargs=2, metavar=("URL", "FOLDER"))
    chosen = options.parse_args()
    if chosen.measure:
        measure(chosen.measure[0], Path(chosen.measure[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        url = f"sqlite:///{name}/week.db"
        fill(url, chosen.posts, chosen.incidents)
        evaluate(url, Path(name) / "city")
        subprocess.run(
            [sys.executable, "-m", "benchmarks.report_speed", "--measure", url, f"{name}/city"], check=True
        )


if __name__ == "__main__":
    main()
