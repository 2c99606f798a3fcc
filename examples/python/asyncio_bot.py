#!/usr/bin/env python3
"""A bot on an event loop, with a config in trials: `python3 examples/python/asyncio_bot.py [SOCKET]`.

The SDK has no thread here; handlers may be coroutines. Needs the SDK: `pip install ./clients/python`.
"""
import asyncio
import random
import sys
import time
from decimal import Decimal

from botops import AsyncBot

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object", "additionalProperties": False, "required": ["spread", "daily_loss_limit", "pair"],
    "properties": {
        "spread": {"description": "How far from the price orders rest.", "type": "number", "minimum": 0.0001,
                   "maximum": 0.05, "x-apply": "hot", "x-risk": {"direction": "down", "class": "high"},
                   "x-unit": "part of the price", "x-help": "0.001 is 0.1 %."},
        "daily_loss_limit": {"description": "The loss of a day at which nothing more is bought.",
                             "type": ["string", "number"], "pattern": "^-[0-9]+([.][0-9]+)?$", "maximum": -1,
                             "x-apply": "hot", "x-risk": {"direction": "down", "class": "high"}, "x-unit": "USDT",
                             "x-role": "daily_loss_limit"},
        "pair": {"description": "What is traded.", "type": "string", "maxLength": 64, "x-apply": "restart",
                 "x-risk": {"direction": "both", "class": "high"}},
    },
}
bot = AsyncBot("asyncio-bot", mode="paper", address=sys.argv[1] if len(sys.argv) > 1 else None, expected_interval=5)


def check(values):
    """What only the bot knows about its values; the schema was checked already."""
    if values["spread"] > Decimal("0.01") and Decimal(str(values["daily_loss_limit"])) < -1000:
        return [("/spread", "a wide spread with so large a loss limit is not wanted", "use at most 0.01")]
    return []


config = bot.config(SCHEMA, {"spread": 0.001, "daily_loss_limit": "-100.00", "pair": "BTC/USDT"}, check=check)


@bot.on("pause")
async def pause(command):
    await asyncio.sleep(0)  # as a call of the exchange would take its time


@bot.on("resume")
async def resume(command):
    pass


async def trade():
    price = 42_000.0
    while not bot.is_stopping:
        price = round(price * (1 + random.gauss(0, 0.0005)), 2)
        # The values in force: those of a trial while one runs, and those of before when nobody committed it.
        limit = round(price * (1 - float(config["spread"])), 2)
        if bot.trading_enabled:
            bot.orders([{"id": "1", "symbol": config["pair"], "side": "BUY", "order_type": "LIMIT", "quantity": "0.01",
                         "limit_price": limit, "status": "PENDING"}])
        else:
            bot.orders([])
        bot.market(status="ALWAYS_OPEN", source="made up", last_price_at=time.time())
        bot.tick()
        await bot.sleep(0.5)


async def main():
    bot.account(balance="1000", cash="1000", buying_power="1000", currency="USDT")
    bot.positions([])
    async with bot:
        await trade()


if __name__ == "__main__":
    asyncio.run(main())
