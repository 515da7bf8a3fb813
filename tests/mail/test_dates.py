"""Dates both ways (RFC 5322 §3.3, §4.3, RFC 9051 §9)."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.dates import format_internaldate, format_rfc3339, format_rfc5322, parse_date, parse_internaldate
from posthouse.mail.ids import Millis

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999, which datetime knows
WHEN = Millis(837_596_665_000)  # 1996-07-17T09:44:25Z


@pytest.mark.parametrize(
    ("value", "instant", "offset"),
    [
        (b"Wed, 17 Jul 1996 02:44:25 -0700 (PDT)", WHEN, -420),
        (b" 17 Jul 1996 02:44:25 -0700", WHEN, -420),
        (b"Wed, 17 Jul 96 02:44:25 PDT", WHEN, -420),
        (b"Wed, 17 Jul 096 02:44:25 -0700", WHEN, -420),
        (b"Wednesday, 17-July-1996 09:44:25 GMT", WHEN, 0),
        (b"Wed, 17 Jul 1996 09:44:25", WHEN, 0),
        (b"Wed, 17 Jul 1996 09:44:25 A", WHEN, 0),
        (b"Wed, 17 Jul 1996 9.44.25 XYZ", WHEN, 0),
        (b"Wed,\r\n 17 (comment) Jul 1996 09:44:25 +0000", WHEN, 0),
        (b"Tue, 17 Jul 1996 09:44:25.123 Z", WHEN, 0),
        (b"Wed Jul 17 09:44:25 1996", WHEN, 0),
        (b"Wed Jul 17 02:44:25 PDT 1996", WHEN, -420),
        (b"Wed Jul 17 02:44:25 1996 -0700", WHEN, -420),
        (b"Wed, 17 Jul 1996 09:44:25 AM", WHEN, 0),
        (b"Wed, 17 Jul 1996 09:44:25 PM", Millis(WHEN + 12 * 3_600_000), 0),
        (b"Wed, 17 Jul 1996 21:44:25 PM", Millis(WHEN + 12 * 3_600_000), 0),
        (b"17 Jul 02 09:44 +0000", Millis(1_026_899_040_000), 0),
        (b"29 Feb 2000 00:00:00 +000", Millis(951_782_400_000), 0),
        (b"31 Dec 1998 23:59:60 +0000", Millis(915_148_800_000), 0),
    ],
)
def test_parse_date(value: bytes, instant: Millis, offset: int) -> None:
    assert parse_date(value) == (instant, offset)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"yesterday",
        b"17 Xyz 1996 00:00:00 +0000",
        b"29 Feb 1900 00:00:00 +0000",
        b"31 Apr 2000 00:00:00 +0000",
        b"0 Jan 2000 00:00:00 +0000",
        b"1 Jan 2000 24:00:00 +0000",
        b"1 Jan 2000 00:60:00 +0000",
        b"1 Jan 2000 00:00:61 +0000",
        b"1 Jan 2000 00:00:00 +2400",
        b"1 Jan 2000 00:00:00 +0060",
        b"31 Dec 9999 23:59:59 -0100",
        b"1 Jan 0000 00:00:00 +0100",
    ],
)
def test_no_date(value: bytes) -> None:
    assert parse_date(value) is None


@given(st.binary(max_size=80) | st.text("0123456789 :+-,()JanFebUTC", max_size=60).map(str.encode))
def test_garbage_is_no_date(value: bytes) -> None:
    parse_date(value)
    parse_internaldate(value)


@given(
    st.sampled_from([b"", b"Mon, ", b"\t Tue, ", b"Xyz,"]),
    st.tuples(st.integers(0, 40), st.sampled_from([b"Jan", b"feb", b"FEB", b"Jux"]), st.integers(0, 12_000)),
    st.tuples(st.integers(0, 25), st.integers(0, 61), st.integers(0, 61)),
    st.sampled_from([b"+0000", b"-0130", b"+1400", b"+2400", b"+0060", b"-0000 (UTC)", b"+0100 (cet)", b"+0000\r"]),
)
def test_the_usual_date_is_read_as_any_other(
    weekday: bytes, date: tuple[int, bytes, int], time: tuple[int, int, int], zone: bytes
) -> None:
    value = weekday + b"%d %b %d %02d:%02d:%02d " % (*date, *time) + zone
    assert parse_date(value) == parse_date(value.replace(b" ", b"  "))


@given(st.integers(FIRST, LAST).map(lambda seconds: Millis(seconds * 1000)))
def test_dates_come_back(instant: Millis) -> None:
    assert parse_internaldate(format_internaldate(instant)) == instant
    assert parse_date(format_rfc5322(instant).encode()) == (instant, 0)
    then = EPOCH + timedelta(milliseconds=instant)
    day, month, year = format_internaldate(instant).decode().strip('"').partition(" +")[0].lstrip().split("-", 2)
    assert (int(day), int(year[:4]), f"{then:%b}") == (then.day, then.year, month)
    assert f"{then:%a}, {then.day} " == format_rfc5322(instant)[: 6 + len(str(then.day))]


@given(st.datetimes(min_value=datetime(1901, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.sampled_from([UTC])))
def test_agrees_with_python(then: datetime) -> None:
    then = then.replace(microsecond=0)
    instant = (then - EPOCH) // timedelta(milliseconds=1)
    assert parse_date(format_datetime(then).encode()) == (instant, 0)
    assert parsedate_to_datetime(format_rfc5322(Millis(instant))) == then


@given(st.integers(FIRST + 86_400, LAST - 86_400), st.integers(-1_439, 1_439))
def test_local_time_comes_back(seconds: int, offset: int) -> None:
    text = format_rfc3339(Millis(seconds * 1000), offset)
    then = datetime.fromisoformat(text)
    assert (then - EPOCH) // timedelta(seconds=1) == seconds
    assert then.utcoffset() == timedelta(minutes=offset)


def test_internaldate_examples() -> None:
    assert format_internaldate(Millis(837_570_265_999)) == b'"17-Jul-1996 02:24:25 +0000"'
    assert format_internaldate(Millis(0)) == b'" 1-Jan-1970 00:00:00 +0000"'
    assert parse_internaldate(b'" 1-jan-1970 01:00:00 +0100"') == 0
    assert parse_internaldate(b"01-JAN-1970 00:00:00 -0030") == 1_800_000


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b'"1-Jan-70 00:00:00 +0000"',
        b'"32-Jan-1970 00:00:00 +0000"',
        b'"01-Foo-1970 00:00:00 +0000"',
        b'"01-Jan-1970 00:00:00 +9900"',
        b'"01-Jan-1970 00:00:00 GMT"',
        b'"01-Jan-1970 00:00:00 +0000"x',
    ],
)
def test_no_internaldate(value: bytes) -> None:
    assert parse_internaldate(value) is None
