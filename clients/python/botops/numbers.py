"""Values as the contract writes them: amounts as texts of digits, times as RFC 3339, the rest as plain JSON.

Each function returns a piece of JSON text, or raises `BadValue` with what would be right. Nothing is rounded, and no
amount ever passes through a float: a float that the bot has itself is taken by the digits that Python shows of it.
"""
from __future__ import annotations

import math
import re
from datetime import date, datetime, timezone
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, Tuple

# What botops reads as a number, and how long it may be.
_AMOUNT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LONGEST_AMOUNT = 128
# Exponents up to here are written out; beyond, a decimal stays as Python writes it.
_LARGEST_EXPONENT = 64
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?")
# Epoch numbers above this are milliseconds, as exchanges give them: in seconds they would lie beyond the year 5000.
_MILLISECONDS_FROM = 100_000_000_000
_FIRST_YEAR = 1900
_LARGEST_COUNT = 1 << 32
_LONGEST_COUNT = 10
# Above this an int has more digits than an amount; writing a million of them out would take seconds.
_MOST_BITS = 1_024
_LONGEST_TEXT = 2_000
_DEEPEST = 8
_MOST_VALUES = 5_000
_LARGEST_DETAILS = 64 * 1024

NULL = "null"


class BadValue(ValueError):
    """A value that cannot be told as it is; the text says what would be right."""


def quoted(text: str) -> str:
    """A text as JSON."""
    return encode_basestring(text)


def amount_text(value: Any) -> str:
    """The digits of an amount: of a `Decimal`, a text, an int, or a float by its `repr`.

    Raises `BadValue` for what is no finite number.
    """
    text: str
    kind = type(value)
    if kind is str:
        text = value.strip()
    elif kind is float:
        text = repr(value)
    elif kind is int:
        text = _digits(value)
    elif isinstance(value, Decimal):
        # `f` writes an exponent out, exactly; one that is absurd would fill the memory.
        exponent = value.as_tuple().exponent
        is_plain = isinstance(exponent, int) and abs(exponent) <= _LARGEST_EXPONENT
        text = format(value, "f") if is_plain else str(value)
    elif isinstance(value, bool):
        raise BadValue("expected a number, not a truth value")
    elif isinstance(value, float):
        text = float.__repr__(value)
    else:
        # Numbers of other packages write their own digits.
        text = str(value).strip()
    if len(text) > _LONGEST_AMOUNT or not _AMOUNT.fullmatch(text):
        raise BadValue("expected a decimal number, such as \"12.50\"")
    return text


def amount(value: Any) -> str:
    """An amount of money, a price or a quantity; `None` is null."""
    return NULL if value is None else f'"{amount_text(value)}"'


def number(value: Any) -> str:
    """A ratio, a duration or a percentage as a JSON number; `None` is null."""
    if value is None:
        return NULL
    text = amount_text(value)
    sign, digits = ("-", text[1:]) if text[0] == "-" else ("", text.lstrip("+"))
    whole, point, rest = digits.partition(".")
    if point:
        fraction = rest if rest[:1].isdigit() else "0" + rest
        return f"{sign}{whole.lstrip('0') or '0'}.{fraction}"
    return sign + (digits.lstrip("0") if digits.lstrip("0")[:1].isdigit() else "0" + digits.lstrip("0"))


def count(value: Any) -> str:
    """A whole number, not below zero; `None` is null."""
    if value is None:
        return NULL
    try:
        # Asked before `int`, which takes half a minute for a decimal such as 1E+400000.
        whole = int(value) if _may_be_count(value) else -1
        is_whole = not isinstance(value, bool) and whole == value or str(whole) == value
    except (TypeError, ValueError, ArithmeticError):
        is_whole = False
    if not is_whole or not 0 <= whole < _LARGEST_COUNT:
        raise BadValue("expected a whole number, not below zero")
    return str(whole)


def _may_be_count(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_COUNT
    try:
        return bool(0 <= value < _LARGEST_COUNT)
    except TypeError:
        return True  # a number of another package that has no order


def text(value: Any) -> str:
    """Any text, at most 2,000 characters of it; `None` is null."""
    if isinstance(value, (bytes, bytearray)):
        raise BadValue("expected a text, not bytes")
    return NULL if value is None else quoted(_plain_text(value))


def _plain_text(value: Any) -> str:
    return (_digits(value) if isinstance(value, int) else str(value))[:_LONGEST_TEXT]


def _digits(value: int) -> str:
    if value.bit_length() > _MOST_BITS:
        raise BadValue("expected a number of fewer digits")
    return str(value)


def identifier(value: Any) -> str:
    """An id or a symbol: a text, or a number by its digits; `None` is null."""
    if value is None:
        return NULL
    if isinstance(value, (bool, float, bytes, bytearray)):
        raise BadValue("expected a text or a whole number")
    return quoted(_plain_text(value))


def flag(value: Any) -> str:
    """True or false; `None` is null."""
    if value is None:
        return NULL
    if not isinstance(value, bool):
        raise BadValue("expected True or False")
    return "true" if value else "false"


def time_of(value: Any) -> Tuple[str, bool]:
    """A time as JSON text, and whether it came without a zone and was taken as UTC.

    A `datetime`, an RFC 3339 text, or the seconds or milliseconds since 1970. Raises `BadValue` for anything else.
    """
    if value is None:
        return NULL, False
    if isinstance(value, datetime):
        is_naive = value.utcoffset() is None
        at = value.replace(tzinfo=timezone.utc) if is_naive else value.astimezone(timezone.utc)
        if at.year < _FIRST_YEAR:
            raise BadValue("expected a time from 1900 on")
        return f'"{at.isoformat()[:-6]}Z"', is_naive
    if isinstance(value, str):
        written = _TIME.fullmatch(value.strip())
        if not written or int(value.strip()[:4]) < _FIRST_YEAR:
            raise BadValue("expected a time as RFC 3339 with its zone, such as 2026-03-02T15:00:00Z")
        zone = written.group(1)
        return f'"{written.group(0).replace(" ", "T")}{"" if zone else "Z"}"', zone is None
    if isinstance(value, (bool, date)) or value != value:
        raise BadValue("expected a time, not a day or a truth value")
    try:
        seconds = float(value)
        seconds = seconds / 1000 if abs(seconds) >= _MILLISECONDS_FROM else seconds
        return f'"{moment_text(seconds)}"', False
    except (TypeError, ValueError, OverflowError, OSError):
        raise BadValue("expected a time as datetime, RFC 3339 text or seconds since 1970") from None


def moment_text(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()[:-6] + "Z"


def anything(value: Any) -> str:
    """What a bot gives as details, as JSON: decimals are texts, what JSON has no word for is its `str`.

    Raises `TooLarge` for more than fits beside an event.
    """
    return _Details().text_of(value, 0)


class TooLarge(ValueError):
    """Details of more than 64 KiB of text or 5,000 values."""


class _Details:
    """Writes one value, and stops when it becomes too large: an order book given whole must not cost the loop a second."""

    def __init__(self) -> None:
        self._bytes = 0
        self._values = 0

    def text_of(self, value: Any, depth: int) -> str:
        self._values += 1
        if self._values > _MOST_VALUES or self._bytes > _LARGEST_DETAILS:
            raise TooLarge("more than 64 KiB of details")
        if depth < _DEEPEST and isinstance(value, dict):
            members = [f"{self._counted(quoted(str(name)[:_LONGEST_TEXT]))}:{self.text_of(item, depth + 1)}"
                       for name, item in value.items()]
            return "{" + ",".join(members) + "}"
        if depth < _DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
            return "[" + ",".join([self.text_of(item, depth + 1) for item in value]) + "]"
        return self._counted(_simple(value))

    def _counted(self, text: str) -> str:
        self._bytes += len(text)
        return text


def _simple(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return NULL if value is None else "true" if value else "false"
    if isinstance(value, int):
        return _digits(int(value))
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else NULL
    if isinstance(value, datetime):
        return time_of(value)[0]
    return quoted(str(value)[:_LONGEST_TEXT])
