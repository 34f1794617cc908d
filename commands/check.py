"""What `quansheng check` warns of: valid settings that hardly mean what somebody wanted."""

from __future__ import annotations

import os

from alerts import obligations
from alerts.calendar import WorkCalendar
from alerts.holidays import disagreements
from config.bundle import Bundle
from config.settings import ConfigError
from config.sources import FolderSource, OwnSource, PushSource, SqlSource, doubtful_ways
from spiders.intake.mapping import mapping_of


def check_warnings(bundle: Bundle, calendar: WorkCalendar) -> list[str]:
    """One sentence each: ways in that stand as public, days on which two holiday sources differ, units nobody bears."""
    found = [*doubtful_ways(bundle.sources), *disagreements(calendar), *_not_ready(bundle)]
    rendered = [one.id for one in bundle.sources if one.enabled and getattr(one, "render", "") == "browser"]
    if rendered:
        from spiders.browser import missing  # loads the crawler

        if why := missing(bundle.settings.crawl):
            found.append(f"sources.yaml: {', '.join(rendered)}: {why}")
    for rule in bundle.rules.rules():
        _, unknown = obligations.units_of(bundle, rule)
        found += [
            f"rules: {rule.id}: no department bears the name {name}; add it to name_2018 in departments.yaml"
            for name in unknown
        ]
    return found


def check_mappings(bundle: Bundle) -> None:
    """Raises ConfigError when a source that hands rows over names a mapping profile that is absent or wrong."""
    problems: list[str] = []
    for source in bundle.sources:
        if isinstance(source, OwnSource):
            try:
                mapping_of(source, bundle.settings.config_dir)
            except ConfigError as exc:
                problems += exc.problems
    if problems:
        raise ConfigError(problems)


def _not_ready(bundle: Bundle) -> list[str]:
    """What an enabled source that hands rows over still lacks on this machine."""
    found = []
    for source in bundle.sources:
        if not source.enabled:
            continue
        if isinstance(source, FolderSource):
            folder = bundle.settings.config_dir / source.folder
            if not folder.is_dir():
                found.append(
                    f"sources.yaml: {source.id}: the folder {folder} is not there; make it or mount it"
                )
            elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                found.append(
                    f"sources.yaml: {source.id}: this account may not read and write in {folder}; files could not be moved to done/"
                )
        values = (
            (source.secret, source.old_secret)
            if isinstance(source, PushSource)
            else (source.database,)
            if isinstance(source, SqlSource)
            else ()
        )
        found += [
            f"sources.yaml: {source.id}: {value} is not set in this environment"
            for value in values
            if value and not os.environ.get(value.strip("${}"))
        ]
    return found
