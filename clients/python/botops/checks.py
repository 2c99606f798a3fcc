"""The bot's `check` of a config, asked for by a caller that does not wait for ever."""
from __future__ import annotations

from concurrent.futures import Future, wait
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional

from .change import ConfigRefusal, Work
from .late import LATE_AFTER, LateWatch
from .schema import Violation, violation

Check = Callable[[Dict[str, Any]], Any]


class Warn(NamedTuple):
    """What a `check` may return of a value that is allowed and yet perhaps a mistake."""

    path: str
    message: str
    fix: Optional[str] = None


class CheckRunner:
    """Has the bot's `check` look at values, on a thread of its own where there is one, and waits for it no longer than a
    caller does."""

    def __init__(self, check: Check, watch: LateWatch) -> None:
        self._check, self._watch = check, watch
        # Set once the bot has threads: adds work to one, and takes work away that has not begun.
        self.put: Callable[[Work], bool] = lambda work: (work(), True)[1]
        self.remove: Callable[[Work], None] = lambda work: None

    def run(self, values: Dict[str, Any]) -> Any:
        """What it returns. Raises what it raises, and `ConfigRefusal` where it is late."""
        done: "Future[Any]" = Future()

        def work() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                with self._watch.call("check"):
                    found = self._check(values)
                    if isinstance(found, Iterator):
                        # Of one that yields its reasons, the code runs while they are read.
                        found = list(found)
            except Exception as error:
                done.set_exception(error)
            except BaseException as ending:
                done.set_exception(RuntimeError(repr(ending)))
                raise
            else:
                done.set_result(found)

        if not self.put(work):
            raise ConfigRefusal(429, "busy", "too many documents wait for the bot's check already; nothing was done")
        if not wait([done], LATE_AFTER).done:
            if done.cancel():
                self.remove(work)
                raise ConfigRefusal(409, "expired", "an earlier check of the bot has not returned, and this one waited for it; "
                                                    "nothing was done")
            raise ConfigRefusal(504, "no_answer", f"the bot's check has not returned within {LATE_AFTER:g} s: whether it would "
                                                  "take this document is not known")
        return done.result()


def reasons_of(said: Any) -> Optional[List[Any]]:
    """What a check returned, as a list of reasons; `None` for what is none, such as False: it is no consent."""
    if said is None or said is True:
        return []
    if isinstance(said, (str, Warn, Mapping)):
        return [said]
    if isinstance(said, tuple) and len(said) in (2, 3) and all(isinstance(one, str) for one in said):
        return [said]
    return list(said) if isinstance(said, (list, tuple, set, frozenset)) else None


def violation_of(said: Any) -> Violation:
    """One reason in the contract's form."""
    if isinstance(said, Mapping):
        return {"path": "", "code": "refused", "message": "", **said}
    if isinstance(said, tuple) and len(said) >= 2:
        return violation(str(said[0]), "refused", str(said[1]), str(said[2]) if len(said) > 2 else None)
    return violation("", "refused", str(said))
