"""Members of a request as they were given: absent, or of the type that the contract has for them.

A member of another type is never taken as absent: a `dry_run` that is not understood would act for real.
"""
from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Optional

from .trades import parse_moment

_FLAGS = ("durable", "start", "exits")
_TEXTS = ("code", "until")


class Malformed(ValueError):
    """A member that is not what the contract has for it."""


def text(given: Mapping[str, Any], name: str) -> Optional[str]:
    """A text."""
    value = given.get(name)
    if value is None or isinstance(value, str):
        return value
    raise Malformed(f"`{name}` is a text")


def flag(given: Mapping[str, Any], name: str) -> bool:
    """True or false; false when it is absent."""
    value = given.get(name)
    if value is None or isinstance(value, bool):
        return value is True
    raise Malformed(f"`{name}` is true or false")


def seconds(given: Mapping[str, Any], name: str) -> Optional[float]:
    """A number of milliseconds, in seconds."""
    value = given.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return value / 1000
    except OverflowError:
        pass
    raise Malformed(f"`{name}` is a number of milliseconds")


def moment(given: Mapping[str, Any], name: str) -> Optional[float]:
    """A time as RFC 3339 with its zone, in seconds since 1970."""
    value = text(given, name)
    if value is None:
        return None
    at = parse_moment(value)
    if at is None:
        raise Malformed(f"`{name}` is a time as RFC 3339 with its zone")
    return at


def texts(given: Mapping[str, Any], name: str) -> Optional[List[str]]:
    """A list of texts."""
    value = given.get(name)
    if value is None or isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    raise Malformed(f"`{name}` is a list of texts")


def arguments(given: Mapping[str, Any]) -> Dict[str, Any]:
    """The `args` of a command. What the contract does not name is the bot's own, and not looked at."""
    args = given.get("args")
    if args is None:
        return {}
    if not isinstance(args, dict):
        raise Malformed("`args` is an object")
    texts(args, "symbols")
    for name in _FLAGS:
        flag(args, name)
    for name in _TEXTS:
        text(args, name)
    return args


def identifier(given: Mapping[str, Any], name: str) -> str:
    """A text or a whole number, as a text; it has to be there."""
    value = given.get(name)
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    raise Malformed(f"the body needs `{name}`")
