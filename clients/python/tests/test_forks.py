"""A bot that is made before a fork, and started after it."""
import json
import os
import signal
import time
import unittest

from client import BotCase


@unittest.skipUnless(hasattr(os, "fork"), "there is no fork here")
class ForksTest(BotCase):
    def fork(self, run):
        """Runs it in a child, which ends with it."""
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(30)
                run()
            finally:
                os._exit(0)
        return child

    def wait_for(self, children):
        for child in children:
            os.waitpid(child, 0)

    def trade(self, bot, name, count=50, rest=1.2):
        bot.start()
        for number in range(count):
            bot.trade(symbol=f"{name} {number}", net_pl="1")
            time.sleep(0.002)
        time.sleep(rest)
        bot.stop()

    def trades(self):
        return [json.loads(line) for line in next(self.folder.rglob("trades.jsonl")).read_bytes().splitlines()]

    def test_of_two_children_that_start_it_one_owns_the_folder_at_a_time(self):
        bot = self.make()
        self.wait_for([self.fork(lambda name=name: self.trade(bot, name)) for name in "AB"])
        kept = [trade["seq"] for trade in self.trades()]
        self.assertEqual(kept, list(range(1, len(kept) + 1)), "no number is given twice")
        self.assertGreaterEqual(len(kept), 50)

    def test_the_process_that_starts_it_owns_the_folder(self):
        bot = self.make()
        self.wait_for([self.fork(lambda: self.trade(bot, "child", 3, 0))])
        self.assertEqual(len(self.trades()), 3, "the parent is there still, and has not started it")
        self.wait_for([self.fork(lambda: None)])
        self.trade(bot, "parent", 3, 0)
        self.assertEqual([trade["seq"] for trade in self.trades()], [1, 2, 3, 4, 5, 6])

    def test_a_bot_that_is_started_keeps_its_folder(self):
        bot = self.make().start()
        self.wait_for([self.fork(lambda: self.trade(bot, "child", 3, 0))])
        self.assertTrue(bot._core.folder.is_owned)
        bot.trade(symbol="parent", net_pl="1")
        bot.stop()
        self.assertEqual([trade["symbol"] for trade in self.trades()], ["parent"])
