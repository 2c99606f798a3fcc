"""What the bot said about itself, ready to be read at any moment.

The trading code writes under a lock that is held for microseconds; each order and position is encoded once, when it
changes. A reader copies the list of encoded pieces under the lock; they are never joined, but sent as they are.
"""
from __future__ import annotations

import itertools
import threading
import time
from contextvars import ContextVar
from typing import Any, Dict, List, Mapping, Optional, Tuple

from . import numbers, records
from .problems import ProblemLog
from .records import Pieces, Record

# Set while a handler runs, in its own thread or task: what it says of the phase itself is not said for it afterwards.
PHASE_SAID: "ContextVar[Optional[List[bool]]]" = ContextVar("PHASE_SAID", default=None)

# botops takes an answer of at most 8 MiB.
_LARGEST_LISTS = 7 * 1024 * 1024
# Orders that are over, of which the newest are kept.
_FINISHED_ORDERS = 200
_FINAL = ('"FILLED"', '"CANCELLED"', '"REJECTED"', '"EXPIRED"')
_LONGEST_SYMBOL = 64
# Left out where there is no room for them, above so many bytes.
_LONG_TEXTS = ("status_reason", "status_raw", "side_raw", "order_type_raw")
_SHORT = 64
# More than an answer has room for: what gives the rows may have no end.
_MOST_ROWS = 100_000
# What botops keeps of a state; it counts the rest.
_KEPT_BY_BOTOPS = {"orders": 2_000, "positions": 20_000}


class _KeptList:
    """Orders or positions by their key, oldest first."""

    def __init__(self, name: str, record: Record) -> None:
        self.name = name
        self.record = record
        # Each with its JSON, which begins with a comma. One step puts both: a signal handler may come between two.
        self.entries: Dict[str, Tuple[Pieces, bytes]] = {}
        self.is_told = False
        # Why the list is not known although it was told: by the key of the one entry it is about, or "" for the whole.
        self.doubts: Dict[str, str] = {}
        # The keys of those that have no room.
        self.left_out: Dict[str, None] = {}
        # A signal handler within `put` may make it wrong; `count_bytes` makes it right again.
        self.bytes = 0

    def known(self, key: str) -> Optional[Pieces]:
        entry = self.entries.get(key)
        return None if entry is None else entry[0]

    def size_of(self, key: str) -> int:
        entry = self.entries.get(key)
        return 0 if entry is None else len(entry[1])

    def put(self, key: str, pieces: Pieces, encoded: bytes) -> None:
        self.bytes += len(encoded) - self.size_of(key)
        self.entries[key] = pieces, encoded
        self.left_out.pop(key, None)

    def remove(self, key: str) -> None:
        self.left_out.pop(key, None)
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.bytes -= len(entry[1])

    def count_bytes(self) -> None:
        """Counts anew what the entries have."""
        self.bytes = sum([len(encoded) for _, encoded in list(self.entries.values())])

    @property
    def count(self) -> int:
        """How many there are, with those that have no room."""
        return len(self.entries) + len(self.left_out)

    def rest(self) -> Optional[Tuple[int, int]]:
        """How many of how many are shown by botops; `None` when all are."""
        most = _KEPT_BY_BOTOPS[self.name]
        if len(self.entries) <= most and not self.left_out:
            return None
        return min(len(self.entries), most), self.count

    def to_json(self, entries: List[Tuple[Pieces, bytes]]) -> List[bytes]:
        """A copy of the entries as JSON in pieces, newest order first; nothing is joined."""
        if not self.is_told or self.doubts:
            return [b"null"]
        encoded = [one for _, one in entries]
        whole = [b"[", *(reversed(encoded) if self.name == "orders" else encoded), b"]"]
        if len(whole) > 2:
            whole[1] = whole[1][1:]
        return whole


class StateStore:
    """The state of one bot. Every method may be called from any thread and raises nothing."""

    def __init__(self, problems: ProblemLog) -> None:
        self.lock = threading.RLock()
        self.problems = problems
        self.seq = 1
        self.changed_at = time.time()
        self.phase: Pieces = {"phase": '"starting"', "phase_reason": "null"}
        self.trading_enabled: Optional[bool] = None
        self.no_entry_reasons: Optional[List[str]] = None
        self.last_trade_at = numbers.NULL
        self.parts: Dict[str, Pieces] = {}
        self._orders = _KeptList("orders", records.ORDER)
        self._positions = _KeptList("positions", records.POSITION)
        self._finished: Dict[str, None] = {}
        self.dropped: Dict[str, int] = {}
        # Why members of other parts are not known, by their names.
        self._not_known: Dict[str, str] = {}

    def renew_lock(self) -> None:
        """Takes a new lock, in a forked child whose parent held the old one."""
        self.lock = threading.RLock()

    def touch(self) -> None:
        """Notes that the bot said something now."""
        with self.lock:
            self.seq += 1
            self.changed_at = time.time()

    def set_unknown(self, field: str, why: Optional[str]) -> None:
        """Why a member of another part is not known; `None` when it is again."""
        with self.lock:
            if why is None:
                self._not_known.pop(field, None)
            else:
                self._not_known[field] = why
            self.touch()

    def set_phase(self, phase: Any, reason: Any = None) -> None:
        """What the bot's loop is doing, in the contract's words or its own."""
        record = Record({"phase": records.PHASE, "phase_reason": numbers.text})
        pieces = record.pieces({"phase": phase, "phase_reason": reason}, "state", self.problems)
        with self.lock:
            self.phase.update(pieces)
            self.touch()
        _note_phase()

    def set_trading_enabled(self, value: Optional[bool]) -> None:
        """Whether new positions may be opened."""
        try:
            is_enabled = value if value is None else bool(value)
        except Exception as error:
            # Not raised into the trading code, and not taken for a yes: what cannot be read opens no position.
            is_enabled = False
            self.problems.add("trading_enabled", "bad_value", f"expected True or False ({type(error).__name__}); it is False")
        with self.lock:
            self.trading_enabled = is_enabled
            self.touch()
        _note_phase()

    def set_part(self, name: str, record: Record, values: Mapping[str, Any], stamp: Optional[str] = None) -> None:
        """Changes the given fields of `account`, `performance`, `market` and the like; other fields stay."""
        pieces = record.pieces(values, name, self.problems)
        if stamp is not None and stamp not in pieces:
            pieces[stamp] = f'"{numbers.moment_text(time.time())}"'
        with self.lock:
            self.parts.setdefault(name, {}).update(pieces)
            self.touch()

    def put_position(self, symbol: Any, values: Mapping[str, Any]) -> None:
        """Changes the given fields of a position, or adds it. One of quantity 0 is none."""
        self._put(self._positions, "symbol", symbol, values, "last_updated")

    def put_order(self, id: Any, values: Mapping[str, Any]) -> None:
        """Changes the given fields of an order, or adds it."""
        self._put(self._orders, "id", id, values, "updated_at")

    def remove_position(self, symbol: Any) -> None:
        """Takes a position off."""
        self._remove(self._positions, symbol)

    def remove_order(self, id: Any) -> None:
        """Takes an order off."""
        self._remove(self._orders, id)

    def replace_positions(self, rows: Any) -> None:
        """Makes these the open positions; all others are closed."""
        self._replace(self._positions, "symbol", rows, "last_updated")

    def replace_orders(self, rows: Any) -> None:
        """Makes these the orders; all others are forgotten."""
        self._replace(self._orders, "id", rows, "updated_at")

    def _put(self, kept: _KeptList, key_field: str, key: Any, values: Mapping[str, Any], stamp: str,
             is_of_all: bool = False) -> None:
        # One problem for all orders, not one for each: a mistake in the code comes with every one of them.
        where = kept.name
        given = dict(values)
        given[key_field] = key
        pieces = kept.record.pieces(given, where, self.problems)
        key_text = pieces.get(key_field) or numbers.NULL
        if key_text == numbers.NULL:
            said = f"one without its {key_field} is not told"
            self.problems.add(f"{kept.name}.{key_field}", "no_key", said)
            if is_of_all:
                # The next list may be whole; of those that are told one by one nobody says when it is.
                kept.doubts[""] = said
            return
        if key_field == "symbol" and len(str(key)) > _LONGEST_SYMBOL:
            self.problems.add("positions.symbol", "bad_value", "a symbol of more than 64 characters is not shown whole")
        with self.lock:
            kept.is_told = True
            before = kept.count
            # Again where a signal handler said something of the same one meanwhile: that would be lost.
            while not self._change(kept, key_text, pieces, stamp):
                pass
            if kept is self._positions:
                self._doubt_or_trust(key_text, pieces, kept.record.strangers(given))
            if not is_of_all and kept.count > before:
                self._note_rest(kept)

    def _note_rest(self, kept: _KeptList) -> None:
        """Tells how many of how many are not shown, and where that limit is."""
        rest = kept.rest()
        if rest is None:
            return
        shown, told = rest
        if kept.left_out:
            said = f"{len(kept.entries)} of {told} fit into one answer (7 MiB); the others are not told"
            self.problems.add(kept.name, "dropped", said)
        if len(kept.entries) > shown:
            which = "newest" if kept is self._orders else "first"
            said = f"{told} are told, and botops shows the {which} {shown} of them; it counts the other {told - shown}"
            self.problems.add(kept.name, "left_out", said)

    def _doubt_or_trust(self, key: str, pieces: Pieces, strangers: List[str]) -> None:
        """A position whose quantity came under a name that is none is there, and nobody knows how large it is."""
        positions = self._positions
        if "quantity" in pieces:
            positions.doubts.pop(key, None)
        elif strangers and positions.known(key) is None:
            positions.doubts[key] = f"a position without `quantity` (given: {', '.join(strangers)[:60]})"

    def _change(self, kept: _KeptList, key: str, pieces: Pieces, stamp: str) -> bool:
        known = kept.known(key)
        if kept is self._positions and _is_zero(pieces.get("quantity")):
            kept.remove(key)
            self.touch()
            return True
        if known is None and kept is self._positions and "quantity" not in pieces:
            said = "it has no position, and one is told with its quantity"
            self.problems.add("positions.quantity", "not_open", said)
            return True
        merged = {**known, **pieces} if known else dict(pieces)
        if not known or merged != known:
            # An order's time is that of its status and its filled quantity; a position's that of any change.
            moved = kept is self._positions or not known or any(
                merged.get(name) != known.get(name) for name in ("status", "filled_quantity"))
            if stamp not in pieces and moved:
                merged[stamp] = f'"{numbers.moment_text(time.time())}"'
            if kept.known(key) is not known:
                return False
            self._keep(kept, key, merged)
        self.touch()
        return True

    def _keep(self, kept: _KeptList, key: str, pieces: Pieces) -> None:
        encoded = _encoded(pieces)
        if self._is_too_much(kept, key, len(encoded)):
            # What people read goes before what trades are judged by.
            pieces = {name: numbers.NULL if name in _LONG_TEXTS and len(piece or "") > _SHORT else piece
                      for name, piece in pieces.items()}
            encoded = _encoded(pieces)
        if not self._has_room(kept, key, len(encoded)):
            # Also one that was told before: what it was then would be taken for what it is.
            kept.remove(key)
            self._finished.pop(key, None)
            if len(kept.left_out) < _MOST_ROWS:
                kept.left_out[key] = None
            return
        kept.put(key, pieces, encoded)
        if kept is self._orders:
            self._limit_finished(key, pieces)

    def _is_too_much(self, kept: _KeptList, key: str, size: int) -> bool:
        return self._orders.bytes + self._positions.bytes - kept.size_of(key) + size > _LARGEST_LISTS

    def _has_room(self, kept: _KeptList, key: str, size: int) -> bool:
        if self._is_too_much(kept, key, size):
            self._orders.count_bytes()
            self._positions.count_bytes()
        while self._is_too_much(kept, key, size) and self._finished:
            self._drop_oldest_finished()
        if not self._is_too_much(kept, key, size):
            return True
        self.dropped[kept.name] = self.dropped.get(kept.name, 0) + 1
        return False

    def _limit_finished(self, key: str, pieces: Pieces) -> None:
        if pieces.get("status") in _FINAL:
            self._finished.setdefault(key)
        else:
            self._finished.pop(key, None)
        while len(self._finished) > _FINISHED_ORDERS:
            self._drop_oldest_finished()

    def _drop_oldest_finished(self) -> None:
        oldest = next(iter(list(self._finished)), "")
        self._finished.pop(oldest, None)
        self._orders.remove(oldest)

    def _remove(self, kept: _KeptList, key: Any) -> None:
        key_text = numbers.quoted(str(key))
        with self.lock:
            kept.is_told = True
            kept.doubts.pop(key_text, None)
            kept.remove(key_text)
            self._finished.pop(key_text, None)
            self.touch()

    def _replace(self, kept: _KeptList, key_field: str, rows: Any, stamp: str) -> None:
        given: List[Dict[str, Any]] = []
        fault = None
        try:
            # Read before the lock is taken: what gives the rows may ask an exchange for each.
            for row in itertools.islice(rows, _MOST_ROWS + 1):
                try:
                    given.append(dict(row))
                except (TypeError, ValueError):
                    fault = f"expected a dictionary as number {len(given)} of the list, got {type(row).__name__}"
                    break
        except (TypeError, ValueError):
            fault = f"expected a list of dictionaries, got {type(rows).__name__}"
        if len(given) > _MOST_ROWS:
            fault = f"more than {_MOST_ROWS} of them"
        if fault is not None:
            # Neither what was told before nor the part that can be read is what there is now.
            self.problems.add(kept.name, "bad_value", fault)
            with self.lock:
                kept.doubts[""] = fault
                self.touch()
            return
        names = set()
        with self.lock:
            kept.is_told = True
            kept.doubts.clear()
            for row in given:
                key = row.pop(key_field, None)
                names.add(numbers.quoted(str(key)))
                self._put(kept, key_field, key, row, stamp, is_of_all=True)
            for key_text in [known for known in [*kept.entries, *kept.left_out] if known not in names]:
                kept.remove(key_text)
                self._finished.pop(key_text, None)
            self._note_rest(kept)
            self.touch()

    def read(self) -> Tuple[int, Dict[str, str], List[bytes], int]:
        """The state as it is now: its number, everything but the lists as JSON by member, the lists as the rest of that
        object in pieces, and the bytes of that rest."""
        with self.lock:
            members: Dict[str, str] = {
                "seq": str(self.seq),
                "as_of": f'"{numbers.moment_text(self.changed_at)}"',
                "trading_enabled": numbers.flag(self.trading_enabled),
                "last_trade_at": self.last_trade_at,
                "no_entry_reasons": numbers.NULL if self.no_entry_reasons is None
                else "[" + ",".join(map(numbers.quoted, self.no_entry_reasons)) + "]",
            }
            # Copies: a signal handler may add a field while its thread is in here.
            members.update({name: piece for name, piece in dict(self.phase).items() if piece is not None})
            members.update({name: records.object_text(dict(pieces)) for name, pieces in dict(self.parts).items()})
            members["unknown"] = self._unknown()
            seq, positions, orders = self.seq, list(self._positions.entries.values()), list(self._orders.entries.values())
        rest = [b',"positions":', *self._positions.to_json(positions), b',"orders":', *self._orders.to_json(orders), b"}"]
        # Of what is sent itself: a sum that is kept beside it would be wrong for good once a signal came between.
        return seq, members, rest, sum(map(len, rest))

    def _unknown(self) -> str:
        why: Dict[str, str] = {}
        for name in ("account", "performance", "market", "session", "circuit_breaker", "day"):
            if name not in self.parts:
                why[name] = '"why":"not_reported"'
        for kept in (self._positions, self._orders):
            if kept.doubts:
                said = next(iter(list(kept.doubts.values())), "")
                why[kept.name] = f'"why":"other","why_raw":{numbers.quoted("bad value: " + said)}'
            elif not kept.is_told:
                why[kept.name] = '"why":"not_yet"'
            rest = kept.rest()
            if rest is not None and kept.name not in why:
                said = f"{rest[0]} of {rest[1]} shown: tell open ones, forget others"
                why[f"{kept.name}.rest"] = f'"why":"other","why_raw":{numbers.quoted(said)}'
        for field, said in list(self._not_known.items()):
            why[field] = f'"why":"other","why_raw":{numbers.quoted(said)}'
        for field, expected in self.problems.bad_fields().items():
            part, _, member = field.partition(".")
            if part in self.parts and self.parts[part].get(member, numbers.NULL) != numbers.NULL:
                continue
            why[field] = f'"why":"other","why_raw":{numbers.quoted("bad value: " + expected)}'
        return "[" + ",".join(f'{{"field":{numbers.quoted(field)},{reason}}}' for field, reason in why.items()) + "]"


def _note_phase() -> None:
    said = PHASE_SAID.get()
    if said is not None:
        said.append(True)


def _encoded(pieces: Pieces) -> bytes:
    return b"," + records.object_text(pieces).encode("utf-8", "replace")


def _is_zero(piece: Optional[str]) -> bool:
    if piece is None or piece == numbers.NULL:
        return False
    digits = piece.strip('"').lower().partition("e")[0]
    return not any(digit in "123456789" for digit in digits)
