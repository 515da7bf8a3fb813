"""Sizes and counts in words, as people read them."""

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def in_words(octets: int) -> str:
    """A size of three digits or so: "999 octets", "1.5 KiB", "412 MiB". It is cut, so that what is just below a limit
    does not look like it."""
    if octets < 1024:
        return f"{octets} octet{'' if octets == 1 else 's'}"
    power = min((octets.bit_length() - 1) // 10, len(_UNITS))
    whole, tenths = divmod(octets * 10 >> 10 * power, 10)
    return f"{whole}.{tenths} {_UNITS[power - 1]}" if whole < 10 and tenths else f"{whole} {_UNITS[power - 1]}"


def counted(number: int, thing: str) -> str:
    """How many there are: "1 message", "1,200 messages"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
