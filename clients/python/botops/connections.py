"""Who is connected to a bot: whom to close where there is no room, and how fast they are answered.

The interpreter is the trading loop's. Whoever asks without end, with the token or without, waits for a turn.
"""
from __future__ import annotations

import threading
import time
from typing import Dict, Generic, List, Optional, Tuple, TypeVar

# Connections at a time; botops keeps two or three.
MOST_CONNECTIONS = 32
# A kept connection without a request for this long is closed, and a new one sooner: it has shown no token yet.
IDLE = 120.0
FIRST_REQUEST_WITHIN = 10.0
# A reader that takes nothing for this long is gone, and one that takes an answer too slowly: it holds megabytes.
WRITE_WITHIN = 10.0
ANSWER_WITHIN = 30.0
STREAM_ALIVE_EVERY = 10.0
RETRY_LISTEN = 1.0
# Requests and new connections that are taken as they come, and the seconds between further ones. botops asks a few times
# a second, and connects a few times a day.
_REQUESTS_AT_ONCE, _SECONDS_A_REQUEST = 200, 0.01
# Of connections more: while those wait that have no token, so does who has it.
_CONNECTIONS_AT_ONCE, _SECONDS_A_CONNECTION = 256, 0.001
# Who asked within this time is not closed for another one: botops asks each second on a connection that it keeps.
RECENT = 5.0
# Readers of events beyond these are closed for another one.
_MOST_STREAMS = 16
# What an answer costs beside that: ten times a second three megabytes.
_BYTES_A_SECOND = 30_000_000

Connection = TypeVar("Connection")
_NEW, _IDLE, _STREAMING, _BUSY = range(4)


class ConnectionTable(Generic[Connection]):
    """The connections of a bot and what they do. Each method is one step, for any thread."""

    def __init__(self) -> None:
        self._kept: Dict[Connection, Tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, connection: Connection) -> None:
        """A new one, which has shown no token yet."""
        self._kept[connection] = _NEW, time.monotonic()

    def note_idle(self, connection: Connection) -> None:
        """It may be here, and no request of it is under way."""
        self._note(connection, _IDLE)

    def note_busy(self, connection: Connection) -> None:
        """A request of it is under way: its answer is waited for when the bot stops."""
        self._note(connection, _BUSY)

    def note_streaming(self, connection: Connection) -> None:
        """It listens to events."""
        self._note(connection, _STREAMING)

    def _note(self, connection: Connection, standing: int) -> None:
        if connection in self._kept:
            self._kept[connection] = standing, time.monotonic()

    def remove(self, connection: Connection) -> None:
        """It is closed."""
        self._kept.pop(connection, None)

    def is_new(self, connection: Connection) -> bool:
        """Whether it has shown no token yet."""
        return self._kept.get(connection, (_NEW, 0))[0] == _NEW

    def is_any_busy(self) -> bool:
        """Whether a request is under way."""
        return any([standing == _BUSY for standing, _ in list(self._kept.values())])

    def is_any_streaming(self) -> bool:
        """Whether a reader of events is there."""
        return any([standing == _STREAMING for standing, _ in list(self._kept.values())])

    def to_list(self) -> List[Connection]:
        """All of them."""
        return list(self._kept)

    def remove_least_wanted(self) -> Optional[Connection]:
        """Takes one out for another one, and returns it: one without the token, else the one that is idle for longest, else
        one of too many readers of events. `None` when all of them are wanted."""
        rows = [(standing, since, one) for one, (standing, since) in list(self._kept.items())]
        streams = [row for row in rows if row[0] == _STREAMING]
        idle_since = time.monotonic() - RECENT
        closable = [row for row in rows if row[0] == _NEW or (row[0] == _IDLE and row[1] <= idle_since)]
        if len(streams) > _MOST_STREAMS:
            closable += streams
        if not closable:
            return None
        least = min(closable, key=lambda row: row[:2])[2]
        self.remove(least)
        return least


class Pace:
    """Turns for what comes too fast: the first ones at once, the others a time apart, in the order they ask."""

    def __init__(self, at_once: int, seconds: float) -> None:
        self._seconds = seconds
        self._slack = at_once * seconds
        self._lock = threading.Lock()
        self._due = 0.0

    def take_turn(self) -> float:
        """How long to wait for one's turn, in seconds."""
        return self.charge(self._seconds)

    def charge_bytes(self, count: int) -> None:
        """Has the next ones wait for an answer of this size."""
        self.charge(count / _BYTES_A_SECOND)

    def charge(self, seconds: float) -> float:
        """Takes this much of the time; returns how long to wait."""
        with self._lock:
            now = time.monotonic()
            self._due = max(self._due, now - self._slack) + seconds
            return max(0.0, self._due - now)


def pace_of_requests() -> Pace:
    """What the requests of all connections together get."""
    return Pace(_REQUESTS_AT_ONCE, _SECONDS_A_REQUEST)


def pace_of_connections() -> Pace:
    """What new connections get."""
    return Pace(_CONNECTIONS_AT_ONCE, _SECONDS_A_CONNECTION)
