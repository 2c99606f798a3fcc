"""What the parts of a state are made of: account, position, order, trade and the rest, field by field.

A record is kept as pieces of JSON text by field, so that it is encoded once, when it changes.
"""
from __future__ import annotations

import difflib
import functools
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from . import numbers
from .numbers import BadValue, TooLarge
from .problems import ProblemLog

# What stands for details that were too large.
LEFT_OUT = '{"left_out":"more than 64 KiB"}'

# What exchanges and their libraries call a field; the first that a record has is the one that is meant.
_OTHER_NAMES: Dict[str, Tuple[str, ...]] = {
    **dict.fromkeys(("qty", "size", "amount", "contracts", "volume", "units", "shares", "base_qty"), ("quantity",)),
    **dict.fromkeys(("pnl", "profit", "pl", "profit_loss", "upnl"), ("net_pl", "unrealized_pl", "daily_pl")),
    **dict.fromkeys(("avg_price", "average", "average_price", "avg_entry_price", "entry"),
                    ("entry_price", "average_fill_price")),
    **dict.fromkeys(("mark_price", "mark", "last", "price", "market_price"), ("current_price", "limit_price", "exit_price")),
    **dict.fromkeys(("fee", "fees", "cost"), ("commission",)),
    **dict.fromkeys(("ticker", "pair", "instrument", "market"), ("symbol",)),
    **dict.fromkeys(("total", "value", "net_worth", "portfolio_value"), ("account_balance",)),
    **dict.fromkeys(("free", "available"), ("buying_power",)),
}
# How much two names must have in common to be one that was misspelt.
_LIKENESS = 0.6
_LONGEST_NAME = 60

# A piece of JSON text, or `None` for a field that is taken away.
Pieces = Dict[str, Optional[str]]
Converter = Callable[[Any], str]


class Word:
    """A field with a fixed set of words. Another word is told as it is, in `<field>_raw`."""

    def __init__(self, other: str, *words: str, **spellings: str) -> None:
        self.other = other
        self.words = {word.upper(): word for word in words}
        self.words.update({spelling.upper(): word for spelling, word in spellings.items()})

    def known(self, value: Any) -> Optional[str]:
        """The word of the set; `None` when it has no such word."""
        return self.words.get(str(getattr(value, "value", value)).upper().replace("-", "_").replace(" ", "_"))


class Time:
    """A field that is a time."""


TIME = Time()
SIDE = Word("OTHER", "BUY", "SELL", LONG="BUY", SHORT="SELL")
SEVERITY = Word("other", "low", "medium", "high", "critical", info="low", warning="medium", error="high")
EVENT_KIND = Word("other", "error", "fill", "order", "session", "breaker", "config", "lifecycle")
PHASE = Word("other", "starting", "running", "degraded", "paused", "stopped", "stopping")
MODE = Word("other", "paper", "live", "backtest")
ORDER_STATUS = Word("OTHER", "PENDING", "PARTIALLY_FILLED", "FILLED", "CANCELLED", "REJECTED", "EXPIRED", "UNKNOWN",
                    CANCELED="CANCELLED")

_A, _T, _I, _N, _C, _F = (numbers.amount, numbers.text, numbers.identifier, numbers.number, numbers.count, numbers.flag)


class Record:
    """The fields of one part of the state, and other names that they may be given by."""

    def __init__(self, fields: Dict[str, Any], **aliases: str) -> None:
        self.fields = fields
        self.aliases = aliases

    def strangers(self, values: Mapping[str, Any]) -> List[str]:
        """The names among these that are no field."""
        return [str(name) for name in values if self.aliases.get(name, name) not in self.fields]

    def pieces(self, values: Mapping[str, Any], where: str, problems: ProblemLog) -> Pieces:
        """The given values as JSON text. What is wrong becomes null and is noted; nothing is raised."""
        found: Pieces = {}
        for argument, value in values.items():
            name = self.aliases.get(argument, argument)
            kind = self.fields.get(name)
            if kind is None:
                near = _near_field(str(name)[:_LONGEST_NAME], (*self.fields, *self.aliases))
                meant = f"; did you mean `{near}`?" if near else f"; the fields are {', '.join(self.fields)}"
                problems.add(f"{where}.{name}", "unknown_field", f"there is no such field, and it is not told{meant}")
                continue
            try:
                self._convert(found, name, kind, value, where, problems, argument)
            except TooLarge as why:
                found[name] = LEFT_OUT
                problems.add(f"{where}.{name}", "too_large", f"{_given_as(argument, name)}{why}; they are left out")
            except BadValue as why:
                found[name] = numbers.NULL
                problems.add_bad_value(f"{where}.{name}", str(why), value, _given_as(argument, name))
            except Exception as error:  # a value of the bot's own type may do anything when it is asked for its text
                found[name] = numbers.NULL
                expected = f"it cannot be read ({type(error).__name__})"
                problems.add_bad_value(f"{where}.{name}", expected, None, _given_as(argument, name))
        return found

    @staticmethod
    def _convert(found: Pieces, name: str, kind: Any, value: Any, where: str, problems: ProblemLog, argument: str) -> None:
        if isinstance(kind, Word):
            word = None if value is None else kind.known(value)
            is_other = value is not None and word is None
            found[name] = numbers.text(kind.other if is_other else word)
            found[f"{name}_raw"] = numbers.text(value) if is_other else None
        elif kind is TIME:
            found[name], is_naive = numbers.time_of(value)
            if is_naive:
                said = f"{_given_as(argument, name)}a time without a zone was taken as UTC"
                problems.add(f"{where}.{name}", "naive_time", said)
        else:
            found[name] = kind(value)


@functools.lru_cache(maxsize=256)
def _near_field(name: str, fields: Tuple[str, ...]) -> Optional[str]:
    """The field that a name was meant for. Kept: a mistake of the loop comes in each of its rounds."""
    plain = name.lower().replace("-", "_")
    named = next((field for field in _OTHER_NAMES.get(plain, ()) if field in fields), None)
    near = difflib.get_close_matches(plain, fields, 1, _LIKENESS)
    return named or (near[0] if near else None)


def _given_as(argument: str, name: str) -> str:
    """The argument that the bot wrote, where the field has another name."""
    return "" if argument == name else f"`{argument}=`: "


ACCOUNT = Record({
    "account_id": _I, "currency": _T, "buying_power": _A, "account_balance": _A, "cash_balance": _A,
    "day_trade_count": _C, "last_updated": TIME,
}, balance="account_balance", equity="account_balance", cash="cash_balance", id="account_id")

POSITION = Record({
    "symbol": _I, "quantity": _A, "entry_price": _A, "current_price": _A, "unrealized_pl": _A, "unrealized_pl_pct": _A,
    "stop_price": _A, "target_price": _A, "leverage": _A, "liquidation_price": _A, "funding": _A, "last_updated": TIME,
})

ORDER = Record({
    "id": _I, "client_order_id": _I, "symbol": _I, "side": SIDE,
    "order_type": Word("OTHER", "MARKET", "LIMIT", "STOP", "STOP_LIMIT", "TRAILING_STOP"),
    "quantity": _A, "filled_quantity": _A, "limit_price": _A, "stop_price": _A, "average_fill_price": _A,
    "status": ORDER_STATUS, "status_reason": _T, "created_at": TIME, "updated_at": TIME,
}, type="order_type", filled="filled_quantity", price="limit_price")

TRADE = Record({
    "id": _I, "account_id": _I, "symbol": _I, "side": SIDE, "quantity": _A, "entry_price": _A, "exit_price": _A,
    "opened_at": TIME, "closed_at": TIME, "stop_price": _A, "target_price": _A, "gross_pl": _A, "commission": _A,
    "net_pl": _A, "outcome": Word("other", "win", "loss", "breakeven"), "entry_reason": _T, "exit_reason": _T,
    "config_sha256": _T,
})

PERFORMANCE = Record({
    "win_rate": _N, "avg_risk_reward": _N, "total_realized_pl": _A, "total_unrealized_pl": _A, "total_pl": _A,
    "daily_pl": _A, "current_streak": _C, "streak_type": Word("OTHER", "WIN", "LOSS", "NONE"), "trades_today": _C,
    "session_count": _C, "max_drawdown": _A, "as_of": TIME,
})

MARKET = Record({
    "status": Word("OTHER", "OPEN", "CLOSED", "ALWAYS_OPEN", "UNKNOWN"), "phase": _T, "source": _T,
    "last_price_at": TIME, "market_time": TIME, "next_open": TIME, "next_close": TIME,
})

SESSION = Record({
    "broker": _T,
    "state": Word("unknown", "starting", "healthy", "degraded", "reauthenticating", "halted_transient",
                  "halted_credential", "halted_operator", "unknown"),
    "reason": _T, "error_code": _I, "is_healthy": _F, "since": TIME,
    "gate": Word("other", "ok", "reducing_allowed", "session_starting", "evidence_stale", "session_degraded",
                 "reauthenticating", "breaker_open", "credentials_rejected", "awaiting_human", "rate_limited",
                 "account_restricted", "operator_halt", "market_closed", "monitor_stale"),
    "resumes_at": TIME, "retry_after_s": _N, "session_start_time": TIME, "session_uptime_seconds": _N,
    "last_health_check": TIME, "last_ok": TIME, "last_latency_ms": _N, "health_check_count": _C, "reauth_count": _C,
    "consecutive_failures": _C, "reauth_budget_left": _C, "token_expires_at": TIME, "next_check_at": TIME,
    "clock_skew_seconds": _N, "needs_human": _T,
})

BREAKER = Record({
    "state": Word("other", "closed", "open", "half_open"), "reason": _T, "since": TIME, "source": _T,
    "failure_count": _C, "resumes_at": TIME, "retry_at": TIME, "needs_human": _T,
})

DAY = Record({"zone": _T, "began_at": TIME})

ERROR = Record({
    "error_code": _I, "error_type": _T, "severity": SEVERITY, "message": _T, "cause": _T, "impact": _T,
    "remediation": _T, "context": numbers.anything, "timestamp": TIME,
})

EVENT = Record({"kind": EVENT_KIND, "severity": SEVERITY, "message": _T, "data": numbers.anything, "at": TIME})


def object_text(pieces: Mapping[str, Optional[str]]) -> str:
    """Pieces by field as one JSON object; fields that were taken away are left out."""
    return "{" + ",".join([f'"{name}":{piece}' for name, piece in pieces.items() if piece is not None]) + "}"
