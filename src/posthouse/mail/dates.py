"""Dates and times: the Date field and INTERNALDATE, both ways (RFC 5322 §3.3, §4.3, RFC 9051 §9).

Inside Posthouse a time is Millis. Reading is tolerant, as §4.3 asks; writing is exact. Nothing here asks what time
it is.
"""

import re
from functools import lru_cache

from posthouse.mail.ids import Millis

VALUE_LENGTH = 256  # octets of a Date field that are looked at; a date with comments needs some 60
LAST_YEAR = 9999  # the most that four digits of INTERNALDATE can say
# The first and the last second of the years 0 to LAST_YEAR in UTC.
_FIRST_SECOND, _LAST_SECOND = -62_167_219_200, 253_402_300_799
REMEMBERED = 256  # days, and zones, that are not worked out again: mail that comes together is of few
ZONE = 24 * 60  # minutes; a zone beyond a day is no zone

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.lower().encode(): number for number, name in enumerate(_MONTHS, 1)}
_DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")  # 1970-01-01 was a Thursday
_DAY_SECONDS = 86_400
# RFC 5322 §4.3   obs-zone; the single letters of the military zones mean -0000 (their signs were printed wrong)
_ZONES = {b"ut": 0, b"gmt": 0, b"utc": 0, b"z": 0, b"est": -300, b"edt": -240, b"cst": -360, b"cdt": -300}
_ZONES |= {b"mst": -420, b"mdt": -360, b"pst": -480, b"pdt": -420}
# Not in the RFC, but in real mail.
_ZONES |= {b"cet": 60, b"cest": 120, b"met": 60, b"mest": 120, b"bst": 60, b"jst": 540, b"msk": 180, b"eet": 120}

# RFC 5322 §3.3   date-time = [ day-of-week "," ] day month year hour ":" minute [ ":" second ] zone
_DATE_TIME = re.compile(
    rb"(?:[A-Za-z]{2,9}\.?[ \t]*,?[ \t]*)?"
    rb"(\d{1,2})[ \t.-]{1,4}([A-Za-z]{3})[A-Za-z]{0,6}\.?[ \t,-]{1,4}(\d{2,4})[ \t,]{1,4}"
    rb"(\d{1,2})[:.](\d{1,2})(?:[:.](\d{1,2})(?:[.,]\d{1,9})?)?[ \t]*"
    rb"([AaPp][Mm]\b)?[ \t]*([+-]\d{3,4}\b|[A-Za-z]{1,5}\b)?"
)
# What ctime(3) prints, seen in old mail: Wed Sep  4 11:22:33 [zone] 2002 [zone]
_CTIME = re.compile(
    rb"[A-Za-z]{3},?[ \t]+([A-Za-z]{3})[ \t]+(\d{1,2}),?[ \t]+(\d{1,2}):(\d{2})(?::(\d{2}))?[ \t]+"
    rb"(?:([+-]\d{4}|[A-Za-z]{1,5})[ \t]+)?(\d{4})\b[ \t]*([+-]\d{4}\b)?"
)
_COMMENT = re.compile(rb"\([^()]*\)")
# The form of RFC 5322 §3.3 as nearly all mail has it, also with the zone's name behind it.
_USUAL = re.compile(
    rb"[ \t]*+(?:[A-Za-z]{3}, )?(\d{1,2} [A-Za-z]{3} \d{4}) (\d\d):(\d\d):(\d\d) ([+-]\d{4})(?: \([A-Z]*+\))?\r?\Z"
)
# RFC 9051 §9   date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
_INTERNALDATE = re.compile(rb'"?([ \d]?\d)-([A-Za-z]{3})-(\d{4}) (\d{2}):(\d{2}):(\d{2}) ([+-]\d{4})"?\Z')


def parse_date(value: bytes) -> tuple[Millis, int] | None:
    """The instant and the zone's offset in minutes of a Date field, or None (RFC 5322 §3.3, §4.3). A missing weekday
    is fine, a wrong one too; years of two or three digits are meant as §4.3 says; a missing or unknown zone is UTC."""
    usual = _USUAL.match(value) if len(value) < VALUE_LENGTH else None
    if usual is None:
        return _parse_any_date(value)
    date, hour, minute, second, zone = usual.groups()
    return _in_zone(_usual_date(date), (int(hour), int(minute), int(second)), _zone(zone))


@lru_cache(REMEMBERED)
def _usual_date(date: bytes) -> tuple[int, int, int] | None:
    """Year, month and day of `1 Jan 2024`; None where there is no such month."""
    day, month, year = date.split(b" ")
    number = _MONTH.get(month.lower())
    return None if number is None else (int(year), number, int(day))


def _in_zone(
    date: tuple[int, int, int] | None, time: tuple[int, int, int], offset: int | None
) -> tuple[Millis, int] | None:
    """What parse_date gives, of what was read."""
    if date is None or offset is None:
        return None
    instant = _instant(date, time, offset)
    return None if instant is None else (instant, offset)


def _parse_any_date(value: bytes) -> tuple[Millis, int] | None:
    line = value[:VALUE_LENGTH].rstrip()
    if b"\n" in line or b"\r" in line:
        line = line.replace(b"\r", b" ").replace(b"\n", b" ")
    if b"(" in line:
        line = _COMMENT.sub(b" ", line)
    line = line.strip()
    match = _DATE_TIME.match(line)
    if match is not None:
        day, month, year, hour, minute, second, half, zone = match.groups()
        hours = _hours(int(hour), half)
    else:
        match = _CTIME.match(line)
        if match is None:
            return None
        month, day, hour, minute, second, zone, year, zone_after = match.groups()
        zone, hours = zone_after or zone, int(hour)
    number = _MONTH.get(month.lower())
    date = None if number is None else (_full_year(year), number, int(day))
    return _in_zone(date, (hours, int(minute), int(second or b"0")), _zone(zone))


def _hours(hours: int, half: bytes | None) -> int:
    """Hours of a clock with AM and PM, which some mailers write."""
    if half is None or not 1 <= hours <= 12:
        return hours
    return hours % 12 + (12 if half[:1] in b"Pp" else 0)


def _full_year(digits: bytes) -> int:
    """RFC 5322 §4.3: two digits below 50 are 2000 and more, others 1900 and more; three digits count from 1900."""
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year


@lru_cache(REMEMBERED)
def _zone(zone: bytes | None) -> int | None:
    """Minutes east of UTC. Letters that name no known zone mean UTC (RFC 5322 §4.3); None where it is no zone."""
    if zone is None:
        return 0
    if zone[:1] not in b"+-":
        return _ZONES.get(zone.lower(), 0)
    digits = zone[1:].rjust(4, b"0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    if int(digits[2:]) > 59 or minutes >= ZONE:
        return None
    return -minutes if zone[:1] == b"-" else minutes


def _instant(date: tuple[int, int, int], time: tuple[int, int, int], offset: int) -> Millis | None:
    """The Millis of a date and a time in a zone, or None where there is no such date. A leap second is the second
    after it."""
    year, month, day = date
    hour, minute, second = time
    if not (0 <= year <= LAST_YEAR and 1 <= day <= _month_length(year, month)):
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    seconds = _days(year, month, day) * _DAY_SECONDS + hour * 3600 + (minute - offset) * 60 + second
    return Millis(seconds * 1000) if _FIRST_SECOND <= seconds <= _LAST_SECOND else None


def _month_length(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@lru_cache(REMEMBERED)
def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the Gregorian calendar, with March as the first month of a year."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _date(days: int) -> tuple[int, int, int]:
    """Year, month and day from days since 1970-01-01: the way back of `_days`."""
    era, of_era = divmod(days + 719_468, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1


def _clock(instant: Millis) -> tuple[int, tuple[int, int, int], tuple[int, int, int]]:
    """Days since 1970, date and time in UTC; fractions of a second are cut off."""
    days, seconds = divmod(instant // 1000, _DAY_SECONDS)
    return days, _date(days), (seconds // 3600, seconds // 60 % 60, seconds % 60)


def format_internaldate(instant: Millis) -> bytes:
    """INTERNALDATE in UTC, with its quotes: `"17-Jul-1996 02:44:25 +0000"` (RFC 9051 §9, date-time). The year must
    have four digits."""
    _, (year, month, day), (hour, minute, second) = _clock(instant)
    return b'"%2d-%b-%04d %02d:%02d:%02d +0000"' % (day, _MONTHS[month - 1].encode(), year, hour, minute, second)


def parse_internaldate(value: bytes) -> Millis | None:
    """The instant of an IMAP date-time, with or without its quotes, or None (RFC 9051 §9)."""
    match = _INTERNALDATE.match(value)
    if match is None:
        return None
    day, month, year, hour, minute, second, zone = match.groups()
    number, offset = _MONTH.get(month.lower()), _zone(zone)
    if number is None or offset is None:
        return None
    return _instant((int(year), number, int(day)), (int(hour), int(minute), int(second)), offset)


def format_rfc5322(instant: Millis) -> str:
    """A Date field's value in UTC: `Wed, 17 Jul 1996 02:44:25 +0000` (RFC 5322 §3.3)."""
    days, (year, month, day), (hour, minute, second) = _clock(instant)
    weekday = _DAYS[days % 7]
    return f"{weekday}, {day} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} +0000"


# RFC 3339 §5.6   date-time = full-date "T" full-time; T and Z may be in lower case
_RFC3339 = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|([+-])(\d\d):(\d\d))\Z", re.IGNORECASE
)


def parse_rfc3339(value: bytes) -> Millis | None:
    """The Millis of a date-time (RFC 3339 §5.6), fractions of a second cut off; None where it is none."""
    match = _RFC3339.match(value)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[number]) for number in range(1, 7))
    zone = int(match[8] or 0) * 60 + int(match[9] or 0)
    if zone >= ZONE or int(match[9] or 0) > 59 or not 1 <= month <= 12:
        return None
    return _instant((year, month, day), (hour, minute, second), -zone if match[7] == b"-" else zone)


def format_rfc3339(instant: Millis, offset: int) -> str:
    """The local time in a zone `offset` minutes east of UTC: `1996-07-16T19:44:25-07:00` (RFC 3339 §5.6, the form of
    RFC 8620 §1.4)."""
    _, (year, month, day), (hour, minute, second) = _clock(Millis(instant + offset * 60_000))
    sign = "-" if offset < 0 else "+"
    zone = "Z" if offset == 0 else f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}"
