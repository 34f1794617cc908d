from datetime import date
from enum import Enum

class Holiday(Enum):
    new_years_day = "New Year's Day"
    spring_festival = "Spring Festival"
    tomb_sweeping_day = "Tomb-sweeping Day"
    labour_day = "Labour Day"
    dragon_boat_festival = "Dragon Boat Festival"
    national_day = "National Day"
    mid_autumn_festival = "Mid-autumn Festival"
    anti_fascist_70th_day = "Anti-Fascist 70th Day"
    @property
    def chinese(self) -> str: ...

# value of Holiday (an English name) for each day off and each make-up working day
holidays: dict[date, str]
workdays: dict[date, str]
in_lieu_days: dict[date, str]

def is_workday(date: date) -> bool: ...
