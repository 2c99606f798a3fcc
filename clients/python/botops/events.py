"""Events for `GET events`, and the failures that the state lists."""
from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Tuple

from . import numbers, records
from .problems import ProblemLog

# Events kept for a reader that comes back.
_KEPT_EVENTS = 10_000
# Failures that the state lists, and the most that are counted of an hour.
_KEPT_ERRORS = 50
_COUNTED_ERRORS = 20_000
# Characters of all failures that the state lists: botops takes 8 MiB, and orders and positions may have 7 of them.
_LONGEST_ERRORS = 128 * 1024
_HOUR = 3_600.0
_MOST_DIGITS = 18
_SEVERITIES = ("low", "other", "medium", "high", "critical")


class EventLog:
    """The newest events and failures. `add` costs microseconds; readers wait on their own."""

    def __init__(self, problems: ProblemLog) -> None:
        self._problems = problems
        # Held by who numbers events and who reads them; never waited for by who says something.
        self._numbering = threading.Lock()
        self._arrived: Deque[bytes] = deque()
        self._events: Deque[Tuple[int, bytes]] = deque(maxlen=_KEPT_EVENTS)
        self._wakers: List[Callable[[], None]] = []
        self._errors: Deque[str] = deque(maxlen=_KEPT_ERRORS)
        self._error_times: Deque[Tuple[float, str]] = deque(maxlen=_COUNTED_ERRORS)
        self._newest = 0
        self.boot_epoch = ""

    def renew_lock(self) -> None:
        """Takes a new lock, in a forked child whose parent held the old one. The readers are the parent's."""
        self._numbering = threading.Lock()
        self._wakers = []

    def add(self, values: Mapping[str, Any], error: Optional[str] = None) -> None:
        """Adds an event, given by the fields of the contract; what is wrong in it is noted and told as null."""
        pieces = records.EVENT.pieces(values, "event", self._problems)
        pieces.setdefault("at", f'"{numbers.moment_text(time.time())}"')
        if error is not None:
            pieces["error"] = error
        self._arrived.append(records.object_text(pieces)[1:].encode("utf-8", "replace"))
        # A signal handler may say something while its own thread numbers: then that thread, or the next reader, numbers it.
        if self._numbering.acquire(blocking=False):
            try:
                self._number_arrived()
            finally:
                self._numbering.release()
        self.wake_all()

    def _number_arrived(self) -> None:
        while self._arrived:
            self._newest += 1
            head = f'{{"seq":{self._newest},"boot_epoch":"{self.boot_epoch}",'.encode()
            self._events.append((self._newest, head + self._arrived.popleft()))

    def add_error(self, values: Mapping[str, Any]) -> None:
        """Adds a failure: to the state's list, and as an event."""
        given = dict(values)
        given.setdefault("timestamp", time.time())
        pieces = records.ERROR.pieces(given, "error", self._problems)
        error = records.object_text(pieces)
        severity = (pieces.get("severity") or '"medium"').strip('"')
        self._errors.appendleft(error)
        self._error_times.append((time.time(), severity))
        self.add({"kind": "error", "severity": given.get("severity", "medium"), "message": given.get("message")}, error)

    def error_members(self) -> Dict[str, str]:
        """The members of the state about failures."""
        since = time.time() - _HOUR
        # Copied in one step each: the trading code may add meanwhile, and waits for nobody.
        severities = [severity for at, severity in list(self._error_times) if at >= since]
        errors = ",".join(_first_of(list(self._errors)))
        worst = max(severities, key=lambda word: _SEVERITIES.index(word) if word in _SEVERITIES else 1, default=None)
        return {
            "recent_errors": "[" + errors + "]",
            "error_count_last_hour": str(len(severities)),
            "worst_error_last_hour": numbers.NULL if worst is None else f'"{worst}"',
        }

    def begin_after(self, last_event_id: str) -> int:
        """The number after which a reader goes on: 0 when it knew another start, or a number that was never given."""
        epoch, _, seq = last_event_id.rpartition("/")
        is_number = seq.isascii() and seq.isdigit() and len(seq) <= _MOST_DIGITS
        is_known = epoch == self.boot_epoch and is_number and int(seq) <= self._newest
        return int(seq) if is_known else 0

    def after(self, seq: int, most: int = 200) -> List[Tuple[int, bytes]]:
        """The kept events after this number, oldest first."""
        with self._numbering:
            self._number_arrived()
            if self._newest <= seq:
                return []
            skip = max(0, seq - (self._newest - len(self._events)))
            found = []
            for index in range(skip, min(len(self._events), skip + most)):
                found.append(self._events[index])
            return found

    def frame(self, seq: int, event: bytes) -> bytes:
        """An event as it goes over the stream."""
        return f"id: {self.boot_epoch}/{seq}\n".encode() + b"data: " + event + b"\n\n"

    def add_waker(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Has `wake` called after each event, until what is returned is called.

        It is called by the trading code, perhaps in a signal handler: it must not wait.
        """
        self._wakers.append(wake)

        def remove() -> None:
            if wake in self._wakers:
                self._wakers.remove(wake)

        return remove

    def wake_all(self) -> None:
        """Has all readers look up."""
        for wake in list(self._wakers):
            try:
                wake()
            except Exception:
                # As of an event loop that was closed: that reader is gone, and the others are woken all the same.
                if wake in self._wakers:
                    self._wakers.remove(wake)


def _first_of(errors: List[str]) -> List[str]:
    """The newest as far as there is room; one is always told."""
    told, size = errors[:1], len(errors[0]) if errors else 0
    for error in errors[1:]:
        size += len(error)
        if size > _LONGEST_ERRORS:
            break
        told.append(error)
    return told
