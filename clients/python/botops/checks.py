"""The bot's `check` of a config, asked for by a caller that does not wait for ever."""
from __future__ import annotations

from concurrent.futures import Future, wait
from typing import Any, Callable, Dict

from .change import ConfigRefusal, Work
from .late import LATE_AFTER, LateWatch

Check = Callable[[Dict[str, Any]], Any]


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
