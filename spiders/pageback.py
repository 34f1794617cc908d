"""One page of a back-fill: the range, where the page lies, what its dates say about the way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

#: where a page lies, in its connector's own terms; plain JSON, kept in the database
Place = dict[str, Any]
#: a row of a list often shows a day only, and in another zone
MARGIN = timedelta(days=1)
#: of the dated rows of a page so many may be young (pinned rows, a sidebar) and it still counts as behind the range
YOUNG_SHARE = 0.2
#: pages in a row with that few young rows that end a list; one page without any does it at once
OLD_PAGES = 2
#: articles that one reading of a page asks for: the host is held for a minute or two, then the next one gets its turn
MAX_ARTICLES = 100


@dataclass
class PageBack:
    """What a connector is told of a back-fill and tells about its page. The range is [start, until)."""

    backfill_id: int
    start: datetime
    until: datetime
    #: None: the first page
    place: Place | None = None
    #: `SourceRun.mark` of the ordinary readings
    marks: dict[str, str] = field(default_factory=dict)
    #: pages in a row, of this list, that lay behind the range
    old_pages: int = 0
    #: hash of the keys on the page before, "" at first
    before: str = ""
    # what this page said
    following: Place | None = None  # the next page of the same list
    other: Place | None = None  # the first page of the next list, where a source has several
    pause: timedelta = timedelta(0)  # the server asks for this before the next page
    _dates: list[datetime] = field(default_factory=list)
    _read: list[datetime] = field(default_factory=list)

    def note(self, when: datetime | None) -> None:
        """A date by which the list is sorted, of one of the page's rows; None: the row shows none."""
        if when is not None:
            self._dates.append(when)

    def note_read(self, when: datetime) -> None:
        """The date of a post of this page; counts where the list itself shows none."""
        self._read.append(when)

    def wants(self, when: datetime | None) -> bool:
        """Whether a row with this date may lie in the range; its page says so exactly."""
        return when is None or self.start - MARGIN <= when < self.until + MARGIN

    def holds(self, when: datetime) -> bool:
        """Whether a post of this time belongs to the range."""
        return self.start <= when < self.until

    @property
    def oldest(self) -> datetime | None:
        """How far back this page leads, a few odd rows left aside."""
        ordered = sorted(self._dates or self._read)
        return ordered[int(len(ordered) * YOUNG_SHARE)] if ordered else None

    def behind(self) -> int:
        """Pages in a row behind the range, this one included; 0 when this one is not."""
        dates = self._dates or self._read
        young = sum(when >= self.start for when in dates)
        if not dates or young > YOUNG_SHARE * len(dates):
            return 0
        return OLD_PAGES if not young else self.old_pages + 1

    def next_place(self, keys: str) -> Place | None:
        """Where the back-fill goes on; None when it is at its end. `keys`: hash of this page's keys, "" of none.

        Some servers show their last page again and again to those who ask for a later one.
        """
        if self.behind() >= OLD_PAGES or (keys and keys == self.before):
            return self.other
        return self.following if self.following is not None else self.other
