"""Orders and positions in the form of ccxt, as fields of the contract. ccxt itself is not needed.

    bot.orders(order_fields(order) for order in exchange.fetch_open_orders())
    bot.positions(position_fields(position) for position in exchange.fetch_positions())
"""
from __future__ import annotations

from decimal import Decimal
from typing import Any, Dict, Mapping, Optional

from .numbers import BadValue, amount_text

# ccxt's words for how far an order has got. `open` depends on what is filled; `closed` is filled whole.
_STATUS = {"closed": "FILLED", "canceled": "CANCELLED", "expired": "EXPIRED", "rejected": "REJECTED"}


def _decimal(value: Any) -> Optional[Decimal]:
    try:
        return None if value is None else Decimal(amount_text(value))
    except (BadValue, ArithmeticError):
        return None


def order_fields(order: Mapping[str, Any]) -> Dict[str, Any]:
    """An order of ccxt's unified form. A status that ccxt has no word for stays the exchange's own."""
    status = order.get("status")
    if status == "open":
        filled = _decimal(order.get("filled"))
        status = "PARTIALLY_FILLED" if filled else "PENDING"
    is_priced = order.get("type") != "market"
    return {
        "id": order.get("id"), "client_order_id": order.get("clientOrderId"), "symbol": order.get("symbol"),
        "side": order.get("side"), "order_type": order.get("type"), "quantity": order.get("amount"),
        "filled_quantity": order.get("filled"), "limit_price": order.get("price") if is_priced else None,
        "stop_price": order.get("triggerPrice") or order.get("stopPrice"), "average_fill_price": order.get("average"),
        "status": _STATUS.get(str(status), status), "created_at": order.get("timestamp"),
        "updated_at": order.get("lastUpdateTimestamp") or order.get("lastTradeTimestamp") or order.get("timestamp"),
    }


def position_fields(position: Mapping[str, Any]) -> Dict[str, Any]:
    """A position of ccxt's unified form: its quantity in units, negative when it is short."""
    contracts, size = _decimal(position.get("contracts")), _decimal(position.get("contractSize"))
    quantity = None if contracts is None else contracts * (Decimal(1) if size is None else size)
    if quantity is not None and position.get("side") == "short":
        quantity = -abs(quantity)
    return {
        "symbol": position.get("symbol"), "quantity": quantity, "entry_price": position.get("entryPrice"),
        "current_price": position.get("markPrice") or position.get("lastPrice"),
        "unrealized_pl": position.get("unrealizedPnl"), "unrealized_pl_pct": position.get("percentage"),
        "leverage": position.get("leverage"), "liquidation_price": position.get("liquidationPrice"),
    }
