from datetime import date
from enum import Enum

class Holiday(Enum):
    @property
    def chinese(self) -> str: ...

# value of Holiday (an English name) for each day off and each make-up working day
holidays: dict[date, str]
workdays: dict[date, str]
in_lieu_days: dict[date, str]

def is_workday(date: date) -> bool: ...
