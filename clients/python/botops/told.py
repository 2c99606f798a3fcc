"""What the bot's own objects are told as. Asking one for its text may raise, and that must cost nothing but the text."""
from __future__ import annotations

from typing import Any

_LONGEST = 500


def text_of(value: Any) -> str:
    """The text of any object, cut to what is told."""
    try:
        return str(value)[:_LONGEST]
    except Exception:
        return f"a {type(value).__name__} that has no text"


def error_text(error: BaseException) -> str:
    """An error by its type and its text."""
    return f"{type(error).__name__}: {text_of(error)}"
