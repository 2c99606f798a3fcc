"""The bot's config as watched trials: the clock of a trial runs here, in the bot.

A candidate that nobody commits in time is taken back by the bot itself, whatever became of botops. Only the bot's own
`apply` runs on the trading loop; checks, files and clocks are the business of the threads that serve.
"""
from __future__ import annotations

import contextlib
import copy
import threading
import time
from concurrent.futures import wait
from typing import Any, Callable, Dict, ItemsView, Iterator, KeysView, List, Mapping, NamedTuple, Optional, Tuple, ValuesView

from . import given
from . import schema as schemas
from .change import ANSWER_WITHIN, Apply, Change, ConfigRefusal, ValueSwitch, Work
from .checks import Check, CheckRunner, Warn, reasons_of, violation_of
from .config_files import ConfigError, ConfigFiles, Document, document
from .late import LateWatch
from .numbers import BadValue, amount_text
from .problems import ProblemLog
from .schema import ConfigSchema, Violation, violation
from .told import error_text, text_of

# The longest trial; a change that is wanted for longer has to be committed.
_LONGEST_TRIAL = 24 * 3600.0
# How long a call may wait for the end of the one before it.
_TURN_WITHIN = 4.0
# Reasons against a document that its error names.
_MOST_NAMED = 5



class _Trial(NamedTuple):
    txn: str
    deadline: float

    def is_over(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() >= self.deadline


class _Shown(NamedTuple):
    running: Document
    committed: Document
    trial: Optional[_Trial]
    pending_restart: List[str]
    last_outcome: Optional[Tuple[str, str]]
    generation: int


class _Loaded(NamedTuple):
    document: Document
    value: Dict[str, Any]


class _Leaving(NamedTuple):
    """A trial on its way out: what is run again, and how its end is written."""

    loaded: _Loaded
    message: Mapping[str, Any]
    what: str


class BotConfig(Mapping[str, Any]):
    """What `bot.config(...)` returns: the values in force by their names, which a trial may change between two rounds of the
    loop. It is read like a dictionary and cannot be written to; `copy()` is a dictionary of its own."""

    def __init__(self, schema: Mapping[str, Any], values: Mapping[str, Any], check: Optional[Check],
                 apply: Optional[Apply], files: ConfigFiles, problems: ProblemLog) -> None:
        try:
            self.schema = ConfigSchema(schema)
            built_in = document(0, schemas.write_document(values))
        except (ValueError, TypeError) as error:
            raise ConfigError(str(error)) from error
        self.watch = LateWatch(problems)
        self.watch.on_end = self._tell_late_end
        self._check = CheckRunner(check, self.watch) if check is not None else None
        self._switch = ValueSwitch({}, apply, problems, self.watch)
        # The trial whose `apply` nobody waits for any more.
        self._late: Optional[Tuple[str, Change]] = None
        self._files, self._problems = files, problems
        self._lock = threading.RLock()
        for mark in self.schema.unknown_marks():
            problems.add(f"config.schema{mark.pointer}", "unknown_keyword", mark.message)
        self.boot_epoch = ""
        self.on_change: Callable[[str, str], None] = lambda what, message: None
        # Says of a member of the state why it is not known, or with `None` that it is.
        self.set_unknown: Callable[[str, Optional[str]], None] = lambda field, why: None
        self._boot(built_in)

    def _boot(self, built_in: Document) -> None:
        try:
            self._files.load_outcomes()
            committed = self._files.load_committed() or built_in
        except OSError as error:
            raise ConfigError(f"the config of this bot cannot be read: {error}") from error
        self._built_in = built_in
        self._committed = self._load(committed)
        self._running = self._committed
        self._trial: Optional[_Trial] = None
        self._leaving: Optional[_Leaving] = None
        try:
            candidate = self._files.spend_try(committed.sha256)
            if candidate is not None:
                self._boot_candidate(candidate)
        except (OSError, ConfigError, KeyError, TypeError, ValueError) as error:
            self._problems.add("config", "not_booted", f"the candidate for this start is not booted: {error}")
        self._booted = self._running.value
        self._switch.values = copy.deepcopy(self._running.value)
        self._publish()

    def _boot_candidate(self, candidate: Dict[str, Any]) -> None:
        kept = document(int(candidate["candidate"]["version"]), candidate["document"])
        if kept.sha256 != candidate["candidate"]["sha256"]:
            raise ConfigError("it does not have its hash")
        self._running = self._load(kept)
        seconds = min(float(candidate["ttl_ms"]) / 1000, _LONGEST_TRIAL)
        self._trial = _Trial(str(candidate["txn"]), time.monotonic() + seconds)

    def _load(self, loaded: Document) -> _Loaded:
        try:
            value = schemas.parse_document(loaded.text)
        except ValueError as error:
            raise ConfigError(f"version {loaded.version} of the config is not JSON: {error}") from None
        wrong = self._own_violations(value)
        if wrong:
            whose = f"version {loaded.version} of the config" if loaded.version else "the config that the program gives"
            fields = "; ".join(f"{one['path'] or 'the whole'}: {one['message']}" for one in wrong[:_MOST_NAMED])
            raise ConfigError(f"{whose} does not fit its schema or check: {fields}")
        return _Loaded(loaded, value)

    @property
    def run_on_loop(self) -> Callable[[Work], bool]:
        """Has work done on the trading loop; False when too much waits already."""
        return self._switch.run_on_loop

    @run_on_loop.setter
    def run_on_loop(self, run: Callable[[Work], bool]) -> None:
        self._switch.run_on_loop = run

    def withdraw_by(self, remove: Callable[[Work], None]) -> None:
        """Sets what takes work out of the queues that is not wanted any more."""
        self._switch.remove_from_loop = remove
        if self._check is not None:
            self._check.remove = remove

    def check_by(self, put: Callable[[Work], bool]) -> None:
        """Has the bot's check run where this puts it, from now on."""
        if self._check is not None:
            self._check.put = put

    @property
    def is_in_trial(self) -> bool:
        """Whether a trial runs, whose time this has to keep."""
        return self._trial is not None

    @property
    def running_sha256(self) -> str:
        """The hash of the document in force."""
        return self._running.document.sha256

    # A trial replaces the whole dictionary, and never changes one that is being read.

    def __getitem__(self, name: str) -> Any:
        return self._switch.values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._switch.values)

    def __len__(self) -> int:
        return len(self._switch.values)

    def keys(self) -> KeysView[str]:
        """The names of the values in force."""
        return self._switch.values.keys()

    def values(self) -> ValuesView[Any]:
        """The values in force."""
        return self._switch.values.values()

    def items(self) -> ItemsView[str, Any]:
        """The values in force with their names."""
        return self._switch.values.items()

    def copy(self) -> Dict[str, Any]:
        """The values in force now, as a dictionary of the caller's own."""
        return copy.deepcopy(self._switch.values)

    def __repr__(self) -> str:
        # Without values: one of them may be a secret.
        return f"BotConfig({', '.join(self)})"

    def _own_violations(self, value: Any) -> List[Violation]:
        try:
            return self._assess(value)[0]
        except ConfigRefusal as late:
            raise ConfigError(late.message) from late

    def _assess(self, value: Any) -> Tuple[List[Violation], List[Violation]]:
        """The reasons against a document, and what is allowed and yet perhaps a mistake."""
        found = self.schema.violations(value)
        if found or self._check is None:
            return found, []
        try:
            said = self._check.run(copy.deepcopy(value))
        except ConfigRefusal:
            raise
        except ValueError as error:
            return [violation("", "refused", text_of(error)[:300] or "the bot refuses it")], []
        except Exception as error:  # a check that fails has not passed
            said = f"the bot's check raised {error_text(error)}"[:300]
            self._problems.output.add_raised("config", "check_failed", said, error)
            return [violation("", "check_failed", said)], []
        rows = reasons_of(said)
        if rows is None:
            what = "False" if said is False else f"a value of type {type(said).__name__}"
            why = f"the bot's check returned {what}: it returns a list of reasons, empty where there is none"
            return [violation("", "check_failed", why)], []
        warnings = [violation(one.path, "warning", one.message, one.fix) for one in rows if isinstance(one, Warn)]
        return [violation_of(one) for one in rows if not isinstance(one, Warn)], warnings

    def verdict(self, value: Any) -> Dict[str, Any]:
        """The contract's answer to a check: reasons against a document, and when its changes take effect."""
        found, warnings = self._assess(value)
        changes = schemas.changed_pointers(self._running.value, value) if isinstance(value, dict) else []
        by_apply: Dict[str, List[str]] = {"hot": [], "restart": [], "never": []}
        for pointer in changes:
            by_apply.get(str(self.schema.mark(pointer, "x-apply") or "hot"), by_apply["hot"]).append(pointer)
        found += [violation(pointer, "not_changeable", "this field cannot be changed") for pointer in by_apply["never"]]
        if found:
            return {"ok": False, "violations": found, "warnings": warnings, "hot": [], "restart": []}
        return {"ok": True, "violations": [], "warnings": warnings, "hot": by_apply["hot"],
                "restart": by_apply["restart"]}

    def state(self) -> Dict[str, Any]:
        """The contract's answer to `GET config`: as of the last step that was finished, never in the middle of one."""
        shown = self._shown
        trial = None
        if shown.trial is not None:
            left = max(0, int((shown.trial.deadline - time.monotonic()) * 1000))
            trial = {"txn": shown.trial.txn, "candidate": shown.running.reference(), "ttl_left_ms": left}
        return {"boot_epoch": self.boot_epoch, "running": shown.running.reference(),
                "committed": shown.committed.reference(), "trial": trial, "pending_restart": shown.pending_restart,
                "last_outcome": shown.last_outcome, "gen": shown.generation}

    def _publish(self) -> None:
        endings = self._files.endings
        self._shown = _Shown(self._running.document, self._committed.document, self._trial, self._pending(),
                             endings[-1] if endings else None, self._files.generation)

    def running_document(self) -> Dict[str, Any]:
        """The contract's answer to `GET config/document`: the exact text of what runs."""
        running = self._shown.running
        return {"running": running.reference(), "document": running.text}

    def summary(self) -> Dict[str, Any]:
        """The loss of a day at which the bot stops, where a field has that role; at most 0, however it is written."""
        pointer = self.schema.pointer_of_role("daily_loss_limit")
        if pointer is None or self.schema.mark(pointer, "x-secret"):
            return {}
        try:
            limit = amount_text(schemas.value_at(self._running.value, pointer))
        except BadValue:
            return {}
        return {"daily_loss_limit": limit if limit.startswith("-") else "-" + limit.lstrip("+")}

    def _pending(self) -> List[str]:
        return [pointer for pointer in schemas.changed_pointers(self._booted, self._running.value)
                if self.schema.mark(pointer, "x-apply") == "restart"]

    def _effective(self, loaded: _Loaded) -> Dict[str, Any]:
        """The values for this process: fields that are read at the start alone keep the value of the start."""
        fitted = copy.deepcopy(loaded.value)
        for pointer in schemas.changed_pointers(self._booted, fitted):
            if self.schema.mark(pointer, "x-apply") == "restart":
                schemas.put_at(fitted, pointer, schemas.value_at(self._booted, pointer, schemas.ABSENT))
        return fitted

    def activate(self, message: Mapping[str, Any]) -> Dict[str, Any]:
        """Runs a document as a trial, or keeps it for the next start. Raises `ConfigRefusal`."""
        txn, text = str(_given(message, "txn", (str, int))), _given(message, "document", (str,))
        base, candidate = _given(message, "base", (dict,)), _given(message, "candidate", (dict,))
        ttl = _given(message, "ttl_ms", (int,))
        wanted = document(_given(candidate, "version", (int,)), text)
        for_next_start = _flag(message, "boot_once")
        with self._turn(429, "busy") as until:
            self._check_generation(message)
            if self._is_apply_late(0.0):
                raise ConfigRefusal(429, "busy", "the apply of an earlier trial has not returned; nothing was done")
            running = {"running": self._running.document.reference()}
            if self._trial is not None and self._trial.txn == txn and self._leaving is None:
                return self._acknowledge(txn)
            ending = self._files.ending(txn)
            if ending is not None:
                raise ConfigRefusal(409, "txn_over", "this transaction has ended; it does not start again",
                                    {"outcome": ending, **running})
            if self._trial is not None:
                raise ConfigRefusal(409, "trial_live", "another trial runs", {"txn": self._trial.txn, **running})
            if base.get("sha256") != self._running.document.sha256:
                raise ConfigRefusal(409, "base_mismatch", "something else runs than the change is based on", running)
            if candidate.get("sha256") != wanted.sha256:
                raise ConfigRefusal(422, "hash_mismatch", "the document does not have the candidate's hash", running)
            if ttl <= 0:
                raise ConfigRefusal(422, "ttl_invalid", "a trial needs a time to live")
            loaded = self._checked(wanted)
            self._record(message, None)
            if for_next_start:
                return self._keep_for_next_start(txn, message)
            self._run(loaded, txn, until)
            self._trial = _Trial(txn, time.monotonic() + min(ttl, _LONGEST_TRIAL * 1000) / 1000)
            self._publish()
            self.on_change("activated", f"config v{wanted.version} runs on trial ({txn})")
            return self._acknowledge(txn)

    def _checked(self, wanted: Document) -> _Loaded:
        try:
            value = schemas.parse_document(wanted.text)
        except ValueError:
            raise ConfigRefusal(422, "check_failed", "the document is not JSON") from None
        try:
            verdict = self.verdict(value)
        except ConfigRefusal as late:
            # Unlike where a check alone was asked for, the effect is certain: there is none.
            raise ConfigRefusal(409, "expired", f"{late.message}; it is not run, and nothing was changed") from late
        if not verdict["ok"]:
            raise ConfigRefusal(422, "check_failed", "the bot would not run this document", verdict)
        return _Loaded(wanted, value)

    def _keep_for_next_start(self, txn: str, message: Mapping[str, Any]) -> Dict[str, Any]:
        try:
            if self._files.was_tried(txn):
                raise ConfigRefusal(409, "txn_over", "this transaction was booted once already",
                                    {"running": self._running.document.reference()})
            self._files.store_candidate(dict(message))
        except (OSError, ConfigError) as error:
            raise ConfigRefusal(409, "not_recorded", f"the bot cannot keep the candidate: {error}") from error
        return self._acknowledge(txn)

    def commit(self, message: Mapping[str, Any]) -> Dict[str, Any]:
        """Makes a trial permanent. Raises `ConfigRefusal`."""
        txn = str(_given(message, "txn", (str, int)))
        with self._turn(504, "no_answer"):
            self._check_generation(message)
            # Its time may be over although nobody has looked at the clock since.
            self.expire()
            if self._trial is None or self._trial.txn != txn or self._leaving is not None or self._trial.is_over():
                if self._files.ending(txn) == "committed":
                    return self._acknowledge(txn)
                raise self._not_in_trial()
            committed = self._running
            if self._files.head_folder is not None:
                committed = self._named_by_head()
            try:
                self._files.store_committed(committed.document)
            except OSError as error:
                raise ConfigRefusal(409, "not_recorded", f"the bot cannot keep the document: {error}") from error
            self._committed = self._running = committed
            self._trial = None
            # What a start loads is committed from here on, whether its ending can be written or not.
            self._end(txn, message, "committed")
            self.on_change("committed", f"config v{committed.document.version} is committed ({txn})")
            return self._acknowledge(txn)

    def _named_by_head(self) -> _Loaded:
        running = {"running": self._running.document.reference()}
        try:
            head = self._files.load_committed() or self._built_in
        except (OSError, ConfigError) as error:
            raise ConfigRefusal(409, "head_invalid", str(error)) from error
        if head.sha256 != self._running.document.sha256:
            raise ConfigRefusal(409, "head_mismatch", "HEAD does not name the document on trial",
                                {"head": head.reference(), **running})
        return _Loaded(head, self._running.value)

    def revert(self, message: Mapping[str, Any]) -> Dict[str, Any]:
        """Ends a trial and runs what is committed. Raises `ConfigRefusal`."""
        txn = str(_given(message, "txn", (str, int)))
        with self._turn(504, "no_answer") as until:
            self._check_generation(message)
            if self._is_apply_late(until):
                raise ConfigRefusal(504, "no_answer", "the bot's apply has not returned; what it ran before is applied again "
                                                      "once it does")
            if self._trial is None or self._trial.txn != txn:
                if self._trial is not None or self._files.ending(txn) == "committed":
                    raise self._not_in_trial()
                self._forget_candidate()
                # Kept although there is no such trial: an activation that arrives later must not start it.
                if self._files.ending(txn) is None:
                    self._record(message, (txn, "reverted"))
                return self._acknowledge(txn)
            if not self._leave(self._trial, message, "reverted", until):
                raise ConfigRefusal(504, "no_answer", "the trading loop has not taken it yet; it runs what is committed "
                                                      "as soon as it does")
            return self._acknowledge(txn)

    def expire(self) -> None:
        """Takes a trial back whose time is over, and goes on with one that is on its way out. It waits for nothing."""
        self._end_late_apply()
        trial = self._trial
        is_due = trial is not None and (self._leaving is not None or trial.is_over())
        if not is_due or not self._lock.acquire(blocking=False):
            return
        try:
            if trial is not None and self._trial is trial:
                self._leave(trial, {}, "trial_expired", None)
        except ConfigRefusal as error:
            self._problems.add("config", "not_reverted", f"a trial is over and could not be taken back: {error}")
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def _turn(self, status: int, code: str) -> Iterator[float]:
        """The turn of a call, and until when it is answered. Raises `ConfigRefusal` where another one has it for too long."""
        until = time.monotonic() + ANSWER_WITHIN
        if not self._lock.acquire(timeout=_TURN_WITHIN):
            raise ConfigRefusal(status, code, "an earlier call about the config has not ended")
        try:
            yield until
        finally:
            self._lock.release()

    def _is_apply_late(self, until: float) -> bool:
        """Whether an `apply` is still at work for which nobody waits any more; waited for until then."""
        late = self._late
        if late is None:
            return False
        wait([late[1].done], max(0.0, until - time.monotonic()))
        self._end_late_apply()
        return self._late is not None

    def _end_late_apply(self) -> None:
        """Once a late `apply` has returned: how that trial ended is kept and told."""
        late = self._late
        if late is None or not late[1].done.done() or not self._lock.acquire(blocking=False):
            return
        try:
            if self._late is not late:
                return
            self._late = None
            txn, change = late
            self._files.remember((txn, "trial_expired"))
            self._publish()
            self.set_unknown("config.running", None)
            error = change.done.exception()
            how = "returned" if error is None else f"raised {error_text(error)[:200]}"
            self.on_change("apply_late", f"the apply of the trial {txn} {how} after {change.ended_after or 0.0:.1f} s, too late "
                                         f"for it; config v{self._running.document.version} was applied again")
        finally:
            self._lock.release()

    def _tell_late_end(self, name: str, seconds: float) -> None:
        self.on_change(f"{name}_returned", f"the bot's {name} returned after {seconds:.1f} s")

    def _leave(self, trial: _Trial, message: Mapping[str, Any], what: str, until: Optional[float]) -> bool:
        """Has what is committed run again; False while the loop has not taken it. What fails is tried anew at the next call."""
        if self._leaving is None:
            candidate = self._running.document.sha256
            self._name_committed()
            if what == "trial_expired" and self._committed.document.sha256 == candidate:
                what = "committed"
            self._switch.arm_return(self._effective(self._committed))
            self._leaving = _Leaving(self._committed, message, what)
        leaving = self._leaving
        try:
            if not self._switch.has_returned(until):
                return False
        except ConfigRefusal as error:
            self._leaving = None
            error.context = {"running": self._running.document.reference()}
            raise
        self._leaving, self._running = None, leaving.loaded
        self._end(trial.txn, leaving.message, leaving.what)
        self.on_change(leaving.what, f"the trial {trial.txn} is over; config v{leaving.loaded.document.version} runs")
        return True

    def refresh_head(self) -> None:
        """Takes up what `HEAD` names now; the running config stays."""
        if self._files.head_folder is not None:
            self._refresh(lambda: None, False)

    def take_up_files(self) -> None:
        """Takes up what another process left in the data folder, once that is this one's; the running config stays."""
        self._refresh(self._files.load_outcomes, True)

    def _refresh(self, first: Callable[[], None], is_waited_for: bool) -> None:
        if not self._lock.acquire(blocking=is_waited_for):
            return
        try:
            first()
            head = self._files.load_committed()
            if head is not None and head.sha256 != self._committed.document.sha256:
                self._committed = self._load(head)
            elif head is not None and head.version != self._committed.document.version:
                self._committed = _Loaded(head, self._committed.value)
            if self._trial is None and self._committed.document.sha256 == self._running.document.sha256:
                self._running = self._committed
            self._publish()
        except (OSError, ConfigError) as error:
            self._problems.add("config", "head_invalid", text_of(error))
        finally:
            self._lock.release()

    def _name_committed(self) -> None:
        try:
            named = self._files.load_committed()
            if named is not None and named.sha256 != self._committed.document.sha256:
                self._committed = self._load(named)
        except (OSError, ConfigError) as error:
            self._problems.add("config", "head_invalid", f"the last good config stays: {error}")

    def _end(self, txn: str, message: Mapping[str, Any], what: str) -> None:
        self._forget_candidate()
        self._trial = None
        self._files.generation = max(self._files.generation, int(message.get("gen") or 0))
        self._files.remember((txn, what))
        self._publish()

    def _forget_candidate(self) -> None:
        try:
            self._files.remove_candidate()
        except OSError as error:
            self._problems.add("config", "not_recorded", f"a candidate cannot be removed: {error}")

    def _run(self, loaded: _Loaded, txn: str, until: float) -> None:
        """Has the bot run a document, on its loop. Raises `ConfigRefusal`."""
        try:
            self._switch.change(self._effective(loaded), until)
        except ConfigRefusal as error:
            error.context = {"running": self._running.document.reference()}
            if self._switch.late is not None:
                self._late, self._switch.late = (txn, self._switch.late), None
                error.context = {}
                self.set_unknown("config.running", f"an apply (of v{loaded.document.version}) has not returned")
            raise
        self._running = loaded

    def _check_generation(self, message: Mapping[str, Any]) -> None:
        generation = _given(message, "gen", (int,))
        if generation < self._files.generation:
            raise ConfigRefusal(409, "older_generation", "a newer server has spoken already",
                                {"gen": self._files.generation})

    def _record(self, message: Mapping[str, Any], ending: Optional[Tuple[str, str]]) -> None:
        try:
            self._files.record(int(message["gen"]), ending)
        except OSError as error:
            raise ConfigRefusal(409, "not_recorded", f"the bot cannot record it: {error}") from error
        self._publish()

    def _not_in_trial(self) -> ConfigRefusal:
        return ConfigRefusal(409, "not_in_trial", "this transaction is not on trial",
                             {"running": self._running.document.reference()})

    def _acknowledge(self, txn: str) -> Dict[str, Any]:
        return {"txn": txn, "running": self._running.document.reference(), "boot_epoch": self.boot_epoch}


def _given(message: Mapping[str, Any], name: str, kinds: Tuple[type, ...]) -> Any:
    value = message.get(name)
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ConfigRefusal(400, "invalid", f"the body needs `{name}`")
    return value


def _flag(message: Mapping[str, Any], name: str) -> bool:
    try:
        return given.flag(message, name)
    except given.Malformed as error:
        raise ConfigRefusal(400, "invalid", f"{error}; nothing was done") from None
