"""HTTP's dates: the one form that is written, and the two old ones that are still read (RFC 9110,
5.6.7). Anything else is no date. A cache reads them in any case (RFC 9111, 4.2).
"""

from __future__ import annotations

import re
from typing import Final

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # fmt: skip
_MONTH: Final = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME: Final = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DAY: Final = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY: Final = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_ANY_CASE: Final = re.IGNORECASE | re.ASCII
_FORMS: Final = (
    re.compile(rf"{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT", _ANY_CASE),
    re.compile(rf"{_LONG_DAY}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT", _ANY_CASE),
    re.compile(rf"{_DAY} {_MONTH} (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})", _ANY_CASE),
)
_DAYS_OF_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PIVOT_YEARS: Final = 50
"""A year of two digits that would be so far ahead is of the century before."""
_YEAR_S: Final = 31_556_952


def seconds(text: str, now_s: float) -> float | None:
    """Since the Unix epoch; None if it is no date."""
    for form in _FORMS:
        found = form.fullmatch(text)
        if found is not None:
            return _seconds(found, now_s)
    return None


def _seconds(found: re.Match[str], now_s: float) -> float | None:
    month = _MONTHS.index(found["month"].title()) + 1
    day, hour, minute, second = (int(found[each]) for each in ("day", "hour", "minute", "second"))
    if not 0 < day <= _DAYS_OF_MONTH[month - 1] or hour > 23 or minute > 59 or second > 60:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        this_year = 1970 + int(now_s // _YEAR_S)
        year += this_year // 100 * 100
        if year > this_year + _PIVOT_YEARS:
            year -= 100
    if year < 1:
        return None
    minutes = (_days(year, month, day) * 24 + hour) * 60 + minute
    return float(minutes * 60 + second)


def _days(year: int, month: int, day: int) -> int:
    """From the first of January 1970 on."""
    year -= month < 3  # a year that begins in March ends with its leap day
    leap_days = year // 4 - year // 100 + year // 400
    return 365 * year + leap_days + (153 * ((month - 3) % 12) + 2) // 5 + day - 719_469
