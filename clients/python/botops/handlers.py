"""Runs handlers of commands: on the trading loop's thread, on a thread of the SDK, or as a coroutine."""
from __future__ import annotations

import functools
import inspect
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from . import given
from .commands import (PREVIEW_RAISED, VERBS, Answer, Command, CommandBook, CommandError, CommandTask, Unconfirmed, answer_of,
                       answer_of_error)
from .loop import UNDER_WAY, LoopClock, LoopQueue
from .problems import ProblemLog, frames_of_coroutine, frames_of_thread
from .state import PHASE_SAID, StateStore
from .told import error_text

# How long a caller waits: less than the ten seconds of botops.
ANSWER_WITHIN = 5.0
_LOOP_AWAY = "the trading loop did not take it in time (a loop calls bot.tick() each round and waits by bot.sleep())"
_CLOSES_ENTRIES = ("pause", "halt", "flatten")


class VerbHandler(NamedTuple):
    """What the bot does on a verb."""

    run: Callable[[Command], Any]
    in_thread: bool
    durable: bool


def takes_one(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with one argument; true where Python cannot say."""
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


class SideThread:
    """One thread for what may run beside the trading loop; it begins with the first work."""

    def __init__(self, name: str, problems: ProblemLog) -> None:
        self._name, self._problems = name, problems
        self._work = LoopQueue(problems)
        self._thread: Optional[threading.Thread] = None
        self._is_ending = False

    def put(self, work: Callable[[], Any]) -> bool:
        """Adds work; False when too much waits already."""
        if not self._work.put(work):
            return False
        if self._thread is None or not self._thread.is_alive():
            self._is_ending = False
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        return True

    def remove(self, work: Callable[[], Any]) -> None:
        """Takes work away that has not begun."""
        self._work.remove(work)

    def _run(self) -> None:
        while not self._is_ending:
            self._work.wait()
            try:
                self._work.run_waiting()
            except BaseException as ending:  # it would end this thread alone, and with it what else waits here
                said = f"a thread of the SDK goes on: {error_text(ending)}"
                self._problems.add_failure("commands", "handler_failed", said, ending)
                self._work.wake()

    def stop(self) -> None:
        """Ends the thread after what waits."""
        self._is_ending = True
        self._work.wake()


def _read(verb: str, body: Any) -> Tuple[Command, Optional[float], Optional[float]]:
    """The command of a body, and until when it may be begun by the clock of its arrival and by that of the day."""
    if not isinstance(body, dict):
        raise CommandError(400, "invalid", "the body needs command_id and reason, as a JSON object")
    try:
        command = Command(verb, given.identifier(body, "command_id"), given.text(body, "reason") or "",
                          given.arguments(body), given.flag(body, "dry_run"))
        valid_for = given.seconds(body, "valid_for_ms")
        expires_at = given.moment(body, "expires_at")
    except given.Malformed as error:
        raise CommandError(400, "invalid", f"{error}; nothing was done") from None
    return command, None if valid_for is None else time.monotonic() + valid_for, expires_at


def _unpredicted(verb: str) -> Answer:
    message = f"it would run the bot's handler of {verb}; what that does to orders and positions is not predicted"
    return {"outcome": "predicted", "message": message}


class CommandRunner:
    """From a request to its answer."""

    def __init__(self, book: CommandBook, state: StateStore, clock: LoopClock, loop: LoopQueue,
                 problems: ProblemLog) -> None:
        self.book = book
        self.handlers: Dict[str, VerbHandler] = {}
        self.previews: Dict[str, Callable[[Command], Any]] = {}
        self.answer_within = ANSWER_WITHIN
        # A thread for each verb: a halt must not wait behind a handler that hangs.
        self._side_threads = {verb: SideThread(f"botops-{verb}", problems) for verb in (*VERBS, "config", "check")}
        # Set where an event loop carries out everything: it is given work that it runs by itself.
        self.spawn: Optional[Callable[[Callable[[], Any]], bool]] = None
        # What runs on the loop's thread now.
        self._on_loop: Optional[CommandTask] = None
        self._state, self._clock, self._loop, self._problems = state, clock, loop, problems

    def submit(self, verb: str, body: Any) -> Tuple[CommandTask, bool]:
        """Takes a request up, and says whether it is a new one. Raises `CommandError` when nothing was done."""
        if verb not in VERBS:
            raise CommandError(404, "unknown_verb", "the contract has no such command")
        if verb not in self.handlers:
            raise CommandError(404, "not_capable", "this bot cannot do that")
        command, until, expires_at = _read(verb, body)
        task, is_new = self.book.admit(command, until, expires_at)
        if not is_new:
            return task, False
        if command.dry_run:
            self._predict(task)
            return task, True
        if task.is_expired():
            self.book.begin(task)
            return task, True
        self.book.note_arrival(task)
        task.work = functools.partial(self.carry_out, task)
        task.is_for_loop = self._is_for_loop(verb)
        if not self._queue(task.work, verb, self.handlers[verb].in_thread):
            self._withdraw(task)
        return task, True

    def _queue(self, work: Callable[[], Any], verb: str, in_thread: bool) -> bool:
        if self.spawn is not None:
            return self.spawn(work)
        # A bot that never ticked has no loop of which the SDK knows.
        if in_thread or self._clock.ticks == 0:
            return self._side_threads[verb].put(work)
        return self._loop.put(work)

    def _is_for_loop(self, verb: str) -> bool:
        return self.spawn is None and not self.handlers[verb].in_thread and self._clock.ticks > 0

    def run_on_loop(self, work: Callable[[], Any]) -> bool:
        """Has work done where the handlers run; False when too much waits already."""
        return self._queue(work, "config", False)

    def run_check(self, work: Callable[[], Any]) -> bool:
        """Has the check of a config done beside the loop; False when too much waits already."""
        return self._side_threads["check"].put(work)

    def forget(self, work: Callable[[], Any]) -> None:
        """Takes work away that has not begun and is not wanted any more."""
        self._loop.remove(work)
        for thread in self._side_threads.values():
            thread.remove(work)

    def stop_threads(self) -> None:
        """Ends the threads after what waits for them."""
        for thread in self._side_threads.values():
            thread.stop()

    def _withdraw(self, task: CommandTask) -> None:
        """Takes a command back that nobody waits for any more, unless it has begun."""
        verb, holder = task.command.verb, self._on_loop
        why = f"an earlier {verb} has not ended, and this one waited for it"
        if task.is_for_loop:
            why = _LOOP_AWAY if holder is None else \
                f"the bot's handler of {holder.command.verb} has not returned, and holds the trading loop"
        if self.book.withdraw(task, f"{why}; it is not carried out") and task.work is not None:
            self.forget(task.work)

    def carry_out(self, task: CommandTask) -> Any:
        """Runs the handler. For a coroutine the rest is returned as one, to be awaited."""
        if not self.book.begin(task):
            return None
        handler = self.handlers[task.command.verb]
        task.thread = threading.get_ident()
        if task.is_for_loop:
            self._on_loop = task
        said: List[bool] = []
        token, outer = PHASE_SAID.set(said), UNDER_WAY.set(task.answer)
        try:
            returned = handler.run(task.command)
            if inspect.isawaitable(returned):
                task.coroutine = returned
                return self._await(task, returned, said)
        except (KeyboardInterrupt, SystemExit) as ending:
            # The bot means to end: the answer is kept, and the end goes its way.
            self._finish_error(task, ending)
            raise
        except BaseException as error:  # whatever a handler does, the trading loop goes on
            self._finish_error(task, error)
        else:
            PHASE_SAID.set(None)
            self._finish_done(task, returned, bool(said))
        finally:
            if self._on_loop is task:
                self._on_loop = None
            PHASE_SAID.reset(token)
            UNDER_WAY.reset(outer)
        return None

    async def _await(self, task: CommandTask, returned: Any, said: List[bool]) -> None:
        # Runs as a task of its own, so what it sets is seen by this handler alone.
        PHASE_SAID.set(said)
        UNDER_WAY.set(task.answer)
        try:
            value = await returned
        except BaseException as error:
            self._finish_error(task, error)
            if not isinstance(error, Exception):
                raise
        else:
            self._finish_done(task, value, bool(said))

    def _finish_done(self, task: CommandTask, returned: Any, said_phase: bool) -> None:
        verb = task.command.verb
        if returned is False:
            said = f"the bot's handler of {verb} returned False: whether it acted is not known"
            self._finish_error(task, Unconfirmed(said))
            return
        if not said_phase:
            # The handler returned and said nothing of the phase: then it is what the verb means.
            if verb in _CLOSES_ENTRIES:
                self._state.set_trading_enabled(False)
                self._state.set_phase("paused", f"{verb}: {task.command.reason}")
            elif verb == "resume":
                self._state.set_trading_enabled(True)
                self._state.set_phase("running")
            elif verb == "shutdown":
                self._state.set_phase("stopping", f"shutdown: {task.command.reason}")
        self._state.touch()
        answer = answer_of(returned, verb, functools.partial(self._note_untold, verb))
        self.book.finish(task, {**answer, **self._standing()})

    def _note_untold(self, verb: str, why: str) -> None:
        self._problems.add(f"commands.{verb}", "bad_value", f"of what the handler returned, {why}")

    def _finish_error(self, task: CommandTask, error: BaseException) -> None:
        answer = answer_of_error(error, task.command.verb)
        if answer["outcome"] == "unconfirmed":
            where, said = f"commands.{task.command.verb}", str(answer["message"])
            if isinstance(error, (Unconfirmed, KeyboardInterrupt, SystemExit)):
                self._problems.add(where, "handler_failed", said)
            else:
                self._problems.add_failure(where, "handler_failed", said, error)
        self.book.finish(task, {**answer, **self._standing()})

    def _predict(self, task: CommandTask) -> None:
        preview = self.previews.get(task.command.verb)
        if preview is None:
            self.book.finish(task, {**_unpredicted(task.command.verb), **self._standing()})
            return
        outer = UNDER_WAY.set(task.answer)
        try:
            returned = preview(task.command)
            if self.spawn is not None and inspect.isawaitable(returned):
                task.is_begun, task.coroutine = True, returned
                self.spawn(functools.partial(self._await_preview, task, returned))
            else:
                self._finish_preview(task, returned)
        except BaseException as error:
            self._finish_failed_preview(task, error)
        finally:
            UNDER_WAY.reset(outer)

    async def _await_preview(self, task: CommandTask, returned: Any) -> None:
        try:
            self._finish_preview(task, await returned)
        except BaseException as error:
            self._finish_failed_preview(task, error)
            if not isinstance(error, Exception):
                raise

    def _finish_preview(self, task: CommandTask, returned: Any) -> None:
        verb = task.command.verb
        answer = answer_of(returned, verb, functools.partial(self._note_untold, verb))
        self.book.finish(task, {**answer, "outcome": "predicted", **self._standing()})

    def _finish_failed_preview(self, task: CommandTask, error: BaseException) -> None:
        verb = task.command.verb
        answer = answer_of_error(error, verb)
        if answer["outcome"] != "refused":
            said = f"the bot's preview of {verb} raised {error_text(error)[:400]}"
            self._problems.output.add_raised(f"commands.{verb}", "preview_failed", said, error)
            answer = {**_unpredicted(verb), "reason_code": PREVIEW_RAISED, "message": said}
        self.book.finish(task, {**answer, **self._standing()})

    def _standing(self) -> Answer:
        with self._state.lock:
            phase = {name: piece.strip('"') for name, piece in self._state.phase.items()
                     if name in ("phase", "phase_raw") and piece is not None}
            return {**phase, "trading_enabled": self._state.trading_enabled}

    def late_answer(self, task: CommandTask) -> Answer:
        """The answer to a caller that cannot wait any longer."""
        self._withdraw(task)
        if task.answer.done():
            return task.answer.result()
        self._note_late(task)
        message = "the bot has begun it and has not finished it yet; GET commands/{command_id} tells its end"
        return {"command_id": task.command.command_id, "outcome": "unconfirmed", "message": message,
                **self._standing(), "replayed": False}

    def _note_late(self, task: CommandTask) -> None:
        """Tells that a handler does not return, and to the author of the bot where it stands."""
        verb = task.command.verb
        held = " and holds the trading loop" if self._on_loop is task else ""
        said = f"the bot's handler of {verb} has not returned within {self.answer_within:g} s{held}"
        where = f"commands.{verb}"
        frames = frames_of_thread(task.thread) if task.coroutine is None else frames_of_coroutine(task.coroutine)
        self._problems.add_standing(where, "handler_late", said, frames)
