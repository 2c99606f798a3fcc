"""`Bot`: what the trading code calls. No call waits for a connection or a disk, and none raises once the bot was made."""
from __future__ import annotations

import atexit
import functools
import inspect
import itertools
import math
import os
import pathlib
import re
import threading
import time
from concurrent.futures import Future, wait
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, TypeVar, Union

from . import forks, numbers, records, told
from .address import Address, Path
from .change import Apply
from .checks import Check
from .commands import VERBS
from .config import BotConfig
from .config_files import ConfigError, ConfigFiles
from .core import BotCore
from .handlers import VerbHandler, takes_one
from .loop import under_way
from .problems import Problem
from .server import ThreadServer

_BOT_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
# A day; a loop that waits longer goes round once in it.
_LONGEST_SLEEP = 86_400.0
_MOST_REASONS = 50
_MODES = ("paper", "live", "backtest")
_Call = TypeVar("_Call", bound=Callable[..., Any])


def _harmless(call: _Call) -> _Call:
    """Has a call of the trading code raise nothing, and do nothing in a forked child."""

    @functools.wraps(call)
    def guarded(self: "BaseBot", *given: Any, **named: Any) -> Any:
        if self._core.is_inert:
            return None
        try:
            return call(self, *given, **named)
        except Exception as error:
            _note_failure(self._core, call.__name__, error)
            return None

    return guarded  # type: ignore[return-value]


def _note_failure(core: BotCore, where: str, error: Exception) -> None:
    try:
        core.problems.add_failure(where, "failed", told.error_text(error)[:300], error)
    except Exception:
        pass  # the trading code has no use for a fault of the SDK


def _check_callable(function: Callable[..., Any], argument: str, may_be_coroutine: bool) -> None:
    """Raises ValueError for a function that could never be called: that would come out at the first command alone."""
    name = getattr(function, "__name__", "it")
    if not takes_one(function):
        raise ValueError(f"`{name}` is called with one argument: def {name}({argument})")
    if inspect.iscoroutinefunction(function) and not may_be_coroutine:
        why = "handlers may be coroutines in AsyncBot alone" if argument == "command" else "it runs between two rounds"
        raise ValueError(f"`{name}` is a plain function, not a coroutine: {why}")


class BaseBot:
    """What `Bot` and `AsyncBot` have in common: everything that the trading code says."""

    _runs_coroutines = False

    def __init__(self, bot_id: str, *, mode: str, name: Optional[str] = None, version: str = "0",
                 address: Optional[Path] = None, token_file: Optional[Path] = None,
                 data_dir: Union[Path, None, bool] = None, log_dir: Optional[Path] = None,
                 expected_interval: Optional[float] = None, trades: bool = True,
                 capabilities: Iterable[str] = ()) -> None:
        """Makes a bot; raises ValueError for what cannot be served. Nothing is served before it is started.

        `mode` is `paper`, `live` or `backtest`. `address` is a socket's path or `host:port` of this machine or a private
        network (then with `token_file`); by default what botops has: `BOT_IPC_SOCKET`, or `BOT_IPC_URL` with
        `BOT_IPC_TOKEN_FILE`, else botops-data/ipc/bot.sock. `data_dir` is the bot's own folder, by
        default beside the socket; with `False` nothing is kept over a restart. `expected_interval` is the longest time in
        seconds that one round of the loop should take. `trades=False` is a bot without a journal of trades.
        """
        if not _BOT_ID.fullmatch(bot_id):
            raise ValueError("a bot id is 1 to 64 letters, digits, `-` or `_`, and does not begin with `-`")
        if mode not in _MODES:
            raise ValueError(f"mode is one of {', '.join(_MODES)}: whether real money is at stake must be certain")
        self._address = Address(address, token_file)
        folder: Optional[pathlib.Path] = None
        if data_dir is None or data_dir is True:
            folder = self._address.data_folder(bot_id)
        elif data_dir is not False:
            folder = pathlib.Path(os.fspath(data_dir)).absolute()
        logs = None if log_dir is None else str(pathlib.Path(os.fspath(log_dir)).absolute())
        interval = None if expected_interval is None else float(expected_interval)
        if interval is not None and not (math.isfinite(interval) and interval > 0):
            raise ValueError("expected_interval is a number of seconds above 0: delays are counted against it")
        self._core = BotCore(bot_id, mode, name or bot_id, str(version), interval, folder, logs)
        self._core.more_capabilities = [str(one) for one in capabilities]
        self._core.offers_trades = trades
        self._stop_lock = threading.RLock()
        forks.watch(self)

    # What the bot is and has

    @_harmless
    def account(self, **fields: Any) -> None:
        """Balances: `balance` (equity), `currency`, `buying_power`, `cash`, `account_id`, `day_trade_count`."""
        self._core.state.set_part("account", records.ACCOUNT, fields, "last_updated")

    @_harmless
    def position(self, symbol: str, **fields: Any) -> None:
        """An open position: the given fields of it change, others stay. With `quantity` 0 it is closed."""
        self._core.state.put_position(symbol, fields)

    @_harmless
    def positions(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """All open positions, each with its `symbol`; the others are closed. `[]` says that there is none."""
        self._core.state.replace_positions(rows)

    @_harmless
    def remove_position(self, symbol: str) -> None:
        """A position is closed."""
        self._core.state.remove_position(symbol)

    @_harmless
    def order(self, id: Any, **fields: Any) -> None:
        """An order: the given fields of it change, others stay. Of those that are over, the newest 200 are kept."""
        self._core.state.put_order(id, fields)

    @_harmless
    def orders(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """All orders, each with its `id`; others are forgotten. `[]` says that there is none."""
        self._core.state.replace_orders(rows)

    @_harmless
    def remove_order(self, id: Any) -> None:
        """An order is forgotten."""
        self._core.state.remove_order(id)

    @_harmless
    def performance(self, **fields: Any) -> None:
        """Results: `total_realized_pl`, `daily_pl`, `win_rate` (0 to 1), `trades_today`, `max_drawdown`, …"""
        self._core.state.set_part("performance", records.PERFORMANCE, fields, "as_of")

    @_harmless
    def market(self, **fields: Any) -> None:
        """The market and its feed: `status` (`OPEN`, `CLOSED`, `ALWAYS_OPEN`), `source`, `last_price_at`, …"""
        self._core.state.set_part("market", records.MARKET, fields)

    @_harmless
    def session(self, **fields: Any) -> None:
        """The session with the broker: `broker`, `state`, `gate`, `resumes_at` or `needs_human`, …"""
        self._core.state.set_part("session", records.SESSION, fields)

    @_harmless
    def breaker(self, **fields: Any) -> None:
        """The circuit breaker: `state` (`closed`, `open`, `half_open`), `reason`, `source`, `resumes_at`, …"""
        self._core.state.set_part("circuit_breaker", records.BREAKER, fields)

    @_harmless
    def day(self, zone: str, began_at: Any = None) -> None:
        """What "today" means to this bot: the time zone whose midnight begins it, and when it began."""
        self._core.state.set_part("day", records.DAY, {"zone": zone, "began_at": began_at})

    @_harmless
    def phase(self, phase: str, reason: Optional[str] = None) -> None:
        """What the loop is doing: `starting`, `running`, `degraded`, `paused`, `stopped`, `stopping`."""
        self._core.state.set_phase(phase, reason)

    @_harmless
    def no_entry_reasons(self, reasons: Optional[Iterable[str]]) -> None:
        """The names of what keeps the bot from opening positions now; empty when nothing does."""
        if isinstance(reasons, (str, bytes)):
            raise ValueError("expected a list of names, not one text")
        # Of what never ends only as much is read as is told.
        first = None if reasons is None else [str(one)[:200] for one in itertools.islice(reasons, _MOST_REASONS)]
        self._core.state.no_entry_reasons = first
        self._core.state.touch()

    @property
    def trading_enabled(self) -> bool:
        """Whether new positions may be opened: False after `pause`, `flatten` and `halt`, until `resume`."""
        return self._core.state.trading_enabled is not False

    @trading_enabled.setter
    @_harmless
    def trading_enabled(self, value: bool) -> None:
        self._core.state.set_trading_enabled(value)

    @property
    def is_stopping(self) -> bool:
        """Whether the bot was told to shut down, or was stopped."""
        return self._core.is_stopping or self._core.state.phase.get("phase") == '"stopping"'

    # What happens

    @_harmless
    def trade(self, **fields: Any) -> None:
        """A closed trade: `symbol`, `side`, `quantity`, `entry_price`, `exit_price`, `opened_at`, `closed_at` (now),
        `gross_pl`, `commission`, `net_pl`, … It gets the next number of the bot's journal when it is written."""
        fields.setdefault("closed_at", time.time())
        pieces = records.TRADE.pieces(fields, "trade", self._core.problems)
        if pieces.get("closed_at") in (None, numbers.NULL):
            pieces["closed_at"] = f'"{numbers.moment_text(time.time())}"'
        pieces["boot_epoch"] = f'"{self._core.boot_epoch}"'
        if self._core.config is not None and "config_sha256" not in pieces:
            pieces["config_sha256"] = f'"{self._core.config.running_sha256}"'
        self._core.trades.add(records.object_text(pieces)[1:-1])
        self._core.state.last_trade_at = pieces["closed_at"] or numbers.NULL
        self._core.state.touch()
        self._wake()

    @_harmless
    def error(self, code: str, cause: str = "", impact: str = "", remediation: str = "", *,
              message: Optional[str] = None, severity: str = "medium", error_type: str = "TradingError",
              context: Any = None, timestamp: Any = None) -> None:
        """Something failed: why, what it means for trading, and what to do next."""
        values: Dict[str, Any] = {"error_code": code, "error_type": error_type, "severity": severity,
                                  "message": message or cause or code, "cause": cause, "impact": impact,
                                  "remediation": remediation}
        if context is not None:
            values["context"] = context
        if timestamp is not None:
            values["timestamp"] = timestamp
        self._core.events.add_error(values)
        self._core.state.touch()

    @_harmless
    def event(self, kind: str, message: str, *, severity: str = "low", data: Any = None, at: Any = None) -> None:
        """Something happened: `fill`, `order`, `session`, `breaker`, `config` or `lifecycle`, in one sentence."""
        values: Dict[str, Any] = {"kind": kind, "severity": severity, "message": message}
        if data is not None:
            values["data"] = data
        if at is not None:
            values["at"] = at
        self._core.events.add(values)
        if records.EVENT_KIND.known(kind) == "fill":
            self._core.state.last_trade_at = f'"{numbers.moment_text(time.time())}"'
        self._core.state.touch()

    @_harmless
    def tick(self) -> None:
        """Once in each round of the loop: that it goes round is told, and commands that wait are carried out here."""
        state = self._core.state
        self._core.clock.tick()
        if state.phase.get("phase") == '"starting"':
            is_enabled = state.trading_enabled is not False
            state.set_trading_enabled(is_enabled)
            state.set_phase("running" if is_enabled else "paused")
        state.touch()
        self._core.loop.run_waiting()

    @property
    def problems(self) -> List[Problem]:
        """What was wrong with what the bot said, each once with its count; nothing of it was raised."""
        return self._core.problems.to_list()

    @property
    def dropped(self) -> Dict[str, int]:
        """How many orders, positions and trades had no room and are not told."""
        return {**self._core.state.dropped, "trades": self._core.trades.dropped}

    # What it can do

    def on(self, verb: str, *, thread: bool = False, durable: bool = False) -> Callable[[_Call], _Call]:
        """Makes a function the handler of a verb, which the bot then offers.

        It runs on the loop's thread, within `tick` or `sleep`; with `thread=True`, and in a bot that never ticks, on a
        thread of the SDK at once. `durable=True` says of `pause` that it keeps `args["durable"]` over a restart.
        """
        if verb not in VERBS:
            raise ValueError(f"a verb is one of {', '.join(VERBS)}")
        if durable and verb != "pause":
            raise ValueError("only pause can be durable")

        def take(handler: _Call) -> _Call:
            _check_callable(handler, "command", self._runs_coroutines)
            self._core.commands.handlers[verb] = VerbHandler(handler, thread, durable)
            self._note_late(f"commands.{verb}")
            return handler

        return take

    def preview(self, verb: str) -> Callable[[_Call], _Call]:
        """Makes a function the answer to a dry run: it returns what the verb would do, and does nothing."""
        if verb not in VERBS:
            raise ValueError(f"a verb is one of {', '.join(VERBS)}")

        def take(handler: _Call) -> _Call:
            _check_callable(handler, "command", self._runs_coroutines)
            self._core.commands.previews[verb] = handler
            return handler

        return take

    def config(self, schema: Mapping[str, Any], values: Mapping[str, Any], *, check: Optional[Check] = None,
               apply: Optional[Apply] = None, config_dir: Optional[Path] = None) -> BotConfig:
        """Lets botops change the bot's config in watched trials. Raises `ConfigError` where what is committed does not hold.

        `schema` is the bot's JSON Schema 2020-12 with the marks of botops, `values` the config of a first start. `check`
        returns reasons against a document, or raises ValueError; `apply` takes new values, on the loop's thread.
        `config_dir` is the folder `config` of botops where it is on the same disk: what its `HEAD` names is started with.
        """
        for function in (check, apply):
            if function is not None:
                _check_callable(function, "values", False)
        folder = self._core.folder
        if folder is None and config_dir is None:
            raise ConfigError("a config needs a data folder: what is committed has to outlive the process")
        core = self._core
        files = ConfigFiles(folder.path if folder else None,
                            None if config_dir is None else pathlib.Path(os.fspath(config_dir)).absolute(),
                            lambda: folder is None or folder.is_owned)
        core.own_folder()
        slot = BotConfig(schema, values, check, apply, files, core.problems)
        slot.boot_epoch = core.boot_epoch
        slot.run_on_loop = core.commands.run_on_loop
        slot.withdraw_by(core.commands.forget)
        slot.check_by(core.commands.run_check)
        slot.set_unknown = core.state.set_unknown

        def tell(what: str, message: str) -> None:
            severity = "medium" if what in ("trial_expired", "apply_late") else "low"
            self.event("config", message, severity=severity, data={"what": what})

        slot.on_change = tell
        core.config = slot
        self._note_late("config")
        return slot

    @property
    def address(self) -> str:
        """Where it is served: the socket's path, or host and port."""
        return str(self._address)

    def _note_late(self, what: str) -> None:
        if self._is_served():
            self._core.problems.add(what, "late", "it comes after the start: botops offers it once it connects anew")

    def _is_served(self) -> bool:
        return False

    def _leave_to_program(self) -> bool:
        """Whether this start is a worker's that reads the program anew: then it does nothing, and says so."""
        if forks.is_import_by_worker() and not self._core.is_inert:
            self._core.problems.add_aloud("start", "in_worker", (
                "a worker process of multiprocessing has started the bot by reading the program anew, and does not serve it: "
                "put bot.start(), or `with bot:`, and the loop under `if __name__ == \"__main__\":`"))
            self._core.leave_to_parent()
        return self._core.is_inert

    @_harmless
    def _tell_end(self, error: Optional[BaseException]) -> None:
        """The loop of a `with bot:` has ended: by what it raised, if that was no wish to end."""
        if isinstance(error, Exception):
            said = f"the trading loop raised {told.error_text(error)}, and the bot ends"
            self._core.problems.add("loop", "loop_raised", said)

    def _wake(self) -> None:
        """Has files written soon."""

    def _prepare_fork(self) -> None:
        """Gives the data folder back before a fork: which process starts the bot, and so owns it, is open until then."""
        if not self._is_served():
            self._core.release_folder()

    def _become_inert(self) -> None:
        """In a forked child: it does not answer for its parent, and says nothing."""
        self._core.leave_to_parent()


class Bot(BaseBot):
    """A bot that is served from threads of the SDK, beside a loop of its own."""

    _server: Optional[ThreadServer] = None
    _owner = 0

    def start(self) -> "Bot":
        """Serves the bot from here on; raises nothing. Where the address is taken, it is served once it is free."""
        if self._server is None and not self._leave_to_program():
            self._owner = os.getpid()
            if self._core.pid != self._owner:
                # The process became another one since the bot was made, as a daemon's does.
                self._core.begin_life()
            self._core.own_folder()
            self._core.events.add({"kind": "lifecycle", "severity": "low", "message": f"{self._core.name} started"})
            try:
                self._server = ThreadServer(self._core, self._address)
                self._server.start()
            except (OSError, RuntimeError) as error:
                # No descriptor or no thread is left: the bot trades on without being seen.
                self._core.problems.add("address", "unusable", f"the bot is not served: {error}")
            atexit.register(self.stop)
        return self

    @_harmless
    def stop(self, timeout: float = 2.0) -> None:
        """Ends serving after what waits is written, within `timeout` seconds; in a handler, once that is answered."""
        answer = under_way()
        if answer is None or self._server is None:
            self._stop_now(timeout)
            return
        # The handler's own answer would be waited for here, and it comes after this.
        self._core.is_stopping = True
        threading.Thread(target=self._stop_after, args=(answer, timeout), name="botops-stop", daemon=True).start()

    def _stop_after(self, answer: "Future[Any]", timeout: float) -> None:
        wait([answer])
        self._stop_now(timeout)

    def _stop_now(self, timeout: float) -> None:
        # A second call waits for the first: the process may end after it.
        with self._stop_lock:
            server, self._server = self._server, None
            if server is None:
                self._core.close()
                return
            atexit.unregister(self.stop)
            self._core.state.set_phase("stopping", "the bot was stopped")
            self._core.commands.book.withdraw_all()
            server.stop(timeout)
            self._core.commands.stop_threads()
            self._core.close()

    def __enter__(self) -> "Bot":
        return self.start()

    def __exit__(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        self._tell_end(error)
        self.stop()

    def sleep(self, seconds: float) -> None:
        """Waits as `time.sleep` does, and carries out commands as they arrive. What is no time is a second."""
        try:
            wait = min(max(0.0, float(numbers.amount_text(seconds))), _LONGEST_SLEEP)
        except Exception as error:
            # Not raised into the loop, and not taken as zero: the loop would spin.
            self._core.problems.add("sleep", "bad_value", f"a second is waited instead: {told.text_of(error)}")
            wait = 1.0
        if self._core.is_inert:
            time.sleep(wait)
        else:
            self._core.loop.sleep(wait)

    def _is_served(self) -> bool:
        return self._server is not None

    def _wake(self) -> None:
        if self._server is not None:
            self._server.wake_maintenance()

    def _become_inert(self) -> None:
        if self._server is None:
            # Made before the fork and not started: the child may be the one that starts it.
            self._core.renew_locks()
            return
        self._server.abandon()
        self._server = None
        self._core.leave_to_parent()
