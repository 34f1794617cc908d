"""Writing a configuration folder to begin with: `quansheng init`."""

from __future__ import annotations

from pathlib import Path

from config.files import DEFAULTS
from config.reference import secrets_env, settings_toml
from config.settings import ConfigError


def default_files() -> dict[str, str]:
    """Every file of a fresh configuration folder: path inside it -> text."""
    texts = {"quansheng.toml": settings_toml(), "env.example": secrets_env()}
    for path in sorted(DEFAULTS.rglob("*.yaml")):
        texts[path.relative_to(DEFAULTS).as_posix()] = path.read_text("utf-8")
    return texts


def write_defaults(folder: Path, force: bool = False) -> list[Path]:
    """Write the commented default files into `folder` and return those that were written.

    A file that is there already stays as it is unless `force`. Raises ConfigError if the folder cannot be written.
    """
    written: list[Path] = []
    for name, text in default_files().items():
        path = folder / name
        if path.exists() and not force:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as exc:
            raise ConfigError(
                [f"{path}: cannot be written: {exc.strerror}; choose a folder that you may write to"]
            ) from exc
        written.append(path)
    return written
