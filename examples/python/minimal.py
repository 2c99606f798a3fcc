#!/usr/bin/env python3
"""The smallest bot over the SDK: `pip install ./clients/python`, then `python3 examples/python/minimal.py bot.sock`."""
import random
import sys

from botops import Bot

bot = Bot("minimal", mode="paper", address=sys.argv[1] if len(sys.argv) > 1 else None, expected_interval=2)


@bot.on("pause")
def pause(command):
    """`bot.trading_enabled` is False once this has returned."""


@bot.on("resume")
def resume(command):
    """And True again after this."""


price = 100.0
bot.account(balance="1000", currency="USD")
bot.positions([])
with bot:
    while True:
        price += random.gauss(0, 0.05)
        # Your strategy goes here; it opens nothing while `bot.trading_enabled` is False.
        bot.tick()
        bot.sleep(0.5)
