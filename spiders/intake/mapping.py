"""The mapping profile of a source that hands rows over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from config.settings import ConfigError
from config.sources import OwnSource, Source
from spiders.profiles import DEFAULT, Profile, load_profile


def mapping_of(source: OwnSource, config_dir: Path) -> Profile:
    """The profile with the source's id on every row, whatever a column says: by its id a matter keeps its way, and so its clocks.

    Raises ConfigError with one entry per wrong value, also when there is no such profile.
    """
    packaged = DEFAULT.with_name(f"{source.profile}.yaml")
    path = packaged if packaged.is_file() else config_dir / source.profile
    try:
        profile = load_profile(path)
    except ConfigError as exc:
        raise ConfigError([f"sources.yaml, {source.id}: profile: {one}" for one in exc.problems]) from exc
    told = source.model_fields_set
    return profile.model_copy(
        update={
            "source_id": source.id,
            "columns": {name: names for name, names in profile.columns.items() if name != "source"},
            **({"timezone": source.timezone} if "timezone" in told else {}),
            **({"encoding": source.charset} if source.charset else {}),
        }
    )


def origin_of(source_id: str, what: str) -> str:
    """How set-aside rows of a source name where they came from: `mapping_of_origin` finds the source again."""
    return f"{source_id}/{what}"


def mapping_of_origin(sources: Sequence[Source], config_dir: Path, origin: str) -> Profile | None:
    """The profile by which a set-aside row is tried again; None when no source of this kind handed it over."""
    name, slash, _ = origin.partition("/")
    source = next((one for one in sources if one.id == name), None) if slash else None
    return mapping_of(source, config_dir) if isinstance(source, OwnSource) else None
