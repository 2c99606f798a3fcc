"""What was wrong with what the bot said. It is kept and told, and never raised into the trading code."""
from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

# Distinct problems that are kept; further ones are only counted.
_MOST_KEPT = 200
# What the bot's own code does wrong can have any number of names; it leaves room for what the SDK itself has to say.
_MOST_MISTAKES = 120
_MISTAKES = ("unknown_field", "naive_time", "too_large", "bad_value", "no_key", "not_open")


class ProblemMeaning(NamedTuple):
    """What a kind of problem means, as an error says it."""

    severity: str
    cause: str
    impact: str
    remediation: str


_VALUE = ProblemMeaning(
    "medium", "the bot gave the SDK what it cannot tell", "this part of the state is null or left out",
    "Correct the call in the bot; bot.problems lists all of them with their counts.")
_FILES = ProblemMeaning(
    "high", "the bot's data folder cannot be used as it should", "trades, answers or a config may not outlive a restart",
    "Make the folder writable, with room on its disk, and end any other process that has it.")
_ADDRESS = ProblemMeaning(
    "high", "the bot's socket or port is not as it should be", "botops may not reach the bot, or others may",
    "Do what the message names; end the other process where one has the address.")
_CONFIG = ProblemMeaning(
    "high", "a config could not be taken over or taken back", "the bot may run other values than what was agreed",
    "Compare what GET config says with what was committed, and look at the bot's apply.")
_OWN = ProblemMeaning(
    "medium", "the SDK failed at something of its own", "one call or one request had no effect",
    "Look at the message; it says which.")
_MEANINGS = {
    **{code: _VALUE for code in _MISTAKES}, "dropped": _VALUE,
    "naive_time": ProblemMeaning("low", "the bot gave a time without a zone", "it is told as a time of UTC",
                                 "Give times with a zone, such as datetime.now(timezone.utc)."),
    "handler_failed": ProblemMeaning("high", "the handler of a command raised",
                                     "what it did before that is done; what became of the command is not known",
                                     "Look at the bot's positions and orders, then mend the handler."),
    "not_recorded": _FILES, "not_readable": _FILES, "in_use": _FILES, "unusable": _FILES,
    "apply_late": _CONFIG, "apply_failed": _CONFIG, "not_booted": _CONFIG, "not_reverted": _CONFIG, "head_invalid": _CONFIG,
}


class Problem(NamedTuple):
    """One thing that was wrong, however often it came."""

    where: str
    code: str
    message: str
    times: int
    last_at: float

    @property
    def meaning(self) -> ProblemMeaning:
        """Why it is, what follows, and what to do."""
        return _ADDRESS if self.where == "address" else _MEANINGS.get(self.code, _OWN)


class ProblemLog:
    """The problems so far, each once with its count. Its lock is held for moments only."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept: Dict[Tuple[str, str], Problem] = {}
        self._uncounted = 0
        self._bad_fields: Dict[str, str] = {}
        self.on_first: Optional[Callable[[Problem], None]] = None

    def add(self, where: str, code: str, message: str) -> None:
        """Notes a problem; the first of its kind is told as an error as well."""
        key = (where, code)
        with self._lock:
            known = self._kept.get(key)
            if known is None and not self._has_room(code):
                self._uncounted += 1
                return
            times = known.times + 1 if known else 1
            self._kept[key] = problem = Problem(where, code, message, times, time.time())
        if known is None and self.on_first is not None:
            self.on_first(problem)

    def add_aloud(self, where: str, code: str, message: str) -> None:
        """The same, and the first of its kind in the log of the process: who is not served is asked by nobody."""
        with self._lock:
            is_first = (where, code) not in self._kept
        self.add(where, code, message)
        if is_first:
            logging.getLogger("botops").warning("%s: %s", where, message)

    def _has_room(self, code: str) -> bool:
        if code in _MISTAKES and sum([kept in _MISTAKES for _, kept in list(self._kept)]) >= _MOST_MISTAKES:
            return False
        return len(self._kept) < _MOST_KEPT

    def add_bad_value(self, field: str, expected: str, value: Any) -> None:
        """Notes a value that is told as null. What came is shown by its type alone: it may be a secret."""
        came = "" if value is None else f"; a value of type {type(value).__name__} came"
        with self._lock:
            if len(self._bad_fields) < _MOST_KEPT:
                self._bad_fields[field] = expected
        self.add(field, "bad_value", expected + came)

    def bad_fields(self) -> Dict[str, str]:
        """Fields that were null at some time since the start because what came was no value for them."""
        with self._lock:
            return dict(self._bad_fields)

    def to_list(self) -> List[Problem]:
        """The problems so far, oldest first."""
        with self._lock:
            return list(self._kept.values())

    def renew_lock(self) -> None:
        """Takes a new lock, in a forked child whose parent held the old one."""
        self._lock = threading.RLock()
