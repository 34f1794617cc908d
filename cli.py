"""The `quansheng` command. Every error is one sentence (what, where, what to do) and exit code 1.

Each command imports the rooms it needs by itself: crawler, models and charts take seconds to load, and
`quansheng check` or `quansheng incidents list` must not wait for them.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NoReturn

import structlog
import typer
from rich.console import Console
from rich.table import Table

from config.bundle import load_bundle
from config.settings import ConfigError
from incidents.events import Head
from incidents.installation import Installation, Problem, open_installation
from incidents.migrate import SchemaTooNew
from incidents.querylang import QueryError
from incidents.states import Refused

app = typer.Typer(
    name="quansheng",
    help="泉声 Quansheng: hears what citizens publicly say, tells the duty officer, keeps the legal clock.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
incidents_app = typer.Typer(no_args_is_help=True, help="Look at incidents.")
report_app = typer.Typer(no_args_is_help=True, help="Write reports.")
audit_app = typer.Typer(no_args_is_help=True, help="Check and export the record.")
app.add_typer(incidents_app, name="incidents")
app.add_typer(report_app, name="report")
app.add_typer(audit_app, name="audit")

err = Console(stderr=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


class Options:
    """What stands before the command."""

    config: Path | None = None
    verbose = False


options = Options()


@app.callback()
def common(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings file; default ./quansheng.toml if there.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every job and request.")] = False,
) -> None:
    """Options of every command."""
    if config is not None and config.is_dir():
        config = config / "quansheng.toml"
    options.config, options.verbose = config, verbose
    _set_up_logs(logging.DEBUG if verbose else logging.WARNING)


def _set_up_logs(level: int) -> None:
    """Logs to stderr: coloured lines on a terminal, JSON lines otherwise. Libraries' logs go the same way."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # a tick that is still at work skips the next one: usual while models load, and the watchdog knows better
    logging.getLogger("apscheduler.scheduler").setLevel(max(level, logging.ERROR))
    for noisy in (
        "alembic",
        "scrapy",
        "twisted",
        "apscheduler",
        "asyncio",
        "urllib3",
        "httpx",
        "matplotlib",
        "numba",
        "uvicorn",
    ):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))


def now() -> datetime:
    """The machine's clock, read at the border and handed down."""
    return datetime.now(UTC)


@contextmanager
def opened(**overrides: Any) -> Iterator[Installation]:
    """The installation that --config names, closed afterwards."""
    home = open_installation(options.config, **overrides)
    try:
        yield home
    finally:
        home.db.close()


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)


def print_json(value: object) -> None:
    """One JSON value on stdout; times as ISO 8601."""
    print(json.dumps(value, ensure_ascii=False, default=_plain, indent=2))


def echo(text: str) -> None:
    """One line of progress, shown at once."""
    print(text, flush=True)


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """A table on a terminal, tab-separated lines in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


# --- set up ------------------------------------------------------------------------------------------------------


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write into.")] = Path(),
    force: Annotated[bool, typer.Option(help="Write over files that are there.")] = False,
) -> None:
    """Write a commented configuration for Jinan."""
    from config.writer import write_defaults  # reads every default file

    written = write_defaults(folder, force)
    for path in written:
        echo(str(path))
    if not written:
        echo(f"{folder}: everything is there already; --force writes it anew")
    echo(
        f"Next: edit {folder / 'sources.yaml'} and {folder / 'roster.yaml'}, then: quansheng -c {folder} check"
    )


@app.command()
def check() -> None:
    """Validate every configuration file; tells file, key, value and expectation of each error."""
    from alerts.calendar import load_calendar  # loads the holidays

    bundle = load_bundle(options.config)
    load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    on = sum(source.enabled for source in bundle.sources)
    echo(
        f"Good: {len(bundle.sources)} sources ({on} enabled), {len(bundle.departments.departments)} departments, "
        f"{len(bundle.rules.rules())} rules ({bundle.rules.version}), {len(bundle.roster.people)} officers, "
        f"{len(bundle.routes.routes)} routes"
    )


# --- run ---------------------------------------------------------------------------------------------------------


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="Each job once, in order, then stop.")] = False,
) -> None:
    """Everything on schedule, the console too. Ctrl-C or SIGTERM stops cleanly."""
    import scheduler  # loads crawler, models and console

    if not options.verbose:
        logging.getLogger().setLevel(logging.INFO)
    with opened() as home:
        if once:
            with scheduler.alone(home.settings.data_path):
                if not scheduler.run_once(home, now, echo):
                    raise typer.Exit(1)
            return
        scheduler.run(home, now, echo, lambda address: _banner(home, address))


def _banner(home: Installation, address: str) -> None:
    """Where the console is, and the first password, which is shown this once."""
    from console.passwords import FIRST_LOGIN, ensure_first_account  # loads the password hasher

    password = ensure_first_account(home.db, home.settings.data_path, now())
    echo(f"\n  泉声 Quansheng is running. Console: {address}")
    if password is not None:
        echo(f"  First login: {FIRST_LOGIN}   password: {password}   (shown once; you choose a new one)")
    if not home.settings.slack.token.get_secret_value() and not home.settings.mail.host:
        echo(
            f"  Neither Slack nor mail is set up: alerts stand in the console and in {home.settings.data_path / 'outbox'}"
        )
    if not any(source.enabled for source in home.bundle.sources):
        echo("  No source is enabled: choose in sources.yaml what to read")
    echo("  Ctrl-C stops.\n")


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Finish the day, print a summary, stop.")] = False,
    serve: Annotated[bool, typer.Option(help="Open the console.")] = True,
    data: Annotated[Path, typer.Option(help="Folder of the demo's data; begun anew each time.")] = Path(
        "var/demo"
    ),
    speed: Annotated[
        float, typer.Option(min=1, max=100_000, help="Seconds of the invented day in one second.")
    ] = 600,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the day that stands in the folder.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the console; 0 takes a free one.")
    ] = 8600,
    city: Annotated[
        str, typer.Option(help="Address of an invented city that runs elsewhere.", hidden=True)
    ] = "",
    slack: Annotated[str, typer.Option(help="Address of a Slack API that runs elsewhere.", hidden=True)] = "",
) -> None:
    """The whole chain on an invented city day, over loopback; opens the console."""
    import demo.run as demo_run  # loads crawler, models and console

    plan = demo_run.Plan(
        folder=data,
        once=once,
        serve=serve and not once,
        speed=speed,
        resume=resume,
        port=port,
        city=city,
        slack=slack,
    )
    demo_run.main(plan, echo)


@app.command()
def crawl(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Ids of sources; default: those that are due.")
    ] = None,
) -> None:
    """Fetch the sources that are due, or the named ones."""
    import scheduler  # for the wording of summaries
    import spiders.job  # loads the crawler

    with opened() as home:
        unknown = [name for name in sources or [] if home.bundle.source(name) is None]
        if unknown:
            known = ", ".join(source.id for source in home.bundle.sources) or "none"
            raise Problem(f"no source named {', '.join(unknown)} in sources.yaml; there are: {known}")
        result = spiders.job.run(home.db, home.bundle, home.keys, now(), only=sources or (), clock=now)
        echo(scheduler.summary(result))


@app.command("import")
def import_(
    file: Annotated[Path | None, typer.Argument(help="CSV, XLSX or JSON Lines.")] = None,
    profile: Annotated[
        Path | None, typer.Option(help="YAML file that maps columns; default: the packaged one.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try the rows again that were kept aside, instead of a file.")
    ] = False,
) -> None:
    """Take over posts from a file: 12345 work orders, exports of a vendor. Bad rows are kept aside with their reason."""
    from spiders.importer import import_file, retry_set_aside  # loads the readers of spreadsheets
    from spiders.profiles import load_profile
    from spiders.tables import UnreadableFile

    if retry == (file is not None):
        raise Problem("import: give either a file or --retry")
    mapping = load_profile(profile)
    if file is None:
        with opened() as home:
            outcome = retry_set_aside(home.db, mapping, home.keys.pseudonym, now())
        for sentence in outcome.still_bad:
            echo(sentence)
        echo(
            f"{outcome.tried} rows tried again: {outcome.saved} saved, {outcome.asked_again} to be fetched anew, "
            f"{len(outcome.still_bad)} still kept aside"
        )
        return
    _must_exist(file)
    with opened() as home:
        try:
            report = import_file(
                home.db, file, mapping, home.keys.pseudonym, now(), dry_run=dry_run, progress=_progress()
            )
        except UnreadableFile as exc:
            raise Problem(str(exc)) from exc
    for row in report.bad_rows:
        echo(row.sentence())
    echo(report.describe())


def _progress() -> Callable[[int, float], None] | None:
    """A line that counts up on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        return None
    return lambda rows, share: err.print(f"{rows} rows, {share:.0%}", end="\r")


def _must_exist(file: Path) -> None:
    if not file.is_file():
        raise Problem(f"{file}: no such file; give the path of a file that you may read")


@app.command()
def judge(
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the work.")] = 1,
) -> None:
    """Judge posts: JSON Lines on stdin, JSON Lines on stdout. Needs no database."""
    from analysis.model_store import folder_of  # loads the models
    from analysis.streams import judge_stream

    bundle = load_bundle(options.config)
    models = folder_of(bundle.settings.data_path)
    judge_stream(sys.stdin, sys.stdout, places=bundle.places, jobs=jobs, models=models)


@app.command()
def cluster() -> None:
    """Put posts into incidents as they come: JSON Lines on stdin, JSON Lines on stdout. Needs no database."""
    from analysis.streams import cluster_stream  # loads the models

    cluster_stream(sys.stdin, sys.stdout, places=load_bundle(options.config).places)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="Dated posts: JSON Lines, CSV or XLSX.")],
    db: Annotated[str, typer.Option(help="Database URL; default: one that is thrown away.")] = "",
    speed: Annotated[
        float, typer.Option(min=0, help="Seconds of posts in one second; 0: as fast as it goes.")
    ] = 0,
    report: Annotated[Path | None, typer.Option(help="Write what was flagged when, as JSON.")] = None,
    profile: Annotated[
        Path | None, typer.Option(help="YAML file that maps columns; default: the packaged one.")
    ] = None,
) -> None:
    """Feed dated posts through the whole pipeline at simulated time. Tells nobody: messages stay in a folder."""
    import replay as replay_  # loads the models

    _must_exist(file)
    replay_.main(
        file, load_bundle(options.config), url=db, speed=speed, report=report, profile=profile, echo=echo
    )


@app.command()
def console() -> None:
    """Only the web console."""
    import scheduler  # loads the web server

    with opened() as home, scheduler.stop_signal() as stop:
        server = scheduler.ConsoleServer(home, now)
        server.start()
        _banner(home, server.address)
        stop.wait()
        server.stop()


# --- incidents ---------------------------------------------------------------------------------------------------


@incidents_app.command("list")
def incidents_list(
    state: Annotated[list[str] | None, typer.Option(help="Only these states; default: open ones.")] = None,
    domain: Annotated[str, typer.Option(help="Only this domain.")] = "",
    district: Annotated[str, typer.Option(help="Only this district.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Closed ones and false alarms too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 200,
    as_json: AsJson = False,
) -> None:
    """The newest incidents."""
    from incidents import queries  # with the rest of the database's room
    from incidents.states import OPEN_STATES, State

    known = [str(name) for name in State]
    wrong = [name for name in state or [] if name not in known]
    if wrong:
        raise Problem(f"--state {', '.join(wrong)}: no such state; one of {', '.join(known)}")
    states = state or (
        [name for name in known if name != State.WATCHING] if everything else [str(s) for s in OPEN_STATES]
    )
    with opened() as home, home.db.reading() as session:
        rows = queries.list_incidents(session, states=states, domain=domain, district=district, limit=limit)
    if as_json:
        print_json(rows)
        return
    zone = home.zone
    print_table(
        ["number", "state", "level", "domain", "district", "posts", "detected", "title"],
        [
            [
                row.number or str(row.id),
                str(row.state),
                row.level,
                row.domain,
                row.district,
                str(row.posts),
                row.detected_at.astimezone(zone).strftime("%Y-%m-%d %H:%M") if row.detected_at else "",
                row.title,
            ]
            for row in rows
        ],
    )


def case_file(home: Installation, key: str) -> dict[str, object]:
    """Everything that is known about one incident, as plain values. Raises Problem if there is none."""
    from incidents import clocks, events, outbox, queries  # with the rest of the database's room

    with home.db.reading() as session:
        # a row id has at most 18 digits; "²" is a digit to Python, but no number
        is_id = key.isascii() and key.isdigit() and len(key) <= 18
        incident = queries.get_incident(session, int(key) if is_id else key)
        if incident is None:
            raise Problem(f"{key}: no such incident; `quansheng incidents list --all` shows their numbers")
        return {
            "incident": incident,
            "events": queries.events_of(session, incident.id),
            "deadlines": clocks.deadlines_of(session, incident.id),
            "posts": queries.posts_of(session, incident.id, limit=100_000, fold_copies=False),
            "messages": outbox.messages_of(session, incident.id),
            "chain_head": events.head(session),
        }


@incidents_app.command("show")
def incidents_show(
    incident: Annotated[str, typer.Argument(help="Number (QS-2026-000001) or id.")], as_json: AsJson = False
) -> None:
    """One incident with its events, clocks and posts."""
    with opened() as home:
        case: dict[str, Any] = case_file(home, incident)
    if as_json:
        print_json(case)
        return
    zone, row = home.zone, case["incident"]

    def at(when: datetime | None) -> str:
        return when.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") if when else "-"

    echo(
        f"{row.number}  {row.title}\n{row.state} · {row.level} · {row.domain} · {row.district} · {row.department or '-'}"
    )
    echo(
        f"{row.posts} posts, {row.voices} voices; first {at(row.first_posted_at)}, detected {at(row.detected_at)}"
    )
    for event in case["events"]:
        echo(f"  {at(event.occurred_at)}  {event.kind}  {event.actor} ({event.channel})")
    for clock in case["deadlines"]:
        echo(
            f"  clock {clock.rule_id}: {clock.state}, due {at(clock.due_at)}{' (provisional)' if clock.provisional else ''}"
        )
    for post in case["posts"]:
        echo(f"  {at(post.published_at)}  {post.source_id}  {post.title or post.text[:40]}")


@incidents_app.command("search")
def incidents_search(
    query: Annotated[str, typer.Argument(help='Words, "phrases", OR, -without; as in the console.')],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many of each.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find incidents and posts by their words."""
    from incidents.search import search_incidents, search_posts  # with the rest of the database's room

    with opened() as home, home.db.reading() as session:
        found = search_incidents(session, query, limit=limit)
        posts = search_posts(session, query, limit=limit, zone=home.settings.city.timezone)
    if as_json:
        print_json({"incidents": found, "posts": posts})
        return
    echo(f"{found.total} incidents, {posts.total} posts")
    print_table(
        ["incident", "state", "title"],
        [[row.number or str(row.id), str(row.state), row.title] for row in found.rows],
    )
    print_table(
        ["post", "published", "source", "title", "address"],
        [
            [
                str(row.id),
                row.published_at.astimezone(home.zone).strftime("%Y-%m-%d %H:%M"),
                row.source_id,
                row.title or row.text[:30],
                row.url,
            ]
            for row in posts.rows
        ],
    )


@incidents_app.command("export")
def incidents_export(
    file: Annotated[Path | None, typer.Argument(help="File to write; default: stdout.")] = None,
    as_json: AsJson = True,
) -> None:
    """Every incident with events, clocks, posts and messages: one JSON object a line. The export itself is recorded."""
    from incidents import lifecycle, queries  # with the rest of the database's room
    from incidents.states import State

    with opened() as home:
        with home.db.reading() as session:
            rows = queries.list_incidents(
                session, states=[str(name) for name in State if name != State.WATCHING], limit=1_000_000
            )
        with home.db.transaction() as session:
            lifecycle.record_act(
                session, "exported", {"incidents": len(rows)}, actor=_login(), channel="cli", now=now()
            )
        lines = (json.dumps(case_file(home, str(row.id)), ensure_ascii=False, default=_plain) for row in rows)
        if file is None:
            for line in lines:
                print(line)
            return
        with _writing(file) as out:
            for line in lines:
                out.write(line + "\n")
    echo(f"{file}: {len(rows)} incidents")


@contextmanager
def _writing(file: Path) -> Iterator[Any]:
    try:
        with file.open("w", encoding="utf-8") as out:
            yield out
    except OSError as exc:
        raise Problem(f"{file}: cannot be written: {exc.strerror}; give another path") from exc


def _login() -> str:
    """The account of this machine that called the command: the actor in the record."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid-{os.getuid()}"


# --- reports, record, upkeep ----------------------------------------------------------------------------------------


@report_app.command("weekly")
def report_weekly(
    week: Annotated[
        str | None, typer.Option(help="ISO week such as 2026-W47; default: the last whole one.")
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Mail it to reports.recipients.")] = False,
) -> None:
    """Write the weekly report."""
    import reports.job  # loads the charts
    from reports.period import WeekError

    with opened() as home:
        try:
            done = reports.job.run(home.db, home.bundle, home.keys, now(), week=week, send=send)
        except WeekError as exc:
            raise Problem(str(exc)) from exc
    for path in done.files:
        echo(str(path))
    echo(f"{done.subject}\n" + "\n".join(done.summary))
    if send:
        echo(f"queued for {len(done.queued)} recipients; `quansheng run` sends them")


@audit_app.command("verify")
def audit_verify(
    head: Annotated[
        str,
        typer.Option(help="Head noted elsewhere, SEQ:HASH as the weekly report prints it; finds a cut tail."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check the hash chain of the record from its first to its last event."""
    from incidents import events  # with the rest of the database's room

    noted = _noted_head(head)
    with opened() as home, home.db.reading() as session:
        verdict = events.verify(session, home.keys.audit, known_head=noted)
    if as_json:
        print_json(verdict)
    elif verdict.ok:
        echo(f"Good: {verdict.events} events, head {verdict.head.seq}:{verdict.head.hash}")
    if not verdict.ok:
        raise Problem(
            f"the record is broken at event {verdict.broken_at}: {verdict.reason}; "
            "keep the database as it is, restore the last good backup beside it and compare"
        )


def _noted_head(text: str) -> Head | None:
    """A head as the weekly report prints it."""
    if not text:
        return None
    number, _, digest = text.partition(":")
    if not (number.isascii() and number.isdigit() and len(number) <= 18 and len(digest) == 64):
        raise Problem(
            f"--head {text}: not a head; write number and hash of the last event, as in 137:9f2c... (64 digits)"
        )
    return Head(int(number), digest)


@audit_app.command("export")
def audit_export(
    incident: Annotated[str, typer.Argument(help="Number (QS-2026-000001) or id.")],
    file: Annotated[Path, typer.Argument(help="JSON file to write.")],
) -> None:
    """Write the case file of one incident: events with hashes, clocks with their trace, posts, messages."""
    from incidents import lifecycle  # with the rest of the database's room

    with opened() as home:
        case: dict[str, Any] = case_file(home, incident)
        with _writing(file) as out:
            json.dump(case, out, ensure_ascii=False, default=_plain, indent=2)
        with home.db.transaction() as session:
            lifecycle.record_act(
                session,
                "exported",
                {"file": file.name},
                actor=_login(),
                channel="cli",
                now=now(),
                incident_id=case["incident"].id,
            )
    echo(f"{file}: {len(case['events'])} events, {len(case['posts'])} posts")


@app.command()
def why(
    what: Annotated[
        str,
        typer.Argument(
            metavar="POST|INCIDENT",
            help="Post id, the post's address at its source, incident number (QS-2026-000001), or cluster:ID.",
        ),
    ],
    lang: Annotated[str | None, typer.Option(help="zh or en; default: the city's language.")] = None,
    as_json: AsJson = False,
) -> None:
    """Why a post was judged so and put where it is; why an incident was raised, or was not."""
    from commands.why import answers  # loads the models

    if lang not in (None, "zh", "en"):
        fail(f"--lang {lang}: zh or en")
    with opened() as home:
        found = answers(home, what, now())
        language = lang or home.settings.city.language
    if as_json:
        print_json([answer.as_dict() for answer in found])
        return
    echo("\n\n".join(answer.text(language) for answer in found))


@app.command()
def topics(
    week: Annotated[
        str | None, typer.Option(help="ISO week such as 2026-W47; default: the running one.")
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Make them again from the posts as they are now.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What the posts of a week were about: topics by domain with their change on the week before."""
    from commands.topics import topics_of_week  # loads the words

    with opened() as home:
        found = topics_of_week(home, week, now(), anew=anew)
        language = home.settings.city.language
    if as_json:
        print_json(found.as_dict())
        return
    print_table(["domain", "topic", "posts", "last week", "change", "voices", "key"], found.table(language))
    echo(found.summary(language))


@app.command()
def train(
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="QUANSHENG_DATA",
            help="Folder with the shared labelled posts: fit everything anew; without it the model is adapted to the corrections.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Install a model that is not worse without asking.")
    ] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the model before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Learn from the corrections: fit, compare with the model in force, install if it is not worse."""
    import commands.train as training  # loads the models

    if rollback:
        with opened() as home:
            gone, left = training.roll_back(home, actor=_login(), now=now())
        echo(f"{gone} is out of force; {left} judges from the next batch on")
        return
    with opened() as home, training.store(home).lock():
        trial = training.train(home, data, now(), lambda text: err.print(text, markup=False, highlight=False))
        if as_json:
            print_json(trial.as_dict())
        else:
            echo("\n".join(trial.lines()))
        if trial.refused:
            raise Problem("not installed, the model in force is better: " + "; ".join(trial.refused))
        if not yes and not (sys.stdin.isatty() and typer.confirm(f"Put {trial.version} in force?", err=True)):
            err.print("not installed; --yes installs it", markup=False, highlight=False)
            return
        stored = training.install(home, trial, actor=_login(), now=now())
    err.print(
        f"{stored.version} judges from the next batch on; quansheng train --rollback takes it back",
        markup=False,
        highlight=False,
    )


@app.command("eval")
def eval_(
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="QUANSHENG_DATA",
            help="Folder with the shared labelled posts; without it less can be measured.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only what takes seconds.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The benchmarks of a source checkout too: many minutes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """How good judging is: every figure beside target and baseline, and on this city's own corrections."""
    from commands.eval import evaluate  # loads the models

    def say(text: str) -> None:
        err.print(text, markup=False, highlight=False)

    bundle = load_bundle(options.config)
    settings = bundle.settings
    # looking at figures makes no database where there is none
    if settings.database.url or (settings.data_path / "quansheng.db").exists():
        with opened() as home:
            report = evaluate(bundle, home, data, quick=quick, full=full, say=say)
    else:
        report = evaluate(bundle, None, data, quick=quick, full=full, say=say)
    if as_json:
        print_json(report.as_dict())
        return
    echo(f"model {report.model}" + (f" ({report.trouble})" if report.trouble else ""))
    from analysis.figures import COLUMNS  # with the models

    print_table(COLUMNS, [figure.cells() for figure in report.figures])
    if report.verdicts:
        echo("\nwhat the machine had said, by the word of people here")
        for verdict in report.verdicts:
            echo(f"  {verdict.sentence()}")
    for machine, person, posts in report.confusions:
        echo(f"  domain {machine}, people say {person}: {posts} posts")
    for name, text in report.scripts.items():
        echo(f"\nbenchmarks/{name}\n{text.rstrip()}")
    for note in report.notes:
        echo(note)


@app.command()
def deadline(
    rule: Annotated[str, typer.Argument(help="Id of a rule: R02, H01 ...")],
    start: Annotated[str, typer.Option("--from", help="ISO 8601 time; without a zone: the city's.")],
) -> None:
    """When a legal clock runs out, and how that was computed."""
    from alerts.clocks import NoClock  # loads the calendar
    from alerts.resolver import deadline_json

    bundle = load_bundle(options.config)
    known = {item.id: item for item in bundle.rules.rules()}
    if rule not in known:
        raise Problem(f"{rule}: no such rule; there are {', '.join(known)}")
    try:
        begins = datetime.fromisoformat(start)
    except ValueError as exc:
        raise Problem(f"--from {start}: not a time; write it like 2026-09-30T16:20:00+08:00") from exc
    if not 1995 <= begins.year <= 2100:
        raise Problem(
            f"--from {start}: working weeks and holidays are known from 1995 on; give a year from 1995 to 2100"
        )
    if begins.tzinfo is None:
        from zoneinfo import ZoneInfo  # only here

        begins = begins.replace(tzinfo=ZoneInfo(bundle.settings.city.timezone))
    try:
        print_json(deadline_json(rule, begins, bundle))
    except NoClock as exc:
        raise Problem(f"{rule}: {exc}") from exc


@app.command()
def purge(
    object_to: Annotated[
        str,
        typer.Option("--object-to", help="Remove the post at this address for ever: its author objected."),
    ] = "",
) -> None:
    """Delete what is older than privacy.* allows, and tell what went."""
    import scheduler  # for the wording of summaries
    from incidents import retention

    with opened() as home:
        with home.db.transaction() as session:
            if object_to:
                result: object = retention.object_to(session, object_to, now())
            else:
                result = retention.purge(session, now(), home.settings.privacy)
        echo(scheduler.summary(result))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Is everything well? Channels, roster, calendar, disk, lag, sources, record. Exit code 1 if something is not."""
    from alerts.health import health  # loads the channels
    from analysis import model_store  # loads the models
    from incidents.condition import Finding, condition  # with the rest of the database's room

    with opened() as home:
        level, text = model_store.finding(model_store.folder_of(home.settings.data_path))
        findings: list[Any] = [
            *health(home.db, home.bundle, now()),
            *condition(home, now()),
            Finding("model", level, text),
        ]
    if as_json:
        print_json(findings)
    else:
        marks = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}
        for finding in findings:
            echo(f"{marks[finding.level]}  {finding.check}: {finding.text}")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def fail(text: str, code: int = 1) -> NoReturn:
    """Say what went wrong and leave."""
    err.print(f"quansheng: {text}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def main() -> None:
    """Entry point: user errors become one sentence, bugs keep their traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a terminal or cron job that cannot show Chinese must not end the command
            stream.reconfigure(errors="backslashreplace")
    sys.argv[1:] = _common_first(sys.argv[1:])
    try:
        app()
    except ConfigError as exc:
        fail("\n".join(exc.problems))
    except (Problem, SchemaTooNew, QueryError) as exc:
        fail(str(exc))
    except Refused as exc:
        fail(exc.en)
    except OSError as exc:
        if isinstance(exc, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of our output has gone: nothing to say
            sys.exit(1)
        if exc.filename is None:
            raise
        fail(
            f"{exc.filename}: {exc.strerror}; check that it exists, that this account may use it, and the space left"
        )
    except KeyboardInterrupt:
        sys.exit(130)


def _common_first(words: list[str]) -> list[str]:
    """Options of every command may stand behind it too: `quansheng check --config city/quansheng.toml`."""
    front, rest = [], []
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            rest += [word, *waiting]
        elif word in ("--config", "-c"):
            front += [word, *islice(waiting, 1)]
        elif word.startswith("--config=") or word in ("--verbose", "-v"):
            front.append(word)
        else:
            rest.append(word)
    return front + rest


if __name__ == "__main__":
    main()
