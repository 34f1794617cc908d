"""One installation, opened: its configuration, its keys and its database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from config.bundle import Bundle, load_bundle
from config.keys import Keys, load_keys
from config.settings import Settings
from incidents.session import Database
from incidents.store import open_database
from incidents.trouble import Problem

__all__ = ["Installation", "Problem", "open_bundle", "open_installation"]


@dataclass(frozen=True)
class Installation:
    """What every stage works with."""

    db: Database
    bundle: Bundle
    keys: Keys

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return self.bundle.settings

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which its people read times."""
        return ZoneInfo(self.settings.city.timezone)


def open_installation(config: Path | None = None, **overrides: Any) -> Installation:
    """Read the configuration and open what it names. Raises ConfigError, Problem or SchemaTooNew."""
    return open_bundle(load_bundle(config, **overrides))


def open_bundle(bundle: Bundle) -> Installation:
    """Open keys and database of a configuration that is read already."""
    settings = bundle.settings
    folder = settings.data_path
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise Problem(f"{folder}: cannot be made: {exc.strerror}; choose another data_dir") from exc
    key, stored = folder / "secret.key", folder / "quansheng.db"
    if not settings.database.url and stored.exists() and not key.exists():
        # a new key would sign on under another name: the record would never verify again
        raise Problem(
            f"{key}: missing, though {stored} is in use; restore it from your backup before anything is written"
        )
    keys = load_keys(folder)
    db = open_database(
        settings.database_url,
        audit_key=keys.audit,
        busy_timeout_s=settings.database.busy_timeout_s,
        departments=bundle.departments,
    )
    return Installation(db, bundle, keys)
