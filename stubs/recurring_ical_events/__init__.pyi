from datetime import datetime
from typing import Any

class _Query:
    def between(self, start: datetime, stop: datetime) -> list[Any]: ...

def of(a_calendar: object) -> _Query: ...
