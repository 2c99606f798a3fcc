"""What was wrong with what the bot said. It is kept and told, and never raised into the trading code."""
from __future__ import annotations

import logging
import math
import sys
import threading
import time
import traceback
from collections import deque
from types import FrameType
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Tuple, Union

from .told import error_text

# Distinct problems that are kept; further ones are only counted.
_MOST_KEPT = 200
# What the bot's own code does wrong can have any number of names; it leaves room for what the SDK itself has to say.
_MOST_MISTAKES = 120
# One kind of failure is in the log of the process this often at most.
_LOG_EVERY = 60.0
# Failures that wait for the log; its reader may stand still. Warnings may wait as many as there are kinds.
_MOST_UNWRITTEN = 20
_MOST_FRAMES = 20
_LONGEST_TRACE = 8_000
_MISTAKES = ("unknown_field", "unknown_keyword", "naive_time", "too_large", "bad_value", "no_key", "not_open")


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
    **{code: _VALUE for code in _MISTAKES},
    "dropped": ProblemMeaning("medium", "the bot tells more than there is room for", "what has no room is not told, only counted",
                              "Of orders and positions, tell the open ones alone and forget what is over (bot.remove_order, "
                              "bot.orders([...])). Trades wait for the disk: see that the data folder can be written to."),
    "unknown_field": ProblemMeaning("medium", "the bot gave the SDK a field that the contract does not have",
                                    "its value is not told", "Give it under the name of a field that there is."),
    "unknown_keyword": ProblemMeaning("medium", "the config schema has a word of botops that botops does not know",
                                      "what it should say of the field is not known: a limit may not be watched, and a change "
                                      "counts as what the schema says without it", "Correct the word in the schema."),
    "left_out": ProblemMeaning("medium", "the bot tells more than botops keeps", "the rest is not shown, only counted",
                               "Tell the open ones alone, and forget what is over (bot.remove_order, bot.orders([...]))."),
    "naive_time": ProblemMeaning("low", "the bot gave a time without a zone", "it is told as a time of UTC",
                                 "Give times with a zone, such as datetime.now(timezone.utc)."),
    "handler_failed": ProblemMeaning("high", "the handler of a command raised",
                                     "what it did before that is done; what became of the command is not known",
                                     "Look at the bot's positions and orders, then mend the handler."),
    "handler_late": ProblemMeaning("high", "code of the bot that botops asked for does not return",
                                   "nothing else is done on its thread meanwhile; what becomes of it is not known",
                                   "Look at the bot's own output, which says where it stands, and give what it waits for a "
                                   "limit of time."),
    "loop_raised": ProblemMeaning("critical", "the bot's own code raised, and nothing caught it",
                                  "the bot ends; nobody manages its orders and positions until it runs again",
                                  "Look at the traceback in the bot's own output. Catch what one round may raise, tell it by "
                                  "bot.error(…), and try the next round."),
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


class ProblemOutput:
    """Problems, and where the bot's own code failed, for the log of the process (`botops`): each kind once a minute at most.

    A thread of its own writes it: who reads the output may stand still, and neither the loop nor a trial waits for that.
    """

    def __init__(self) -> None:
        self._last: Dict[Tuple[str, str], Tuple[float, int]] = {}
        self._waiting: Deque[Tuple[str, "_Trace"]] = deque(maxlen=_MOST_UNWRITTEN)
        self._warnings: Deque[str] = deque(maxlen=_MOST_KEPT)
        self._writer: Optional[threading.Thread] = None

    def add_problem(self, problem: "Problem") -> None:
        """Something was wrong with what the bot said: one warning, without a place in the code."""
        if self._is_due(problem.where, problem.code):
            end = "" if problem.message.endswith(("?", ".")) else "."
            said = f"{problem.message}{end} {problem.meaning.remediation} (SDK_{problem.code.upper()})"
            self._warnings.append(self._line(problem.where, problem.code, said))

    def note_written(self, where: str, code: str) -> None:
        """One of this kind was written just now by other means."""
        self._last[where, code] = time.monotonic(), 0

    def add_raised(self, where: str, code: str, message: str, error: BaseException) -> None:
        """Something raised. Only names and line numbers are read here; the text is made where it is written."""
        if self._is_due(where, code):
            trace: "_Trace" = None
            try:
                # With the frames of the error alone, and not with what their variables hold.
                trace = traceback.TracebackException(type(error), error, error.__traceback__,
                                                               limit=-_MOST_FRAMES, lookup_lines=False)
            except Exception:  # as of an error that has errors without end behind it
                pass
            self._keep(where, code, message, trace)

    def add_standing(self, where: str, code: str, message: str, frames: List[Tuple[FrameType, int]]) -> None:
        """Something does not return, and stands at the last of these frames."""
        if self._is_due(where, code):
            trace = traceback.StackSummary.extract(iter(frames[-_MOST_FRAMES:]), lookup_lines=False)
            self._keep(where, code, message, trace)

    def _is_due(self, where: str, code: str) -> bool:
        now, key = time.monotonic(), (where, code)
        last, left_out = self._last.get(key, (None, 0))
        if last is None:
            return len(self._last) < _MOST_KEPT
        if now - last < _LOG_EVERY:
            self._last[key] = last, left_out + 1
            return False
        return True

    def _keep(self, where: str, code: str, message: str, trace: "_Trace") -> None:
        self._waiting.append((self._line(where, code, message), trace))

    def _line(self, where: str, code: str, message: str) -> str:
        _, left_out = self._last.get((where, code), (0.0, 0))
        self._last[where, code] = time.monotonic(), 0
        more = f" ({left_out} more of this kind since the last one that was logged)" if left_out else ""
        return f"{where}: {message}{more}"

    def start_writing(self) -> None:
        """Has what waits written, unless that is being done."""
        if (self._waiting or self._warnings) and (self._writer is None or not self._writer.is_alive()):
            self._writer = threading.Thread(target=self._write_all, name="botops-log", daemon=True)
            try:
                self._writer.start()
            except RuntimeError:  # no thread is left, or the interpreter ends
                self._writer = None

    def finish(self, seconds: float) -> None:
        """Waits so long for what is not written yet."""
        self.start_writing()
        if self._writer is not None:
            self._writer.join(seconds)

    def _write_all(self) -> None:
        try:
            while True:
                _write(logging.WARNING, self._warnings.popleft())
        except IndexError:
            pass
        while True:
            try:
                message, trace = self._waiting.popleft()
            except IndexError:
                return
            try:
                text = "" if trace is None else "".join(trace.format())
            except Exception as error:
                text = f"its traceback cannot be told: {error_text(error)}"
            if len(text) > _LONGEST_TRACE:
                text = "(…)" + text[-_LONGEST_TRACE:]
            _write(logging.ERROR, f"{message}\n{text.rstrip()}")

    def renew(self) -> None:
        """Begins anew, in a forked child: what waited is the parent's to write."""
        self._waiting.clear()
        self._warnings.clear()
        self._writer = None


def _write(level: int, text: str) -> None:
    try:
        logging.getLogger("botops").log(level, "%s", text)
    except Exception:
        pass  # a handler of the bot's own may fail at it; what is told to botops does not depend on that


_Trace = Union[traceback.TracebackException, traceback.StackSummary, None]


def frames_of_thread(thread: Optional[int]) -> List[Tuple[FrameType, int]]:
    """Where a thread is now, the innermost frame last; empty when it has ended."""
    frame = None if thread is None else sys._current_frames().get(thread)
    return list(traceback.walk_stack(frame))[::-1] if frame is not None else []


def frames_of_coroutine(coroutine: Any) -> List[Tuple[FrameType, int]]:
    """Where a coroutine waits, the innermost frame last."""
    found: List[Tuple[FrameType, int]] = []
    while coroutine is not None and len(found) < _MOST_FRAMES:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        found.append((frame, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return found


def _shown(value: Any) -> str:
    if type(value) is float and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "an infinite number"
    return f"a value of type {type(value).__name__}"


class ProblemLog:
    """The problems so far, each once with its count. Its lock is held for moments only."""

    def __init__(self) -> None:
        self.output = ProblemOutput()
        self._lock = threading.RLock()
        self._kept: Dict[Tuple[str, str], Problem] = {}
        self._uncounted = 0
        self._bad_fields: Dict[str, str] = {}
        self.on_first: Optional[Callable[[Problem], None]] = None

    def add(self, where: str, code: str, message: str) -> None:
        """Notes a problem; the first of its kind is told as an error as well, and the log of the process has it."""
        problem = self._note(where, code, message)
        if problem is not None:
            self.output.add_problem(problem)

    def _note(self, where: str, code: str, message: str) -> Optional[Problem]:
        """Counts it; `None` where there is no room for one more kind."""
        key = (where, code)
        with self._lock:
            known = self._kept.get(key)
            if known is None and not self._has_room(code):
                self._uncounted += 1
                return None
            times = known.times + 1 if known else 1
            self._kept[key] = problem = Problem(where, code, message, times, time.time())
        if known is None and self.on_first is not None:
            self.on_first(problem)
        return problem

    def add_failure(self, where: str, code: str, message: str, error: BaseException) -> None:
        """The same for what raised: its traceback is for the log of the process."""
        self._note(where, code, message)
        self.output.add_raised(where, code, message, error)

    def add_standing(self, where: str, code: str, message: str, frames: List[Tuple[FrameType, int]]) -> None:
        """The same for what does not return, and stands at the last of these frames."""
        self._note(where, code, message)
        self.output.add_standing(where, code, f"{message}; it stands at:", frames)

    def add_aloud(self, where: str, code: str, message: str) -> None:
        """The same, and the first of its kind is in the log of the process at once: who is not served is asked by nobody."""
        with self._lock:
            is_first = (where, code) not in self._kept
        self._note(where, code, message)
        if is_first:
            self.output.note_written(where, code)
            _write(logging.WARNING, f"{where}: {message}")

    def _has_room(self, code: str) -> bool:
        if code in _MISTAKES and sum([kept in _MISTAKES for _, kept in list(self._kept)]) >= _MOST_MISTAKES:
            return False
        return len(self._kept) < _MOST_KEPT

    def add_bad_value(self, field: str, expected: str, value: Any, given_as: str = "") -> None:
        """Notes a value that is told as null. What came is shown by its type alone: it may be a secret. `given_as` names the
        argument of the bot where the field has another name."""
        came = "" if value is None else f"; {_shown(value)} came"
        with self._lock:
            if len(self._bad_fields) < _MOST_KEPT:
                self._bad_fields[field] = expected
        self.add(field, "bad_value", given_as + expected + came)

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
        self.output.renew()
