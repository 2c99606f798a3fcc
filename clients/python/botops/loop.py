"""The trading loop as the SDK sees it: when it went round, how late, and what waits to be done on its thread."""
from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Callable, Deque, Dict, List, Optional

from . import numbers
from .problems import ProblemLog
from .told import error_text

# Delays of the last rounds, as the contract counts them.
_KEPT_DELAYS = 1_000
# Work that may wait for the loop.
_MOST_WAITING = 64


# In code of the bot that a request called: what is done once it has returned. The answer waits for that.
UNDER_WAY: "ContextVar[Optional[Future[Any]]]" = ContextVar("UNDER_WAY", default=None)


def under_way() -> "Optional[Future[Any]]":
    """What a request waits for that called this code; `None` outside of such code."""
    answer = UNDER_WAY.get()
    return None if answer is None or answer.done() else answer


class LoopClock:
    """Counts the rounds of the loop. `tick` costs about a microsecond and takes no lock that a reader holds."""

    def __init__(self, expected_interval: Optional[float]) -> None:
        self.expected_interval = expected_interval
        self.ticks = 0
        self.last_tick_at: Optional[float] = None
        self._last: Optional[float] = None
        self._delays: Deque[float] = deque(maxlen=_KEPT_DELAYS)

    def tick(self) -> None:
        """The loop begins a round."""
        now = time.monotonic()
        if self._last is not None and self.expected_interval is not None:
            self._delays.append(max(0.0, now - self._last - self.expected_interval))
        self._last = now
        self.ticks += 1
        self.last_tick_at = time.time()

    def to_json(self) -> str:
        """The `loop` of the state."""
        delays: List[float] = []
        for _ in range(3):
            try:
                delays = sorted(self._delays)
                break
            except RuntimeError:  # the loop went round meanwhile
                continue
        members: Dict[str, str] = {"ticks": str(self.ticks)}
        last = self.last_tick_at
        members["last_tick_at"] = numbers.NULL if last is None else f'"{numbers.moment_text(last)}"'
        members["expected_interval_s"] = numbers.number(self.expected_interval)
        for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            at = delays[min(len(delays) - 1, int(part * len(delays)))] if delays else None
            members[f"tick_delay_{name}_ms"] = numbers.NULL if at is None else str(round(at * 1000, 3))
        return "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"


class WakeSignal:
    """Ends the wait of one thread, and is over with that.

    A signal handler may use it while its own thread is within it. With an `Event` that thread would wait for its own lock
    for good; a `SimpleQueue` forgets its limit of time when a handler takes longer than that.
    """

    def __init__(self) -> None:
        # Free once somebody has woken.
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Ends the wait, or the next one. Waits for nothing."""
        try:
            self._lock.release()
        except RuntimeError:  # it is set already
            pass

    def wait(self, seconds: float = -1) -> bool:
        """Waits for it, without a limit if none is given. Whether it came."""
        return self._lock.acquire(timeout=seconds)


class LoopQueue:
    """Work that is done on the thread of the trading loop, between two rounds."""

    def __init__(self, problems: ProblemLog) -> None:
        self._problems = problems
        self._waiting: Deque[Callable[[], Any]] = deque()
        self._arrived = WakeSignal()
        self._turn = threading.Lock()

    def renew_lock(self) -> None:
        """Takes new locks, in a forked child whose parent held the old ones."""
        self._arrived = WakeSignal()
        self._turn = threading.Lock()
        self._waiting.clear()

    def put(self, work: Callable[[], Any]) -> bool:
        """Adds work; False when too much waits already."""
        if len(self._waiting) >= _MOST_WAITING:
            return False
        self._waiting.append(work)
        self.wake()
        return True

    def remove(self, work: Callable[[], Any]) -> None:
        """Takes work away that has not begun and is not wanted any more: it must keep no place of other work."""
        try:
            self._waiting.remove(work)
        except (ValueError, IndexError):  # it has begun, or the loop took other work at this moment
            pass

    def run_waiting(self) -> None:
        """Does what waits, one after the other. Work that calls this again, and a second loop, do not begin other work."""
        # Once more after the turn is over: who added work meanwhile saw that this thread had it.
        while self._waiting and self._turn.acquire(blocking=False):
            try:
                self._run_all()
            finally:
                self._turn.release()

    def _run_all(self) -> None:
        while True:
            try:
                work = self._waiting.popleft()
            except IndexError:  # nothing is left, or the last of it was taken away at this moment
                return
            self._run(work)

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except (KeyboardInterrupt, SystemExit):
            # The bot means to end.
            raise
        except BaseException as error:  # whatever fails in it, the trading loop goes on
            self._problems.add_failure("sdk", "internal", f"work of the loop: {error_text(error)}", error)

    def wake(self) -> None:
        """Ends a wait, whether there is work or not. Waits for nothing itself, and may be called by a signal handler."""
        self._arrived.set()

    def wait(self) -> None:
        """Waits until work has arrived since the last wait."""
        self._arrived.wait()

    def sleep(self, seconds: float) -> None:
        """Waits on the loop's thread, and does work as it arrives."""
        end = time.monotonic() + max(0.0, seconds)
        while True:
            self.run_waiting()
            left = end - time.monotonic()
            if left <= 0 or not self._arrived.wait(left):
                return
