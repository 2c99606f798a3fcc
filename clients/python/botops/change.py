"""New values on their way to the trading loop, on which alone a bot's `apply` runs.

Nobody waits for ever: what the loop has not begun in time is withdrawn, and what ends too late is taken back by the loop
itself. A return to what is committed is neither: it stays armed until the loop has taken it.
"""
from __future__ import annotations

import copy
import functools
import threading
import time
from concurrent.futures import Future, wait
from typing import Any, Callable, Dict, Optional

from .config_files import ConfigError
from .late import LateWatch
from .loop import UNDER_WAY
from .problems import ProblemLog
from .told import error_text, text_of

# How long the loop may take to begin `apply`.
_BEGIN_WITHIN = 5.0
# Until when a caller is answered, from the arrival of its request: botops waits for ten seconds.
ANSWER_WITHIN = 9.0

Apply = Callable[[Dict[str, Any]], Any]
Work = Callable[[], Any]


class ConfigRefusal(Exception):
    """A config verb that was not done: status, code, sentence and context."""

    def __init__(self, status: int, code: str, message: str, context: Any = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.context = status, code, message, context


class Change:
    """New values, from the wish for them to their end. Only one side has its way: who waits for it, or the loop."""

    def __init__(self, values: Dict[str, Any]) -> None:
        self.values = values
        self.since = time.monotonic()
        self.done: Future[None] = Future()
        self._lock = threading.Lock()
        self.is_begun = False
        self._is_over = False
        # What it ended with, where it was late: nobody was there to hear it.
        self.ended_after: Optional[float] = None

    def begin(self) -> bool:
        """The loop takes it; False when it was withdrawn."""
        with self._lock:
            is_first, self.is_begun = not self.is_begun, True
            return is_first

    def withdraw(self) -> bool:
        """Nobody waits for its begin any more; False when it has begun."""
        return self.begin()

    def settle(self) -> bool:
        """Decides how it ends, once: the loop that it is in force, or who waited that it must not be any more."""
        with self._lock:
            is_first, self._is_over = not self._is_over, True
            return is_first


class ValueSwitch:
    """The values in force, and the way to others."""

    def __init__(self, values: Dict[str, Any], apply: Optional[Apply], problems: ProblemLog, watch: LateWatch) -> None:
        self.values = values
        # A change whose `apply` has begun, and for which nobody waits any more.
        self.late: Optional[Change] = None
        self._apply, self._problems, self._watch = apply, problems, watch
        self._returning: Optional[Change] = None
        self.run_on_loop: Callable[[Work], bool] = lambda work: (work(), True)[1]
        self.remove_from_loop: Callable[[Work], None] = lambda work: None

    def change(self, values: Dict[str, Any], until: float) -> None:
        """Has the bot run these values, and waits until then by the monotonic clock. Raises `ConfigRefusal`, and then it runs
        what it ran before, or will again: with `late` set, once an `apply` that has begun has returned."""
        change = Change(values)
        work = functools.partial(self._carry_out, change)
        if not self.run_on_loop(work):
            raise ConfigRefusal(429, "busy", "too much waits for the trading loop already")
        if not wait([change.done], min(_BEGIN_WITHIN, _left(until))).done and change.withdraw():
            self.remove_from_loop(work)
            raise ConfigRefusal(409, "expired", "the trading loop did not take it in time; it is not carried out")
        if not wait([change.done], _left(until)).done and change.settle():
            self.late = change
            message = "the bot's apply has begun and has not returned; what it ran before is applied again once it does, and " \
                      "what it runs until then is not known"
            raise ConfigRefusal(504, "no_answer", message)
        _raise_failure(change)

    def arm_return(self, values: Dict[str, Any]) -> None:
        """Has the bot run these values as soon as the loop takes them, however late. Raises `ConfigRefusal` when busy."""
        if self._returning is None:
            change = Change(values)
            self._returning = change
            if not self.run_on_loop(functools.partial(self._carry_out, change)):
                self._returning = None
                raise ConfigRefusal(429, "busy", "too much waits for the trading loop already")

    def has_returned(self, until: Optional[float]) -> bool:
        """Whether the armed return was carried out, waited for until then. Raises `ConfigRefusal` when it failed; then it is
        armed no more."""
        change = self._returning
        if change is None:
            return False
        begins_until = change.since + _BEGIN_WITHIN
        if until is not None:
            wait([change.done], min(_left(begins_until), _left(until)))
        if self._apply is None and time.monotonic() >= begins_until:
            # No code of the bot takes part: values that are read from a dictionary need no loop that goes round.
            self._carry_out(change)
        if until is not None and change.is_begun:
            wait([change.done], _left(until))
        if not change.done.done():
            return False
        self._returning = None
        _raise_failure(change)
        return True

    def _carry_out(self, change: Change) -> None:
        if not change.begin():
            return
        before, outer = self.values, UNDER_WAY.set(change.done)
        try:
            if self._apply is not None:
                with self._watch.call("apply"):
                    self._apply(copy.deepcopy(change.values))
        except BaseException as error:
            said = f"the bot's apply raised {error_text(error)}"
            self._problems.output.add_raised("config", "apply_failed", said, error)
            self._take_back(before)
            change.ended_after = time.monotonic() - change.since
            change.done.set_exception(error if isinstance(error, Exception) else ConfigError(repr(error)))
            if not isinstance(error, Exception):
                raise
            return
        finally:
            UNDER_WAY.reset(outer)
        if change.settle():
            self.values = change.values
        else:
            self._take_back(before)
            change.ended_after = time.monotonic() - change.since
            self._problems.add("config", "apply_late", "an apply took too long; what ran before was applied again")
        change.done.set_result(None)

    def _take_back(self, before: Dict[str, Any]) -> None:
        try:
            if self._apply is not None:
                with self._watch.call("apply"):
                    self._apply(copy.deepcopy(before))
        except Exception as error:
            said = f"the values of before could not be applied again: {text_of(error)}"
            self._problems.add_failure("config.apply", "apply_failed", said, error)


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())


def _raise_failure(change: Change) -> None:
    error = change.done.exception()
    if error is not None:
        message = f"the bot's apply raised {error_text(error)}"[:300]
        raise ConfigRefusal(422, "apply_failed", message) from error
