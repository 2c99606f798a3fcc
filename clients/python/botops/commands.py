"""Commands of an operator: what a handler gets, what it may answer, and the first answer kept for each id.

An answer proves something or says that it does not: `done` when the handler returned, `refused` when it refused or was
never begun, `unconfirmed` when it raised, or has not returned in time. A command is never begun after it expired.
"""
from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict, deque
from concurrent.futures import Future
from typing import Any, Callable, Deque, Dict, List, NamedTuple, NoReturn, Optional, Tuple

from . import numbers
from .durable import DataFolder, LineFile, replace_file
from .problems import ProblemLog
from .told import error_text, text_of

VERBS = ("pause", "resume", "cancel-orders", "flatten", "probe-session", "reauth", "reset-breaker", "halt", "shutdown")
EXPIRED = "expired"
# The reasons beside an `unconfirmed` whose handler raised, and a `predicted` whose preview did.
HANDLER_RAISED = "handler_raised"
PREVIEW_RAISED = "preview_raised"
# An answer that a repeated command gets; older ones are forgotten.
_KEPT_ANSWERS = 1_000
_LONGEST_ID = 128
# Of what a handler raised, as an answer tells it.
_LONGEST_RAISED = 400
# Lines of the file, two a command, beyond which a start keeps the newest commands alone.
_LONGEST_FILE = 5 * _KEPT_ANSWERS
_EXPOSURE = ("orders_cancelled", "orders_submitted", "positions_closing", "notional", "positions_left", "orders_left")

Answer = Dict[str, Any]


class Refused(Exception):
    """Raised by a handler: nothing was done. `code` is a stable reason, such as `already` or `market_closed`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Unconfirmed(Exception):
    """Raised by a handler: it acted, and cannot say whether it took effect."""


class Command(NamedTuple):
    """One command, as its handler gets it."""

    verb: str
    command_id: str
    reason: str
    args: Dict[str, Any]
    dry_run: bool

    @property
    def symbols(self) -> List[str]:
        """The symbols that it is narrowed to; empty means all."""
        return [str(symbol) for symbol in self.args.get("symbols") or []]

    def refuse(self, code: str, message: str) -> NoReturn:
        """Ends the handler: nothing was done, for this reason."""
        raise Refused(code, message)


class Done(NamedTuple):
    """What a handler may return: what it did, and its effect on orders and positions as far as it is known."""

    message: str
    orders_cancelled: Optional[int] = None
    orders_submitted: Optional[int] = None
    positions_closing: Optional[List[str]] = None
    notional: Any = None
    positions_left: Optional[int] = None
    orders_left: Optional[int] = None

    def exposure(self, note: Callable[[str], None]) -> Optional[Answer]:
        """The effect in the contract's form; `None` when nothing is said of it. What cannot be told is null, and noted."""
        said = {name: getattr(self, name) for name in _EXPOSURE}
        if all(value is None for value in said.values()):
            return None
        for name, value in said.items():
            try:
                said[name] = _member(name, value)
            except Exception as error:  # an effect that cannot be told does not take back that it was done
                said[name] = None
                note(f"`{name}` cannot be told: {text_of(error)}")
        return said


def _member(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "notional":
        return numbers.amount_text(value)
    if name != "positions_closing":
        return int(numbers.count(value))
    return [value] if isinstance(value, str) else sorted(text_of(symbol) for symbol in value)


class CommandError(Exception):
    """A request that is refused before it is a command: status, code and sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class CommandTask:
    """A command from its arrival to its answer."""

    def __init__(self, command: Command, until: Optional[float], expires_at: Optional[float]) -> None:
        self.command = command
        self.until = until
        self.expires_at = expires_at
        self.is_begun = False
        self.work: Optional[Callable[[], Any]] = None
        # Where its handler runs: on the loop's thread, on which thread, as which coroutine.
        self.is_for_loop = False
        self.thread: Optional[int] = None
        self.coroutine: Any = None
        self.answer: Future[Answer] = Future()

    def is_expired(self) -> bool:
        """Whether it may no longer be begun."""
        return (self.until is not None and time.monotonic() >= self.until) or (
            self.expires_at is not None and time.time() >= self.expires_at)


class CommandBook:
    """The commands by id: each is begun once, and its first answer is kept, with a folder also over a restart."""

    def __init__(self, folder: Optional[DataFolder], problems: ProblemLog) -> None:
        self._folder = folder
        self._problems = problems
        self._lock = threading.RLock()
        self._file_lock = threading.RLock()
        self._tasks: "OrderedDict[str, CommandTask]" = OrderedDict()
        self._file: Optional[LineFile] = None
        self._unsaved: Deque[bytes] = deque(maxlen=10 * _KEPT_ANSWERS)
        # Whether a line is on the disk itself when it counts as written.
        self.syncs = True
        self._is_failing = False

    def renew_lock(self) -> None:
        """Takes new locks, in a forked child whose parent held the old ones."""
        self._lock = threading.RLock()
        self._file_lock = threading.RLock()

    @property
    def is_open(self) -> bool:
        """Whether the commands of earlier starts were read."""
        return self._file is not None

    @property
    def is_kept(self) -> bool:
        """Whether what is said of a command now will be known at the next start."""
        return self._file is not None and not self._is_failing

    def admit(self, command: Command, until: Optional[float], expires_at: Optional[float]) -> Tuple[CommandTask, bool]:
        """The task of a command, and whether it is new. Raises `CommandError` for an id that was another verb's."""
        if not command.command_id or len(command.command_id) > _LONGEST_ID:
            raise CommandError(400, "invalid", "command_id needs 1 to 128 characters")
        task = CommandTask(command, until, expires_at)
        if command.dry_run:
            return task, True
        with self._lock:
            known = self._tasks.get(command.command_id)
            if known is not None:
                if known.command.verb != command.verb:
                    raise CommandError(409, "id_reused", f"this command_id was used for {known.command.verb}")
                return known, False
            self._tasks[command.command_id] = task
            while len(self._tasks) > _KEPT_ANSWERS:
                # Not only the oldest: one that hangs would have all that came after it kept.
                over = next((known for known, task in self._tasks.items() if task.answer.done()), None)
                if over is None:
                    break
                del self._tasks[over]
        return task, True

    def begin(self, task: CommandTask) -> bool:
        """Claims a command for its handler; False when it was withdrawn or has expired, and is refused then."""
        with self._lock:
            if task.answer.done() or task.is_begun:
                return False
            if task.is_expired():
                self.finish(task, refused(EXPIRED, "it was not begun while it was wanted, so it is not carried out"))
                return False
            task.is_begun = True
            return True

    def withdraw(self, task: CommandTask, why: str) -> bool:
        """Takes a command back that was not begun. True when it is certain that nothing happens any more."""
        with self._lock:
            if task.is_begun or task.answer.done():
                return False
            self.finish(task, refused(EXPIRED, why))
            return True

    def withdraw_all(self) -> None:
        """Refuses every command that was not begun: the bot stops."""
        with self._lock:
            for task in list(self._tasks.values()):
                if not task.is_begun and not task.answer.done():
                    self.finish(task, refused("stopping", "the bot stops; it was not carried out"))

    def finish(self, task: CommandTask, answer: Answer) -> None:
        """Keeps the first answer of a command."""
        with self._lock:
            if task.answer.done():
                return
            answer = {"command_id": task.command.command_id, **answer,
                      "at": numbers.moment_text(time.time()), "replayed": False}
            task.answer.set_result(answer)
            if not task.command.dry_run:
                self._save({"id": task.command.command_id, "verb": task.command.verb, "result": answer})

    def note_arrival(self, task: CommandTask) -> None:
        """Has it on disk that the command may be begun from here on."""
        self._save({"id": task.command.command_id, "verb": task.command.verb})
        self.write_waiting()

    def status(self, command_id: str) -> Answer:
        """What became of a command, as the contract's `GET commands/{command_id}`."""
        with self._lock:
            task = self._tasks.get(command_id)
            if task is None:
                return {"command_id": command_id, "standing": "unknown"}
            if not task.answer.done():
                return {"command_id": command_id, "standing": "pending"}
            return {"command_id": command_id, "standing": "answered", "result": task.answer.result()}

    def open(self) -> None:
        """Reads the answers of earlier starts once the folder is owned. Raises OSError."""
        if self._folder is None or self._file is not None:
            return
        path = self._folder.path / "commands.jsonl"
        file = LineFile(path)
        file.open()
        kept: "OrderedDict[str, Dict[str, Any]]" = OrderedDict()
        count = 0
        for line in file.lines():
            count += 1
            try:
                row = json.loads(line)
                kept[row["id"]] = row
            except (ValueError, KeyError, TypeError):
                continue
        if count > _LONGEST_FILE:
            file.close()
            newest = list(kept.values())[-_KEPT_ANSWERS:]
            replace_file(path, b"".join(json.dumps(row).encode() + b"\n" for row in newest))
            file.open()
        with self._lock:
            for command_id, row in list(kept.items())[-_KEPT_ANSWERS:]:
                task = CommandTask(Command(str(row.get("verb")), command_id, "", {}, False), None, None)
                task.is_begun = True
                message = "the bot ended while it was under way; whether it took effect is not known"
                answer = row.get("result") or {"command_id": command_id, "outcome": "unconfirmed", "message": message}
                task.answer.set_result(answer)
                if command_id not in self._tasks:
                    self._tasks[command_id] = task
                    self._tasks.move_to_end(command_id, last=False)
            self._file = file

    def _save(self, row: Answer) -> None:
        if self._folder is not None:
            self._unsaved.append(json.dumps(row, default=text_of).encode())

    def write_waiting(self) -> None:
        """Writes what is not on disk yet. A failure is noted, and it is tried again later."""
        # A lock of its own: the trading loop takes the other one when it begins a command, and must not wait for a disk.
        with self._file_lock:
            if self._file is None or not self._unsaved:
                return
            lines = list(self._unsaved)
            try:
                if not self._file.is_in_place():
                    # What is written to a file without a name is gone with the process.
                    raise FileNotFoundError(f"{self._file.path} was removed or replaced while the bot has it open: put that "
                                            "file back, or restart the bot when no command is under way")
                self._file.append(lines, self.syncs)
                for _ in lines[:len(self._unsaved)]:
                    self._unsaved.popleft()
                self._is_failing = False
            except OSError as error:
                self._is_failing = True
                self._problems.add("commands", "not_recorded", f"answers to commands are not on disk: {error}")

    def close(self) -> None:
        """Closes the file."""
        with self._file_lock:
            if self._file is not None:
                self._file.close()
                self._file = None


def refused(code: str, message: str) -> Answer:
    """An answer that says that nothing was done."""
    return {"outcome": "refused", "reason_code": code, "message": message}


def answer_of(returned: Any, verb: str, note: Callable[[str], None]) -> Answer:
    """The answer that a handler's return value stands for. What of it cannot be told is noted."""
    if isinstance(returned, Done):
        return {"outcome": "done", "message": text_of(returned.message), "exposure": returned.exposure(note)}
    if returned is not None and not isinstance(returned, (str, bool)):
        note(f"a {type(returned).__name__} is not told: return a sentence, or Done(\"…\", orders_cancelled=2)")
    message = returned if isinstance(returned, str) else f"the bot's handler of {verb} returned"
    return {"outcome": "done", "message": message}


def answer_of_error(error: BaseException, verb: str) -> Answer:
    """The answer that what a handler raised stands for."""
    if isinstance(error, Refused):
        return refused(text_of(error.code), text_of(error.message))
    if isinstance(error, Unconfirmed):
        return {"outcome": "unconfirmed", "message": text_of(error)}
    message = f"the bot's handler of {verb} raised {error_text(error)[:_LONGEST_RAISED]}; it may have acted"
    return {"outcome": "unconfirmed", "reason_code": HANDLER_RAISED, "message": message}
