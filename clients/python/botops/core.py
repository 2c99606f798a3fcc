"""A bot without its connections: what it said, what it can do, and the files behind that."""
from __future__ import annotations

import os
import pathlib
import time
import uuid
from typing import Any, Dict, List, Optional

from . import numbers, router
from .address import END_IT, other_process
from .commands import CommandBook
from .config import BotConfig
from .durable import DataFolder
from .events import EventLog
from .handlers import CommandRunner
from .loop import LoopClock, LoopQueue
from .problems import Problem, ProblemLog
from .state import StateStore
from .trades import TradeLog

CONTRACT = 2
SDK_VERSION = "0.1.0"
# How long the end of a bot waits for its output to be taken.
_LOG_WITHIN = 1.0


class BotCore:
    """Everything about one bot. Nothing in it waits for a connection."""

    def __init__(self, bot_id: str, mode: str, name: str, version: str, expected_interval: Optional[float],
                 data_dir: Optional[pathlib.Path], log_dir: Optional[str]) -> None:
        self.bot_id, self.mode, self.name, self.version, self.log_dir = bot_id, mode, name, version, log_dir
        self.problems = ProblemLog()
        self.folder = DataFolder(data_dir) if data_dir is not None else None
        self.state = StateStore(self.problems)
        self.events = EventLog(self.problems)
        self.trades = TradeLog(self.folder, self.problems)
        self.clock = LoopClock(expected_interval)
        self.loop = LoopQueue(self.problems)
        book = CommandBook(self.folder, self.problems)
        self.commands = CommandRunner(book, self.state, self.clock, self.loop, self.problems)
        self.config: Optional[BotConfig] = None
        self.more_capabilities: List[str] = []
        self.offers_trades = True
        self.syncs_files = True
        self.is_inert = False
        # It stops as soon as an answer that is under way is sent.
        self.is_stopping = False
        self.problems.on_first = self._tell_problem
        self.begin_life()

    def begin_life(self) -> None:
        """Names this start of the bot."""
        self.pid = os.getpid()
        self.boot_epoch = self.events.boot_epoch = str(uuid.uuid4())
        self.started_at = numbers.moment_text(time.time())
        if self.config is not None:
            self.config.boot_epoch = self.boot_epoch
        self.own_folder()

    @property
    def offers_command_status(self) -> bool:
        """Whether it can say what became of a command, also one of its last start: only of what it has on disk."""
        return self.folder is not None and self.folder.is_owned and self.commands.book.is_kept

    @property
    def knows_earlier_commands(self) -> bool:
        """Whether the commands of earlier starts were read, so that one it does not know was never here."""
        return self.folder is not None and self.folder.is_owned and self.commands.book.is_open

    @property
    def _keeps_candidates(self) -> bool:
        return self.folder is not None and self.folder.is_owned

    def own_folder(self) -> bool:
        """Takes the data folder once no other process has it. True when there is one and it is owned."""
        if self.folder is None or self.folder.is_owned:
            return self.folder is not None
        try:
            if not self.folder.try_to_own():
                said = f"{other_process(self.folder.owner())} has {self.folder.path}; it is waited for. {END_IT}"
                self.problems.add("data_dir", "in_use", said)
                return False
            self.commands.book.open()
            self.trades.open()
            if self.config is not None:
                self.config.take_up_files()
            return True
        except (OSError, ValueError) as error:
            self.release_folder()
            self.problems.add("data_dir", "unusable", f"{self.folder.path}: {error}")
            return False

    def maintain(self) -> None:
        """What has to be done beside the trading loop, several times a second: files, and the clock of a trial."""
        self.problems.output.start_writing()
        self.own_folder()
        self.write_waiting()
        if self.config is not None:
            self.config.watch.look()
            self.config.expire()

    def write_waiting(self) -> None:
        """Writes what waits for the disk; what cannot be written waits on."""
        self.commands.book.write_waiting()
        try:
            if self.trades.write_waiting(self.syncs_files):
                self.state.touch()
        except OSError as error:
            self.problems.add("trades", "not_recorded", f"trades are not on disk yet: {error}")

    def hello(self) -> Dict[str, Any]:
        """The contract's `hello`."""
        return {"contract": CONTRACT, "bot_id": self.bot_id, "name": self.name, "version": self.version, "pid": self.pid,
                "boot_epoch": self.boot_epoch, "started_at": self.started_at, "mode": self.mode,
                "capabilities": self.capabilities(), "log_dir": self.log_dir}

    def capabilities(self) -> List[str]:
        """What it can do: a verb without a handler is not among it."""
        handlers = self.commands.handlers
        found = list(handlers)
        if any(handler.durable for handler in handlers.values()):
            found.append("durable-pause")
        if self.offers_command_status:
            found.append("command-status")
        found.append("events")
        if self.offers_trades:
            found.append("trades")
        if self.config is not None:
            found += ["config", "config-schema"] + (["config-boot-once"] if self._keeps_candidates else [])
        if "session" in self.state.parts:
            found.append("session")
        return found + [name for name in self.more_capabilities if name not in found]

    def members(self) -> Dict[str, str]:
        """The members of the state that are not said by the bot."""
        found = {"mode": numbers.quoted(self.mode), "boot_epoch": f'"{self.boot_epoch}"', "loop": self.clock.to_json()}
        found.update(self.events.error_members())
        if self.config is not None:
            found["config"] = router.state_config(self.config, self.mode)
        return found

    def close(self) -> None:
        """Writes what waits, and closes the files."""
        self.commands.book.withdraw_all()
        self.write_waiting()
        self.release_folder()
        self.problems.output.finish(_LOG_WITHIN)

    def release_folder(self) -> None:
        """Closes the files and gives the folder back."""
        self.trades.close()
        self.commands.book.close()
        if self.folder is not None:
            self.folder.release()

    def leave_to_parent(self) -> None:
        """In a forked child: the files stay the parent's, and nothing waits for what the parent held."""
        self.renew_locks()
        self.is_inert = True
        self.release_folder()

    def renew_locks(self) -> None:
        """Takes new locks, in a forked child whose parent held the old ones."""
        for part in (self.problems, self.state, self.events, self.trades, self.loop, self.commands.book):
            part.renew_lock()

    def _tell_problem(self, problem: Problem) -> None:
        meaning = problem.meaning
        self.events.add_error({
            "error_code": f"SDK_{problem.code.upper()}", "error_type": "ValidationError", "severity": meaning.severity,
            "message": f"{problem.where}: {problem.message}", "cause": meaning.cause, "impact": meaning.impact,
            "remediation": meaning.remediation,
            "context": {"where": problem.where, "code": problem.code},
        })
        self.state.touch()

