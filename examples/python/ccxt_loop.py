#!/usr/bin/env python3
"""A synchronous loop in the style of ccxt, beside botops: `python3 examples/python/ccxt_loop.py [--exchange kraken]`.

It trades on `PaperExchange`, a stand-in in this file with the calls of ccxt that a loop needs; no order leaves this
process. With --exchange, and ccxt installed, the prices are those of that exchange; without, they are made up.
Needs the SDK: `pip install ./clients/python`.
"""
import argparse
import itertools
import random
import time

from botops import Bot, Done
from botops.ccxt import order_fields, position_fields

SYMBOL = "BTC/USDT"


class PaperExchange:
    """Fills orders at the price that it names. Its calls and answers are those of ccxt."""

    def __init__(self, prices=None):
        self.prices, self.price, self.cash, self.held, self.entry = prices, 42_000.0, 1_000.0, 0.0, 0.0
        self.resting, self.numbers = {}, itertools.count(1)

    def fetch_ticker(self, symbol):
        if self.prices is not None:
            self.price = self.prices.fetch_ticker(symbol)["last"]
        else:
            self.price = round(self.price * (1 + random.gauss(0, 0.0005)), 2)
        for order in [order for order in self.resting.values() if order["price"] >= self.price]:
            self.resting.pop(order["id"])
            self.buy(order["amount"], order["price"])
        return {"symbol": symbol, "last": self.price, "timestamp": int(time.time() * 1000)}

    def buy(self, amount, price):
        self.entry = (self.entry * self.held + price * amount) / (self.held + amount)
        self.cash, self.held = self.cash - amount * price, self.held + amount

    def fetch_balance(self):
        return {"USDT": {"free": self.cash, "total": self.cash}, "total": {"USDT": self.cash + self.held * self.price}}

    def fetch_positions(self):
        return [{"symbol": SYMBOL, "contracts": self.held, "contractSize": 1, "side": "long", "entryPrice": self.entry,
                 "markPrice": self.price, "unrealizedPnl": (self.price - self.entry) * self.held}] if self.held else []

    def fetch_open_orders(self):
        return list(self.resting.values())

    def create_order(self, symbol, type, side, amount, price=None):
        order = {"id": str(next(self.numbers)), "symbol": symbol, "type": type, "side": side, "amount": amount,
                 "filled": 0.0, "price": price, "status": "open", "timestamp": int(time.time() * 1000)}
        if type == "limit":
            self.resting[order["id"]] = order
        else:
            self.cash, self.held = self.cash + self.price * amount, self.held - amount
            order.update(status="closed", filled=amount, average=self.price)
        return order

    def cancel_order(self, id, symbol=None):
        return {**self.resting.pop(id), "status": "canceled"}


def make_exchange(name):
    if name is None:
        return PaperExchange()
    try:
        import ccxt
    except ImportError:
        raise SystemExit("ccxt is not installed; without --exchange the prices are made up")
    return PaperExchange(getattr(ccxt, name)({"enableRateLimit": True}))


def cancel_all(exchange, symbols=()):
    """Cancels what rests, of these symbols or of all; returns how many orders."""
    chosen = [order for order in exchange.fetch_open_orders() if not symbols or order["symbol"] in symbols]
    for order in chosen:
        exchange.cancel_order(order["id"], order["symbol"])
    return len(chosen)


def sell(bot, exchange, why):
    """Closes the position and tells the closed trade."""
    position = exchange.fetch_positions()[0]
    order = exchange.create_order(position["symbol"], "market", "sell", position["contracts"])
    profit = (order["average"] - position["entryPrice"]) * order["amount"]
    bot.trade(id=order["id"], symbol=order["symbol"], side="BUY", quantity=order["amount"],
              entry_price=position["entryPrice"], exit_price=order["average"], gross_pl=profit, commission="0", net_pl=profit, exit_reason=why)
    bot.event("fill", f"sold {order['amount']} {order['symbol']} at {order['average']}: {why}")


def offer_commands(bot, exchange):
    """The handlers run on the loop's thread, within `tick` and `sleep`: never in the middle of a round."""

    @bot.on("pause")
    def pause(command):
        return "no order is placed; what rests goes on resting"

    @bot.on("resume")
    def resume(command):
        return "orders are placed again"

    @bot.on("cancel-orders")
    def cancel_orders(command):
        count = cancel_all(exchange, command.symbols)
        return Done(f"{count} orders were cancelled", orders_cancelled=count, orders_left=len(exchange.fetch_open_orders()))

    @bot.on("flatten")
    def flatten(command):
        cancelled, closing = cancel_all(exchange), [position["symbol"] for position in exchange.fetch_positions()]
        for _ in closing:
            sell(bot, exchange, "flatten")
        return Done("everything is sold", orders_cancelled=cancelled, orders_submitted=len(closing),
                    positions_closing=closing, positions_left=len(exchange.fetch_positions()))


def trade_once(bot, exchange):
    """One round of the strategy: buys below the price, sells once it rose by 0.1 %."""
    price = exchange.fetch_ticker(SYMBOL)["last"]
    positions, resting = exchange.fetch_positions(), exchange.fetch_open_orders()
    if positions and price > positions[0]["entryPrice"] * 1.001:
        sell(bot, exchange, "it rose by 0.1 %")
    elif bot.trading_enabled and not positions and not resting:
        exchange.create_order(SYMBOL, "limit", "buy", 0.01, round(price * 0.9995, 2))


def tell(bot, exchange, source):
    """Tells botops what the exchange says now."""
    balance = exchange.fetch_balance()
    bot.account(balance=balance["total"]["USDT"], cash=balance["USDT"]["total"], buying_power=balance["USDT"]["free"],
                currency="USDT")
    bot.positions(map(position_fields, exchange.fetch_positions()))
    bot.orders(map(order_fields, exchange.fetch_open_orders()))
    bot.market(status="ALWAYS_OPEN", source=source, last_price_at=time.time())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--socket", help="where it is served; BOT_IPC_SOCKET by default")
    parser.add_argument("--exchange", help="an exchange of ccxt whose prices are taken")
    parser.add_argument("--wait", type=float, default=1.0, help="seconds between two rounds")
    given = parser.parse_args()
    exchange = make_exchange(given.exchange)
    bot = Bot("ccxt-loop", mode="paper", address=given.socket, expected_interval=given.wait + 10)
    offer_commands(bot, exchange)
    with bot:
        while not bot.is_stopping:
            try:
                trade_once(bot, exchange)
                tell(bot, exchange, given.exchange or "made up")
            except Exception as error:  # a round that fails is told, and the next one tries again
                bot.error("ROUND_FAILED", cause=f"{type(error).__name__}: {error}", impact="this round placed no order",
                          remediation="Look at the exchange; the next round tries again.", severity="high")
            bot.tick()
            bot.sleep(given.wait)


if __name__ == "__main__":
    main()
