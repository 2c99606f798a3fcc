"""Code of the bot that botops waits for, `check` and `apply`: where it does not return in time, that is told with the place
where it stands, and once it does return, that is told too."""
from __future__ import annotations

import contextlib
import threading
import time
from typing import Callable, Iterator, List

from .problems import ProblemLog, frames_of_thread

# As for a handler of a command; botops waits for ten seconds.
LATE_AFTER = 5.0


class _RunningCall:
    def __init__(self, name: str) -> None:
        self.name = name
        self.thread = threading.get_ident()
        self.since = time.monotonic()
        self.is_told = False


class LateWatch:
    """Calls of the bot's code that are under way. Who looks after files looks after them as well."""

    def __init__(self, problems: ProblemLog) -> None:
        self._problems = problems
        self._running: List[_RunningCall] = []
        self.on_end: Callable[[str, float], None] = lambda name, seconds: None

    @contextlib.contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Around a call: `name` is what the bot's author gave, `check` or `apply`."""
        call = _RunningCall(name)
        self._running.append(call)
        try:
            yield
        finally:
            self._running.remove(call)
            seconds = time.monotonic() - call.since
            if seconds >= LATE_AFTER or call.is_told:
                if not call.is_told:
                    # Nobody could look meanwhile, as on an event loop that it held.
                    said = f"the bot's {name} took {seconds:.1f} s, and nothing else was done on its thread meanwhile"
                    self._problems.add(f"config.{name}", "handler_late", said)
                self.on_end(name, seconds)

    def look(self) -> None:
        """Tells of each call that is late, once."""
        for call in list(self._running):
            if not call.is_told and time.monotonic() - call.since >= LATE_AFTER:
                call.is_told = True
                said = f"the bot's {call.name} has not returned within {LATE_AFTER:g} s"
                self._problems.add_standing(f"config.{call.name}", "handler_late", said, frames_of_thread(call.thread))

