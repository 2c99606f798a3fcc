"""What becomes of bots when the process is forked: the child of a bot that is served does not answer for it."""
from __future__ import annotations

import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bot import BaseBot

_bots: "weakref.WeakSet[Any]" = weakref.WeakSet()


def watch(bot: "BaseBot") -> None:
    """Has this bot become inert in forked children."""
    _bots.add(bot)


def is_import_by_worker() -> bool:
    """Whether a worker process of `multiprocessing` reads the program anew, before it does what it was made for.

    What stands outside of `if __name__ == "__main__":` is run by each of them: a bot that is started there would wait for
    its address, and have it once the process that trades is gone.
    """
    process = sys.modules.get("multiprocessing.process")
    return process is not None and bool(getattr(process.current_process(), "_inheriting", False))


def _before_fork() -> None:
    for bot in list(_bots):
        # A lock on a folder is shared with every child: each would own it.
        bot._prepare_fork()


def _after_fork_in_child() -> None:
    for bot in list(_bots):
        # A lock that the parent held at that moment would never be free here.
        bot._become_inert()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
