#!/usr/bin/env python3
"""A trading bot behind botops: a loop of its own, two commands, a config that changes in watched trials.

It trades on made-up prices. Put your exchange in the place of `next_price` and `buy`/`sell`; what is told to botops
stays as it is. README.md says how it is started.
"""
import json
import logging
import logging.handlers
import pathlib
import random
import time
from datetime import datetime, timezone
from decimal import Decimal

from botops import Bot, Done

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = json.loads((HERE / "config.schema.json").read_text())
FIRST_CONFIG = json.loads((HERE / "config.json").read_text())

LOGS = HERE / "logs"
LOGS.mkdir(exist_ok=True)
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=[
    logging.StreamHandler(), logging.handlers.RotatingFileHandler(LOGS / "bot.log", maxBytes=10_000_000, backupCount=3)])

bot = Bot("@BOT_ID@", mode="paper", version="0.1", address=HERE / "run" / "bot.sock", data_dir=HERE / "data",
          log_dir=LOGS, expected_interval=5)


def check(values):
    """The rules between fields, which the schema cannot say: (pointer, what is wrong, what would be right)."""
    if values["take_profit_pct"] < values["stop_loss_pct"] / 2:
        return [("/take_profit_pct", "it is less than half of the loss that is risked for it", "raise it, or lower /stop_loss_pct")]
    return []


# The values in force: those of a trial while one runs. A bot that cannot read what was committed does not start.
config = bot.config(SCHEMA, FIRST_CONFIG, check=check)


class Market:
    """Stands in for an exchange: made-up prices, orders that fill at once, one position."""

    def __init__(self):
        self.price, self.cash, self.quantity = Decimal("100"), Decimal("1000"), Decimal(0)
        self.entry_price = self.opened_at = self.day = None

    def next_price(self):
        self.price = (self.price * Decimal(1 + random.gauss(0, 0.002))).quantize(Decimal("0.01"))
        return self.price

    def buy(self, cash):
        self.quantity = (cash / self.price).quantize(Decimal("0.0001"))
        self.cash, self.entry_price, self.opened_at = self.cash - self.quantity * self.price, self.price, time.time()

    def sell(self, reason):
        profit = (self.price - self.entry_price) * self.quantity
        self.cash += self.quantity * self.price
        bot.trade(symbol=config["symbol"], side="BUY", quantity=self.quantity, entry_price=self.entry_price,
                  exit_price=self.price, opened_at=self.opened_at, gross_pl=profit, commission="0", net_pl=profit,
                  exit_reason=reason)
        said = f"sold {self.quantity} {config['symbol']} at {self.price}: {reason}"
        bot.event("fill", said)
        logging.info(said)
        self.quantity, self.entry_price = Decimal(0), None

    @property
    def equity(self):
        return self.cash + self.quantity * self.price

    def result_of_the_day(self):
        """Equity now minus equity when the day of UTC began."""
        day = int(time.time() // 86_400)
        if day != self.day:
            self.day, self.equity_at_its_begin = day, self.equity
        return self.equity - self.equity_at_its_begin


market = Market()


# A pause holds over a restart: whoever paused the bot does not expect it to trade because it was started anew.
PAUSED = HERE / "data" / "paused.json"


def end_pause_in_time():
    """Ends a pause that was given until a time."""
    until = PAUSED.exists() and json.loads(PAUSED.read_text())["until"]
    if until and datetime.fromisoformat(until.replace("Z", "+00:00")) <= datetime.now(timezone.utc):
        PAUSED.unlink()
        bot.trading_enabled = True
        bot.phase("running")


def done(message, **effect):
    """An answer with its effect on orders and positions: orders fill at once here, so that none rests or is cancelled."""
    positions = 1 if market.quantity else 0
    return Done(message, **{"orders_cancelled": 0, "orders_submitted": 0, "positions_closing": [], "notional": 0,
                            "positions_left": positions, "orders_left": 0, **effect})


@bot.on("pause", durable=True)
def pause(command):
    """After it, `bot.trading_enabled` is False; the exits of `trade` go on. `durable` says that it is kept over a restart."""
    PAUSED.write_text(json.dumps({"reason": command.reason, "until": command.args.get("until")}))
    return done("nothing is bought any more; exits go on")


@bot.on("resume")
def resume(command):
    """After it, `bot.trading_enabled` is True again."""
    PAUSED.unlink(missing_ok=True)
    return done("it may buy again")


@bot.on("cancel-orders")
def cancel_orders(command):
    """Orders fill at once here, so that none rests."""
    return done("no order rests")


@bot.on("flatten")
def flatten(command):
    if not market.quantity:
        return done("no position is open")
    worth = market.quantity * market.price
    market.sell("flatten")
    return done("everything is sold", orders_submitted=1, positions_closing=[config["symbol"]], notional=worth)


@bot.preview("flatten")
def preview_flatten(command):
    """What a dry run is told: what `flatten` would do now. It does nothing."""
    if not market.quantity:
        return done("no position is open")
    return done("everything would be sold", orders_submitted=1, positions_closing=[config["symbol"]], positions_left=0,
                notional=market.quantity * market.price)


def trade():
    """One round: an exit by stop or target, else an entry where one is allowed."""
    price = market.next_price()
    if market.quantity:
        change = (price / market.entry_price - 1) * 100
        if change <= -Decimal(str(config["stop_loss_pct"])):
            market.sell("stop")
        elif change >= Decimal(str(config["take_profit_pct"])):
            market.sell("target")
    elif bot.trading_enabled and market.result_of_the_day() > -Decimal(str(config["daily_loss_limit"])):
        market.buy(market.cash * Decimal(str(config["position_size_pct"])) / 100)


def tell():
    """What botops is told of this round."""
    result = market.result_of_the_day()
    bot.performance(daily_pl=result)
    bot.no_entry_reasons([] if result > -Decimal(str(config["daily_loss_limit"])) else ["daily_loss_limit"])
    bot.account(balance=market.equity, cash=market.cash, buying_power=market.cash, currency="USD")
    held = {"symbol": config["symbol"], "quantity": market.quantity, "entry_price": market.entry_price, "current_price": market.price}
    bot.positions([held] if market.quantity else [])
    bot.orders([])
    bot.market(status="ALWAYS_OPEN", source="made up", last_price_at=time.time())


def main():
    if PAUSED.exists():
        bot.trading_enabled = False
        bot.phase("paused", f"paused before it was started anew: {json.loads(PAUSED.read_text())['reason']}")
    with bot:
        while not bot.is_stopping:
            end_pause_in_time()
            try:
                trade()
            except Exception as error:  # a round that failed is told, and the next one is tried
                logging.exception("a round failed")
                bot.error("ROUND_FAILED", f"{type(error).__name__}: {error}", "this round did nothing more", "Look at the log.")
            tell()
            bot.tick()  # the loop goes round; commands are carried out here
            bot.sleep(1)


if __name__ == "__main__":
    main()
