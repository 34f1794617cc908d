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
from dataclasses import asdict, is_dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import structlog
import typer
from rich.console import Console
from rich.table import Table

import heap
from config.bundle import load_bundle
from config.settings import ConfigError
from incidents.events import Head
from incidents.installation import Installation, Problem, open_bundle, open_installation
from incidents.migrate import SchemaTooNew
from incidents.querylang import QueryError
from incidents.states import Refused

if TYPE_CHECKING:
    from reports.delivery import ReportSummary

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
evidence_app = typer.Typer(no_args_is_help=True, help="Originals of posts that belong to an incident.")
app.add_typer(evidence_app, name="evidence")
obligations_app = typer.Typer(no_args_is_help=True, help="Keep the register of the notice's duties.")
app.add_typer(obligations_app, name="obligations")
roster_app = typer.Typer(
    no_args_is_help=True, help="Look at the duty roster, take tables in and out, test a person's channels."
)
app.add_typer(roster_app, name="roster")

objections_app = typer.Typer(
    no_args_is_help=True, help="Sites, pages and authors that objected: nothing of them is fetched or stored."
)
app.add_typer(objections_app, name="objections")

token_app = typer.Typer(no_args_is_help=True, help="Tokens with which scripts read through the HTTP API.")
app.add_typer(token_app, name="token")

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
    from commands.check import check_mappings, check_warnings

    bundle = load_bundle(options.config)
    check_mappings(bundle)
    calendar = load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    for warning in check_warnings(bundle, calendar):
        err.print(f"warning: {warning}", highlight=False, soft_wrap=True)
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
    with _opened_or_cry() as home:
        if once:
            with scheduler.alone(home.settings.data_path):
                if not scheduler.run_once(home, now, echo):
                    raise typer.Exit(1)
            return
        scheduler.run(home, now, echo, lambda address: _banner(home, address))


@contextmanager
def _opened_or_cry() -> Iterator[Installation]:
    """The installation; when it cannot even be opened, the officer on duty is told before the command fails."""
    bundle = load_bundle(options.config)
    try:
        home = open_bundle(bundle)
    except (Problem, OSError) as exc:  # a full or broken disk fails wherever it likes
        from alerts import last_resort  # loads the channels

        last_resort.cry(bundle, str(exc), now())
        raise
    try:
        yield home
    finally:
        home.db.close()


def _banner(home: Installation, address: str) -> None:
    """Where the console is, and the first password, which is shown this once."""
    from console.passwords import FIRST_LOGIN, ensure_first_account  # loads the password hasher

    password = ensure_first_account(home.db, home.settings.data_path, now())
    echo(f"\n  泉声 Quansheng is running. Console: {address}")
    if password is not None:
        echo(f"  First login: {FIRST_LOGIN}   password: {password}   (shown once; you choose a new one)")
        echo(
            f"  {FIRST_LOGIN} keeps the accounts and decides nothing: make an account for the duty officer first"
        )
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
    """Fetch the sources that are due, or the named ones; look into folders and views too."""
    import spiders.intake.job  # not scheduler, which would load models and console
    import spiders.job  # loads the crawler

    with opened() as home:
        unknown = [name for name in sources or [] if home.bundle.source(name) is None]
        if unknown:
            known = ", ".join(source.id for source in home.bundle.sources) or "none"
            raise Problem(f"no source named {', '.join(unknown)} in sources.yaml; there are: {known}")
        names = {source.id for source in spiders.intake.job.own_sources(home.bundle.sources)}
        own = [name for name in sources or [] if name in names]
        crawled = [name for name in sources or [] if name not in names]
        for source in spiders.intake.job.own_sources(home.bundle.sources):
            if source.id in own and not source.enabled:
                raise Problem(f"sources.yaml: source {source.id!r} is not enabled; set `enabled: true`")
        if crawled or not sources:
            result = spiders.job.run(home.db, home.bundle, home.keys, now(), only=crawled, clock=now)
            echo(result.describe())
        if own or (names and not sources):
            looked = spiders.intake.job.run(
                home.db, home.bundle, home.keys, now(), only=own, due=not own, clock=now
            )
            for seen in looked.sources:
                echo(f"{seen.source_id}: {seen.state}: {seen.evidence}")


@app.command()
def backfill(
    source: Annotated[
        str | None, typer.Argument(help="Id of the source; default: show every back-fill and how far it is.")
    ] = None,
    first: Annotated[str, typer.Option("--from", help="First day of the range, 2026-10-01.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last day of the range; default: today.")] = "",
    max_pages: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many list pages; the same command goes on.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a range of the past from one source. May be stopped at any moment: the same command goes on. Exit code 1 if not done."""
    from commands import backfill as command

    with opened() as home:
        if source is None:
            if as_json:
                print_json(command.rows(home))
            else:
                print_table(command.COLUMNS, command.table(home))
            return
        if not first:
            raise Problem("backfill: name the first day of the range, --from 2026-10-01")
        today = now().astimezone(home.zone).date().isoformat()
        done = command.run(home, source, first, last or today, now, echo, max_pages)
    if not done:
        raise typer.Exit(1)


@app.command("sources")
def sources_(
    names: Annotated[list[str] | None, typer.Argument(help="Ids of sources; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Is each source alive? State, evidence, and silence beside its own habit. Exit code 1 if one that is enabled is not."""
    from commands.sources import COLUMNS, health_of

    with opened() as home:
        found = health_of(home, now(), names or [])
        language = home.settings.city.language
    if as_json:
        print_json(found.as_dict())
    else:
        print_table(COLUMNS, found.table(language))
    if any(row.source.enabled and (row.view.failures or row.stop) for row in found.rows):
        raise typer.Exit(1)


@app.command("add-source")
def add_source(
    url: Annotated[str, typer.Argument(help="Address of the site, its column, board, feed or sitemap.")],
    write: Annotated[
        bool, typer.Option("--write", help="Add the entry to sources.yaml; default: print it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at a site: feeds, sitemaps, known systems, robots and rate, five posts; writes its entry with the legal fields to fill in."""
    from commands import add_source as adding  # loads the crawler
    from spiders.hostlock import host_locks
    from spiders.stopping import load_stops
    from spiders.trial import Explorer

    with opened() as home:
        stops = load_stops(home.db)
        explorer = Explorer(home.settings.crawl, home.keys.pseudonym, now, stops)
        host = adding.host_of(url)
        if (stop := stops.of_source("", [host]) or stops.of_url(url)) is not None:
            raise Problem(stop.sentence)
        with host_locks(home.settings.data_path / "locks", [host]) as busy:
            if busy:
                raise Problem(f"another crawl is reading {host} at this moment; try again in a minute")
            look = adding.look_at(url, explorer, lambda line: err.print(line, markup=False, highlight=False))
        delay, folder = home.settings.crawl.delay_s, home.settings.config_dir
    for line in adding.told(look):
        err.print(line, markup=False, highlight=False, soft_wrap=True)
    entry = adding.full_entry(look, delay)
    if as_json:
        print_json(entry)
    if write:
        path = adding.add_to(folder, entry)
        (err.print if as_json else echo)(
            f"Added to {path}. Fill in what says 待填写, set enabled: true, then: quansheng check"
        )
    elif not as_json:
        echo(adding.as_yaml(entry).rstrip("\n"))
        err.print(
            "Add this to sources.yaml (or run again with --write), fill in what says 待填写, then enable it."
        )


Reason = Annotated[str, typer.Option("--reason", help="Why; stands in the record and on every page.")]


@app.command()
def halt(
    what: Annotated[
        str, typer.Argument(help="Id of a source, or a host name; without it everything is halted.")
    ] = "",
    reason: Reason = "",
) -> None:
    """Stop collecting at once, also in crawls under way: everything, one source or one host. Stays until `quansheng resume`."""
    from commands import stops

    with opened() as home:
        found = stops.halt(home, stops.halt_target(home, what), reason, _login(), now())
        echo(f"{found.sentence}\nCrawls under way in any process stop within two seconds.")


@app.command()
def resume(
    what: Annotated[
        str, typer.Argument(help="What was halted: id of a source, host name, or nothing for everything.")
    ] = "",
    reason: Reason = "",
) -> None:
    """Lift a halt; what is due is collected again."""
    from commands import stops

    with opened() as home:
        found = stops.lift(home, "halt", stops.halt_target(home, what), reason, _login(), now())
        echo(f"The halt of {found.what} is lifted.")
        for warning in stops.warnings(home):
            err.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)


Page = Annotated[str, typer.Option("--page", help="Address of one page; only its hash is kept.")]
Prefix = Annotated[str, typer.Option("--prefix", help="Beginning of addresses, with http(s)://.")]
HostName = Annotated[str, typer.Option("--host", help="Host name; *.example.cn with all below it.")]
SourceId = Annotated[
    str, typer.Option("--source", help="Id of a source; with --author: where the author writes.")
]
Author = Annotated[
    str, typer.Option("--author", help="Name as the source shows it (kept nowhere), or pseudonym.")
]


@objections_app.command("add")
def objections_add(
    page: Page = "",
    prefix: Prefix = "",
    host: HostName = "",
    source: SourceId = "",
    author: Author = "",
    reason: Reason = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before posts are removed.")] = False,
) -> None:
    """Enter an objection: what is stored is removed for good, nothing is fetched or stored any more."""
    from commands import stops

    with opened() as home:
        what = stops.objection_target(home, page=page, prefix=prefix, host=host, source=source, author=author)
        stored = stops.count_stored(home, what)
        if stored and not yes:
            typer.confirm(f"{stored} stored posts will be removed for good. Go on?", abort=True, err=True)
        report = stops.enter_objection(home, what, reason, _login(), now())
        echo(
            f"Objection entered: {report.posts} posts and {report.set_aside} set-aside rows removed; "
            "nothing of it is fetched or stored any more"
        )


@objections_app.command("withdraw")
def objections_withdraw(
    page: Page = "",
    prefix: Prefix = "",
    host: HostName = "",
    source: SourceId = "",
    author: Author = "",
    reason: Reason = "",
) -> None:
    """Take an objection back (entered by mistake, or the person agreed). What was removed stays removed."""
    from commands import stops

    with opened() as home:
        what = stops.objection_target(home, page=page, prefix=prefix, host=host, source=source, author=author)
        found = stops.lift(home, "objection", what, reason, _login(), now())
        echo(f"The objection of {found.what} is withdrawn.")


@objections_app.command("list")
def objections_list(as_json: AsJson = False) -> None:
    """What is under an objection, and what is halted."""
    from commands import stops
    from incidents.stops import active

    with opened() as home:
        with home.db.reading() as session:
            found = active(session)
        if as_json:
            print_json(stops.as_dicts(found))
        else:
            print_table(stops.COLUMNS, stops.table(home, found))


@objections_app.command("check")
def objections_check(
    remove: Annotated[bool, typer.Option("--remove", help="Remove what should not be stored.")] = False,
) -> None:
    """Is anything stored or configured in spite of an objection? Exit code 1 if so. Run it after a backup was restored."""
    from commands import stops

    with opened() as home:
        if remove:
            echo(f"{stops.remove_missed(home, _login(), now())} posts removed")
        found = [line for line in stops.warnings(home) if "halted by" not in line]
    for line in found or ["Good: nothing is stored or read in spite of an objection"]:
        echo(line)
    if found:
        raise typer.Exit(1)


@app.command()
def coverage(
    weeks: Annotated[int, typer.Option(help="The last so many weeks.")] = 4,
    as_json: AsJson = False,
) -> None:
    """Which source saw which incident first, what gives nothing, what nobody watches, and what the hot lists knew before us."""
    from commands.coverage import coverage_of

    with opened() as home:
        found = coverage_of(home, now(), weeks)
        language = home.settings.city.language
    if as_json:
        print_json(found.as_dict())
        return
    for title, columns, rows in found.tables(language):
        echo(f"\n{title}")
        print_table(columns, rows)
    echo(found.summary(language))


@app.command()
def backtest(
    since: Annotated[str, typer.Option("--from", help="First day, 2026-09-01.")],
    until: Annotated[str, typer.Option("--to", help="Last day, 2026-11-01.")],
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="What shall be otherwise: false_alarms_per_week=2, watched_domains=housing,health, fast.min_grave=0.3, R03=24; may be repeated.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Try a change of settings or time limits on the past, before it is switched on: what would be raised, missed, later, late."""
    from backtest import answer, period_of, read_changes  # loads the models

    with opened() as home:
        start, end = period_of(home, since, until)
        found = answer(home, read_changes(set_), start, min(end, now()), now())
    if as_json:
        print_json(found.as_dict())
        return
    for line in found.lines():
        echo(line)


@app.command("import")
def import_(
    file: Annotated[
        Path | None, typer.Argument(help="CSV, XLSX or JSON Lines; a capture of Weibo or Tieba.")
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(help="YAML file that maps columns, or the name of a packaged one (weibo, tieba)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try the rows again that were kept aside, instead of a file.")
    ] = False,
) -> None:
    """Take over posts from a file: 12345 work orders, exports of a vendor. Bad rows are kept aside with their reason."""
    from spiders.importer import import_file, retry_set_aside  # loads the readers of spreadsheets
    from spiders.intake.mapping import mapping_of_origin
    from spiders.profiles import load_profile
    from spiders.tables import UnreadableFile

    if retry == (file is not None):
        raise Problem("import: give either a file or --retry")
    mapping = load_profile(profile)
    if file is None:
        with opened() as home:
            outcome = retry_set_aside(
                home.db,
                mapping,
                home.keys.pseudonym,
                now(),
                own=partial(mapping_of_origin, home.bundle.sources, home.settings.config_dir),
            )
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
    judge_stream(
        sys.stdin,
        sys.stdout,
        places=bundle.places,
        jobs=jobs,
        models=models,
        fast=bundle.settings.analysis.fast,
    )


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
        Path | None,
        typer.Option(help="YAML file that maps columns, or the name of a packaged one (weibo, tieba)."),
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
        scheduler.until(stop)
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
    query: Annotated[
        str, typer.Argument(help='Words, "phrases", OR, -without, field:value; as in the console.')
    ],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many of each.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find incidents and posts by their words."""
    from incidents.fields import names_of  # with the rest of the database's room
    from incidents.search import parse, search_incidents, search_posts

    with opened() as home, home.db.reading() as session:
        asked = parse(query, names_of(load_bundle(options.config), now()))
        found = search_incidents(session, asked, limit=limit)
        posts = search_posts(session, asked, limit=limit, zone=home.settings.city.timezone)
    if as_json:
        print_json({"incidents": replace(found, instants=[]), "posts": replace(posts, counted=None)})
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


_SEND = Annotated[bool, typer.Option("--send", help="Mail it to reports.recipients.")]


@report_app.command("daily")
def report_daily(
    day: Annotated[str | None, typer.Option(help="Day such as 2026-11-23; default: yesterday.")] = None,
    send: _SEND = False,
) -> None:
    """Write the daily brief 日报."""
    _report("daily", day, send)


@report_app.command("weekly")
def report_weekly(
    week: Annotated[
        str | None, typer.Option(help="ISO week such as 2026-W47; default: the last whole one.")
    ] = None,
    send: _SEND = False,
) -> None:
    """Write the weekly report 周报."""
    _report("weekly", week, send)


@report_app.command("monthly")
def report_monthly(
    month: Annotated[str | None, typer.Option(help="Month such as 2026-11; default: the last one.")] = None,
    send: _SEND = False,
) -> None:
    """Write the monthly report 月报."""
    _report("monthly", month, send)


@report_app.command("yearly")
def report_yearly(
    year: Annotated[str | None, typer.Option(help="Year such as 2026; default: the last one.")] = None,
    send: _SEND = False,
) -> None:
    """Write the yearly report 年报."""
    _report("yearly", year, send)


@report_app.command("special")
def report_special(
    number: Annotated[str, typer.Argument(help="Number of the incident, such as QS-2026-000017.")],
    send: _SEND = False,
) -> None:
    """Write the special report 专报 about one incident as it stands now; after one was sent the next is a sequel 续报."""
    from reports.special import run_special

    with opened() as home:
        _written(run_special(home.db, home.bundle, home.keys, now(), number, send=send), send)


def _report(kind: Literal["daily", "weekly", "monthly", "yearly"], period: str | None, send: bool) -> None:
    import reports.job  # loads the charts
    from reports.period import PeriodError

    with opened() as home:
        try:
            done = reports.job.run(home.db, home.bundle, home.keys, now(), kind, period, send=send)
        except PeriodError as exc:
            raise Problem(str(exc)) from exc
        _written(done, send)


def _written(done: ReportSummary, send: bool) -> None:
    for path in done.files:
        echo(str(path))
    echo(f"{done.subject}\n" + "\n".join(done.summary))
    if send:
        echo(f"queued for {len(done.queued)} recipients; `quansheng run` sends them")


@report_app.command("accountability")
def report_accountability(
    period: Annotated[
        str, typer.Option(help="2026-W47, 2026-11, 2026-Q4 or 2026; default: the running month.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compute the department table of a period, keep it for the console and print it."""
    from commands import accountability  # with the rest of the database's room

    with opened() as home:
        table = accountability.compute(home, period, now())
    if as_json:
        print_json(table.stored())
        return
    for line in accountability.told(table):
        echo(line)


@app.command("public")
def public(
    period: Annotated[str, typer.Option(help="A month that is over, such as 2026-11.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the pages and tables; without it the edition is only made."),
    ] = None,
) -> None:
    """Make the public edition of a month: counts only, no cell of fewer than 10 authors; written once it was approved."""
    from commands.public import publish  # with the rest of the database's room

    with opened() as home:
        done = publish(home, period, out, _login(), now())
    model = done.model
    echo(
        f"{period}: {model.posts} posts, {len(model.cells)} cells, {model.hidden} not told; SHA-256 {done.digest}"
    )
    for name in model.withheld:
        echo(f"the table {name} is withheld: too few authors")
    for path in done.written:
        echo(str(path))
    if not done.written:
        by = (
            f"approved by {done.approved_by}; --out DIR writes it" if done.approved_by else "not approved yet"
        )
        echo(f"{by}: page 问责 of the console")


@app.command("evaluate")
def evaluate_response(
    number: Annotated[str, typer.Argument(help="Number of an incident, QS-2026-000017.")] = "",
    period: Annotated[
        str, typer.Option(help="A week 2026-W47 or a month 2026-11 in place of an incident.")
    ] = "",
    department: Annotated[str, typer.Option(help="Only this department (its id), with --period.")] = "",
    as_json: AsJson = False,
) -> None:
    """Evaluate the response to one incident, or of departments in a period: every indicator with its arithmetic. Keeps nothing."""
    from commands import evaluation  # loads scipy

    if bool(number) == bool(period):
        raise Problem("name either an incident (QS-2026-000017) or --period 2026-W47")
    if department and not period:
        raise Problem("--department goes with --period")
    with opened() as home:
        language = home.settings.city.language
        if number:
            case = evaluation.case(home, number, now())
            if as_json:
                print_json(case.stored())
            else:
                for line in evaluation.told(case, language):
                    echo(line)
            return
        found = evaluation.period(home, period, now(), department)
        if as_json:
            print_json(found.stored())
        elif not found.rows:
            echo(f"{period}: nothing ended, was answered or was called back in it")
        else:
            print_table(list(evaluation.COLUMNS), evaluation.table(found, language))


@audit_app.command("verify")
def audit_verify(
    head: Annotated[
        str,
        typer.Option(help="Head noted elsewhere, SEQ:HASH as the weekly report prints it; finds a cut tail."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check the record from its first to its last event, and every original and text of the evidence against it."""
    from commands import audit  # with the rest of the database's room

    noted = _noted_head(head)
    with opened() as home:
        found = audit.verify(home, noted)
    if as_json:
        print_json(found)
    elif found.ok:
        for line in audit.told(found):
            echo(line)
    if found.wrong:
        raise Problem("\n".join(found.wrong))


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
    file: Annotated[
        Path, typer.Argument(help="File to write: .json with the signed record, or .pdf to print.")
    ],
    language: Annotated[str, typer.Option(help="zh_CN or en; default: the city's (PDF only).")] = "",
) -> None:
    """Write the case file of one incident: events with hashes, clocks with their trace, posts, messages."""
    from commands import audit  # with the rest of the database's room

    with opened() as home:
        echo(audit.export(home, incident, file, actor=_login(), now=now(), language=language))


@audit_app.command("rebuild")
def audit_rebuild(
    repair: Annotated[bool, typer.Option(help="Write what the events give into the tables.")] = False,
) -> None:
    """Fold every derived table anew from the events and tell where the tables differ; exit 1 when they do."""
    from commands import audit  # with the rest of the database's room

    with opened() as home:
        echo(audit.rebuild(home, repair=repair, actor=_login(), now=now()))


@audit_app.command("check")
def audit_check(
    file: Annotated[Path, typer.Argument(help="A case file that was exported as JSON.")],
) -> None:
    """Check an exported case file with this installation's key: was it changed since?"""
    from commands import audit  # with the rest of the database's room

    with opened() as home:
        echo(audit.check(file, home.keys.audit))


@evidence_app.command("list")
def evidence_list(
    incident: Annotated[str, typer.Argument(help="Number (QS-2026-000001) or id.")], as_json: AsJson = False
) -> None:
    """Which originals are kept of an incident's posts, which are missing or purged, and their SHA-256."""
    from commands import evidence  # with the rest of the database's room

    with opened() as home:
        found = evidence.listed(home, incident)
    if as_json:
        print_json(evidence.as_dict(found))
        return
    for line in found.lines():
        echo(line)


@evidence_app.command("export")
def evidence_export(
    incident: Annotated[str, typer.Argument(help="Number (QS-2026-000001) or id.")],
    file: Annotated[
        Path, typer.Argument(help="File to write, ending in .warc.gz; not redacted, not encrypted.")
    ],
    reason: Annotated[str, typer.Option(help="Why they are needed; recorded with your name.")],
    post: Annotated[int | None, typer.Option(help="Only the original of this post.")] = None,
) -> None:
    """Take originals out of the vault as a standard WARC. The reading is recorded first."""
    from commands import evidence  # with the rest of the database's room

    with opened() as home:
        echo(evidence.export(home, incident, file, post=post, reason=reason, actor=_login(), now=now()))


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
def reply(
    case: Annotated[
        Path, typer.Argument(help="Text file: what was complained about; the first line is the title.")
    ],
    answer: Annotated[Path, typer.Argument(help="Text file: the official answer.")],
    published: Annotated[
        str | None,
        typer.Option(help="Day of the answer, as 2026-11-24; default: today. Promised dates count from it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read one official answer beside its case: what it holds, what it leaves open, what it promises. Pure: no database."""
    from commands.reply import read  # loads the words
    from incidents.trouble import Problem

    try:
        found = read(case, answer, published, now())
    except Problem as trouble:
        fail(str(trouble))
    if as_json:
        print_json(found.as_dict())
        return
    echo(found.text())


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


def _local(text: str, option: str) -> datetime:
    """A time as typed, in the city's zone if it names none; now when nothing was typed."""
    if not text:
        return now()
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise Problem(f"{option} {text}: not a time; write it like 2026-11-24T16:20") from exc
    if at.tzinfo is None:
        from zoneinfo import ZoneInfo  # only here

        at = at.replace(tzinfo=ZoneInfo(load_bundle(options.config).settings.city.timezone))
    return at


@obligations_app.command("list")
def obligations_list(
    state: Annotated[str, typer.Option(help="open, overdue, met, late, cancelled or all.")] = "open",
    unit: Annotated[str, typer.Option(help="Id or name of a unit.")] = "",
    rule: Annotated[str, typer.Option(help="Id of a rule: S04.")] = "",
    as_json: AsJson = False,
) -> None:
    """What each unit owes by when, the oldest end first."""
    from commands import obligations  # loads the holidays

    with opened() as home:
        register = obligations.listed(home, state, unit, rule, now())
        if as_json:
            print_json(register.as_dict())
            return
        print_table(["id", "rule", "unit", "period", "due", "state"], register.table())


@obligations_app.command("add")
def obligations_add(
    rule: Annotated[str, typer.Argument(help="S01 recall, S02 document, S03 approval, S29 request.")],
    unit: Annotated[str, typer.Option(help="Id or name of the unit that owes it.")],
    trigger: Annotated[str, typer.Option(help="What set it off: number of the decision or document.")],
    at: Annotated[str, typer.Option(help="When it happened; default: now.")] = "",
    as_json: AsJson = False,
) -> None:
    """Enter what set a duty off; its clock starts and the unit is told."""
    from commands import obligations  # loads the holidays

    with opened() as home:
        row = obligations.add(home, rule, unit, trigger, _local(at, "--at"), actor=_login(), now=now())
        zone = home.zone
    if as_json:
        print_json(obligations.as_dict(row, now()))
        return
    echo(
        f"{row.id}: {row.rule_id} {row.unit} {row.trigger}, due {row.due_at.astimezone(zone):%Y-%m-%d %H:%M}"
    )
    for line in row.trace:
        echo(f"  {line}")


@obligations_app.command("met")
def obligations_met(
    number: Annotated[int, typer.Argument(help="Number in the register (obligations list).")],
    evidence: Annotated[str, typer.Option(help="Link or document number.")],
    at: Annotated[str, typer.Option(help="When it was done; default: now.")] = "",
) -> None:
    """Enter the evidence that a duty was met."""
    from commands import obligations  # loads the holidays

    with opened() as home:
        row = obligations.met(home, number, evidence, _local(at, "--at"), actor=_login(), now=now())
    echo(
        f"{row.id}: {row.rule_id} {row.unit} {row.period}: {'met in time' if row.state == 'met' else 'met late'}"
    )


@roster_app.command("now")
def roster_now(
    at: Annotated[str, typer.Option(help="Time to look at; default: now.")] = "",
    as_json: AsJson = False,
) -> None:
    """Who is on duty, from when to when, and which line of the roster says so."""
    from commands import roster  # loads the holidays

    with opened() as home:
        rows = roster.on_duty(home, _local(at, "--at"))
    if as_json:
        print_json([row.as_dict() for row in rows])
        return
    print_table(["role", "from", "until", "person", "why"], [row.cells() for row in rows])


@roster_app.command("next")
def roster_next(
    days: Annotated[int, typer.Option(min=1, max=366, help="Days ahead.")] = 14,
    role: Annotated[str, typer.Option(help="primary, secondary or leader.")] = "",
    person: Annotated[str, typer.Option(help="Person id: only this person's shifts.")] = "",
    as_json: AsJson = False,
) -> None:
    """Who is on duty in the coming days, with gaps and whatever else somebody should mend."""
    from commands import roster  # loads the holidays

    with opened() as home:
        rows, unready = roster.coming(home, now(), days, role, person)
    if as_json:
        print_json({"duty": [row.as_dict() for row in rows], "unready": unready})
        return
    print_table(["role", "from", "until", "person", "why"], [row.cells() for row in rows])
    for finding in unready:
        echo(f"{finding.kind}: {finding.text}")
    if not unready:
        echo(f"Good: no gap in {days} days")


@roster_app.command("import")
def roster_import(
    file: Annotated[Path, typer.Argument(help="CSV or XLSX (日期, 班次, 主班, 副班, 带班领导), or .ics.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would change.")] = False,
) -> None:
    """Take over a duty table: every duty that differs from the roster becomes a stand-in, in force at once; all or none."""
    from commands import roster  # loads the holidays

    _must_exist(file)
    with opened() as home:
        found = roster.take_over(home, file, now(), by=_login(), dry_run=dry_run)
    for line in found.lines:
        echo(line)
    echo(found.describe() + (", nothing entered (--dry-run)" if dry_run else ""))


@roster_app.command("export")
def roster_export(
    file: Annotated[Path, typer.Argument(help="File to write: .csv or .ics.")],
    days: Annotated[int, typer.Option(min=1, max=366, help="Days from today.")] = 60,
    person: Annotated[str, typer.Option(help="Person id: only this person's shifts.")] = "",
) -> None:
    """Write the roster in force as a sheet that can be imported again, or for a calendar program."""
    from commands import roster  # loads the holidays

    with opened() as home:
        content, lines = roster.written(home, file, now(), days, person)
    file.write_bytes(content)
    echo(f"{file}: {lines} lines, {days} days")


@roster_app.command("calendar")
def roster_calendar(
    person: Annotated[str, typer.Argument(help="Person id of the roster; none: list the addresses.")] = "",
    team: Annotated[bool, typer.Option("--team", help="The calendar of everybody's shifts.")] = False,
    new: Annotated[
        bool, typer.Option("--new", help="Another address; the former one stops working at once.")
    ] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="The address stops working at once.")] = False,
    as_json: AsJson = False,
) -> None:
    """The secret address of a calendar of shifts, to subscribe to in a calendar program; made when there is none."""
    from commands import roster  # loads the holidays

    named = bool(person) or team
    if (new and revoke) or (person and team) or ((new or revoke) and not named):
        raise Problem("name one person or --team, and --new or --revoke, not both")
    with opened() as home:
        if revoke:
            roster.revoke_calendar(home, person, now(), by=_login())
            echo(f"{person or 'team'}: the address does not work any more")
            return
        found = (
            [roster.calendar(home, person, now(), by=_login(), new=new)] if named else roster.calendars(home)
        )
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    for one in found:
        echo(f"{one.person or 'team'}: {one.address}")
    if not found:
        echo("No address yet; make one: quansheng roster calendar PERSON, or --team")


@roster_app.command("test")
def roster_test(
    person: Annotated[str, typer.Argument(help="Person id of the roster.")],
    channel: Annotated[
        str,
        typer.Option(help="Only this channel: email, slack, wecom ...; default: every one that leads there."),
    ] = "",
    wait: Annotated[float, typer.Option(min=0, max=600, help="Seconds to wait for the channels.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Send a marked test message to one person through each of their channels; exit 1 unless every channel took it."""
    from commands import roster  # loads the channels

    with opened() as home:
        found = roster.test(home, person, channel, now, by=_login(), wait_s=wait)
    rows = [[one.row.channel, one.row.recipient, one.row.state, one.said or "no answer yet"] for one in found]
    if as_json:
        print_json([dict(zip(("channel", "recipient", "state", "said"), row, strict=True)) for row in rows])
    else:
        print_table(["channel", "recipient", "state", "what it said"], rows)
    if any(one.row.state != "sent" for one in found):
        raise typer.Exit(1)


@app.command("export")
def export_(
    sqlite: Annotated[
        Path | None,
        typer.Option(help="SQLite file to write; default: the copy that the console's SQL page asks."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the de-identified copy: no texts, authors or addresses. Beside a named FILE lies its description for Datasette."""
    from commands import export  # with the database's room

    with opened() as home:
        done = export.write(home, sqlite, _login(), now())
    if as_json:
        print_json(done)
        return
    echo(f"{done.file}: {', '.join(f'{number} {table}' for table, number in done.rows.items())}")
    if done.metadata is not None:
        echo(f"{done.metadata}: datasette {done.file} --metadata {done.metadata}")


@token_app.command("make")
def token_make(
    login: Annotated[
        str, typer.Argument(help="In whose name the script reads; it never sees more than this person.")
    ],
    name: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[
        list[str],
        typer.Option(help="read:incidents, read:posts, read:sources, read:reports, sql; may be repeated."),
    ],
    days: Annotated[int, typer.Option(help="Days it is valid; api.token_days at most.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Make a token. Its value is printed this once and stored nowhere."""
    from commands import tokens  # with the database's room

    with opened() as home:
        value, token = tokens.make(home, login, name, scope, days, _login(), now())
    if as_json:
        print_json({"id": token.id, "token": value, "scopes": token.scopes, "expires_at": token.expires_at})
        return
    echo(value)
    err.print(f"token {token.id} of {login}, valid until {token.expires_at:%Y-%m-%d}; it is not shown again")


@token_app.command("list")
def token_list(
    login: Annotated[str, typer.Argument(help="Account; default: all.")] = "", as_json: AsJson = False
) -> None:
    """Which tokens there are, when each was last used, and until when it is valid."""
    from commands import tokens  # with the database's room

    with opened() as home:
        rows = tokens.listed(home, login)
    if as_json:
        print_json(
            [
                {
                    "id": row.id,
                    "login": row.account.login,
                    "name": row.name,
                    "hint": row.hint,
                    "scopes": row.scopes,
                    "state": row.state(now()),
                    "last_used_at": row.last_used_at,
                    "expires_at": row.expires_at,
                }
                for row in rows
            ]
        )
        return
    print_table(
        ["token", "account", "for", "scopes", "state", "last used", "valid until"],
        [
            [
                str(row.id),
                row.account.login,
                row.name,
                " ".join(row.scopes),
                row.state(now()),
                f"{row.last_used_at.astimezone(home.zone):%Y-%m-%d %H:%M}" if row.last_used_at else "never",
                f"{row.expires_at.astimezone(home.zone):%Y-%m-%d}",
            ]
            for row in rows
        ],
    )


@token_app.command("revoke")
def token_revoke(number: Annotated[int, typer.Argument(help="Number of the token.")]) -> None:
    """End a token at once."""
    from commands import tokens  # with the database's room

    with opened() as home:
        token = tokens.revoke(home, number, _login(), now())
    echo(f"token {token.id} ({token.name}) of {token.account.login} is revoked")


@app.command()
def purge(
    object_to: Annotated[
        str,
        typer.Option("--object-to", help="Remove the post at this address for ever: its author objected."),
    ] = "",
) -> None:
    """Delete what is older than privacy.* allows, and tell what went."""
    import scheduler  # for the wording of summaries
    from incidents import index, retention
    from spiders import evidence_job, traces

    with opened() as home:
        if object_to:
            result: object = traces.object_to(
                home,
                "page",
                object_to,
                reason="objection to one page",
                actor=_login(),
                channel="cli",
                now=now(),
            )
        else:
            with home.db.transaction() as session:
                result = retention.purge(session, now(), home.settings.privacy)
        index.compact(home.db, float("inf"))
        swept = evidence_job.sweep(home.db, home.bundle, home.keys, now())
        echo(scheduler.summary(result))
        if swept.deleted or swept.orphans:
            echo(
                f"evidence folder: {swept.deleted} files deleted, {swept.orphans} set apart in evidence/orphans"
            )
    if swept.trouble:
        raise Problem(f"the evidence folder could not be brought into line: {swept.trouble}; run this again")


@app.command()
def doctor(
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only what cannot wait, without the network: for cron of a second host."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Is everything well? Channels, roster, calendar, disk, lag, sources, record. Exit code 1 if something is not."""
    if check:
        _doctor_check(as_json)
        return
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


def _doctor_check(as_json: bool) -> None:
    """The audit that the outside ping waits for, once; changes nothing."""
    from alerts import rota, watch  # loads the channels

    with opened() as home, home.db.reading() as session:
        bundle = rota.in_force(session, home.bundle, now())
        reasons = watch.audit(session, bundle, home.keys.audit, now())
    if as_json:
        print_json({"ok": not reasons, "reasons": reasons})
    else:
        for line in reasons or ["Good: tick, senders, roster and record are as they should be"]:
            echo(line)
    if reasons:
        raise typer.Exit(1)


def fail(text: str, code: int = 1) -> NoReturn:
    """Say what went wrong and leave."""
    err.print(f"quansheng: {text}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def main() -> None:
    """Entry point: user errors become one sentence, bugs keep their traceback."""
    heap.few()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a terminal or cron job that cannot show Chinese must not end the command
            stream.reconfigure(errors="backslashreplace")
    sys.argv[1:] = _common_first(sys.argv[1:])
    try:
        app()
    except ConfigError as exc:
        fail("\n".join(exc.problems))
    except QueryError as exc:
        fail(f"{exc}\n{exc.pointer}")
    except (Problem, SchemaTooNew) as exc:
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
