"""Closed trades, numbered across restarts: the cursor of botops counts on a number that only grows.

A trade gets its number when it is written, so a number is never given twice, and a trade that is read is durable.
"""
from __future__ import annotations

import json
import threading
import time
from array import array
from collections import deque
from itertools import islice
from typing import Deque, List, Optional, Tuple

from .durable import DataFolder, LineFile
from .problems import ProblemLog

# Trades that wait to be written, and trades that are kept where there is no folder.
_MOST_WAITING = 10_000
# Trades that are looked through for one answer: on an event loop the bot trades after it.
_MOST_SCANNED = 2_000


class TradeLog:
    """The journal behind `GET trades`. `add` only queues; `write_waiting` is called away from the trading loop."""

    def __init__(self, folder: Optional[DataFolder], problems: ProblemLog) -> None:
        self._folder = folder
        self._problems = problems
        self._waiting: Deque[str] = deque()
        self._lock = threading.RLock()
        self._file: Optional[LineFile] = None
        self._offsets = array("Q")
        # Without a folder numbers begin where no earlier start can have come: at the milliseconds since 1970.
        self._first = 1 if folder else int(time.time() * 1000)
        self._kept: Deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._count = 0
        self.dropped = 0

    def renew_lock(self) -> None:
        """Takes a new lock, in a forked child whose parent held the old one."""
        self._lock = threading.RLock()

    def add(self, members: str) -> None:
        """Queues a trade, given as the members of its JSON object without `seq`."""
        if len(self._waiting) >= _MOST_WAITING:
            self.dropped += 1
            self._problems.add("trades", "dropped", "more than 10,000 trades wait to be written; the newest are lost")
            return
        self._waiting.append(members)

    def open(self) -> None:
        """Opens the journal once the folder is owned. Raises OSError."""
        if self._folder is None or self._file is not None:
            return
        file = LineFile(self._folder.path / "trades.jsonl")
        file.open()
        offset = 0
        with self._lock:
            del self._offsets[:]
            for line in file.lines():
                self._offsets.append(offset)
                offset += len(line) + 1
            self._file = file

    def write_waiting(self, sync: bool) -> bool:
        """Numbers and writes what waits. True when there was something. Raises OSError; then it waits on."""
        with self._lock:
            batch = list(self._waiting)
            if not batch or (self._folder is not None and self._file is None):
                return False
            if self._file is not None and not self._file.is_in_place():
                # What is written to a file without a name is gone with the process.
                raise FileNotFoundError(f"{self._file.path} was removed or replaced while the bot has it open: put that file "
                                        "back and they are written; a restart begins a new one without them")
            first = self._first + (len(self._offsets) if self._folder else self._count)
            lines = [f'{{"seq":{first + index},{members}}}'.encode("utf-8", "replace")
                     for index, members in enumerate(batch)]
            if self._file is not None:
                offset = self._file.append(lines, sync)
                for line in lines:
                    self._offsets.append(offset)
                    offset += len(line) + 1
            else:
                self._kept.extend(lines)
                self._count += len(lines)
            for _ in batch:
                self._waiting.popleft()
            return True

    def page(self, after: int, begin: Optional[float], end: Optional[float], limit: int) -> bytes:
        """The trades with a number above `after`, oldest first, as the contract's page. Raises OSError.

        One within a time may have fewer than `limit`, or none, and still a `next`: as far as it was looked.
        """
        items: List[bytes] = []
        last: Optional[int] = None
        more = False
        most = limit if begin is None and end is None else _MOST_SCANNED
        for seq, line in self._lines_after(after, most + 1):
            most -= 1
            if most < 0 or len(items) == limit:
                more = True
                break
            if _is_within(line, begin, end):
                items.append(line)
            last = seq
        return b'{"items":[' + b",".join(items) + b'],"next":' + (str(last).encode() if more else b"null") + b"}"

    def _lines_after(self, after: int, most: int) -> List[Tuple[int, bytes]]:
        with self._lock:
            if self._file is None:
                oldest = self._first + self._count - len(self._kept)
                skip = max(0, after - oldest + 1)
                return list(enumerate(islice(self._kept, skip, skip + most), oldest + skip))
            skip = min(max(0, after - self._first + 1), len(self._offsets))
            count = min(len(self._offsets) - skip, most)
            if count == 0:
                return []
            with open(self._file.path, "rb") as file:
                file.seek(self._offsets[skip])
                return [(self._first + skip + index, file.readline().rstrip(b"\n")) for index in range(count)]

    def close(self) -> None:
        """Closes the journal."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


def _is_within(line: bytes, begin: Optional[float], end: Optional[float]) -> bool:
    if begin is None and end is None:
        return True
    at = parse_moment(str(json.loads(line).get("closed_at")))
    return at is not None and (begin is None or at >= begin) and (end is None or at < end)


def parse_moment(text: str) -> Optional[float]:
    """An RFC 3339 text as seconds since 1970; `None` when it is none."""
    from datetime import datetime

    whole, point, rest = text.replace("Z", "+00:00").replace("z", "+00:00").partition(".")
    if point:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        whole = f"{whole}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}"
    try:
        at = datetime.fromisoformat(whole)
    except ValueError:
        return None
    return at.timestamp() if at.utcoffset() is not None else None
