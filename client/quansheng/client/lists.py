"""Lists that fetch their pages when they are read, and become pandas frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

Row = dict[str, Any]


def frame_of(rows: list[Row] | list[list[Any]], columns: list[str] | None = None) -> pandas.DataFrame:
    """Rows as a frame; columns that hold times (`..._at`, `hour`, `start`) become times in UTC. Needs pandas."""
    try:
        import pandas as pd  # optional: only frames need it
    except ImportError as exc:
        raise ImportError('frames need pandas: pip install "quansheng-client[pandas]"') from exc
    frame = pd.DataFrame(rows, columns=columns)
    for name in frame.columns:
        if str(name).endswith("_at") or name in ("hour", "start"):
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame


class Rows:
    """A list of the API. Reading it asks page after page; nothing is asked before."""

    def __init__(self, page: Callable[[str], Row]) -> None:
        self._page = page

    def __iter__(self) -> Iterator[Row]:
        cursor = ""
        while True:
            page = self._page(cursor)
            yield from page["items"]
            cursor = page["next"] or ""
            if not cursor:
                return

    def first(self, number: int) -> list[Row]:
        """The first rows; pages behind them are not asked."""
        return list(islice(self, number))

    def frame(self, limit: int | None = None) -> pandas.DataFrame:
        """All rows, or the first `limit`, as a frame."""
        return frame_of(list(self) if limit is None else self.first(limit))


class Table(list[Row]):
    """An answer that is whole: a list that becomes a frame."""

    def frame(self) -> pandas.DataFrame:
        """The rows as a frame."""
        return frame_of(list(self))


class SqlRows:
    """The answer of one SQL query. `more`: the installation cut it off; `made_at`: when the copy was made."""

    def __init__(self, said: Row) -> None:
        self.columns: list[str] = said["columns"]
        self.rows: list[list[Any]] = said["rows"]
        self.more: bool = said["more"]
        self.made_at: str = said["made_at"]
        self.took_ms: int = said["took_ms"]

    def __iter__(self) -> Iterator[Row]:
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def frame(self) -> pandas.DataFrame:
        """The rows as a frame."""
        return frame_of(self.rows, self.columns)
