"""Handlers that return, raise or do what nobody expects: the loop goes on, and the command has its answer."""
import json
import threading
import time
from decimal import Decimal

from client import BotCase, Client

from botops import Done, Refused


class Untold(Exception):
    """An error that has no text."""

    def __str__(self):
        raise RuntimeError("no text")


class Whole:
    """A whole number of another library."""

    def __init__(self, value):
        self.value = value

    def __int__(self):
        return self.value

    __index__ = __int__

    def __eq__(self, other):
        return self.value == other


class HandlersTest(BotCase):
    def answers(self, bot, verbs):
        """Has the loop, which is this thread, go round until each verb is answered."""
        found = {}
        threads = [threading.Thread(target=lambda verb=verb: found.update({verb: Client(self.socket).command(verb, verb)}))
                   for verb in verbs]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            bot.tick()
            bot.sleep(0.01)
        return found

    def test_false_is_no_yes_and_a_dictionary_is_named_as_what_is_not_told(self):
        bot = self.make()
        returned = {"flatten": False, "pause": {"orders_cancelled": 2}, "resume": True}
        for verb in returned:
            bot.on(verb)(lambda command: returned[command.verb])
        bot.start().tick()
        found = self.answers(bot, returned)
        self.assertEqual({verb: answer["outcome"] for verb, answer in found.items()},
                         {"flatten": "unconfirmed", "pause": "done", "resume": "done"})
        self.assertIn("returned False: whether it acted is not known", found["flatten"]["message"])
        said = {problem.where: problem.message for problem in bot.problems}
        self.assertIn("a dict is not told: return a sentence, or Done(", said["commands.pause"])

    def test_what_a_handler_returned_is_told_as_far_as_it_can_be(self):
        bot = self.make()
        returned = {
            "flatten": Done("closed", positions_left=Decimal(0), orders_left=Whole(2), positions_closing={"BTC", "ETH"}),
            "halt": Done(Untold(), positions_left="many", orders_cancelled=-1, positions_closing=7, notional="0.50"),
            "pause": Done("paused", positions_closing="BTC", notional=Untold()),
        }
        for verb in returned:
            bot.on(verb)(lambda command: returned[command.verb])
        bot.start().tick()
        found = self.answers(bot, returned)
        self.assertEqual({answer["outcome"] for answer in found.values()}, {"done"})
        exposure = found["flatten"]["exposure"]
        self.assertEqual((exposure["positions_left"], exposure["orders_left"], exposure["positions_closing"]),
                         (0, 2, ["BTC", "ETH"]))
        exposure = found["halt"]["exposure"]
        self.assertEqual((exposure["positions_left"], exposure["orders_cancelled"], exposure["positions_closing"],
                          exposure["notional"]), (None, None, None, "0.50"))
        self.assertEqual(found["pause"]["exposure"]["positions_closing"], ["BTC"])
        self.assertIn(("commands.halt", "bad_value"), {(one.where, one.code) for one in bot.problems})
        self.assertEqual(self.client.get("commands/flatten")["result"], found["flatten"])
        bot.stop()
        lines = next(self.folder.rglob("commands.jsonl")).read_bytes().splitlines()
        self.assertEqual(len([line for line in lines if "result" in json.loads(line)]), 3)

    def test_an_error_without_a_text_is_an_answer_all_the_same(self):
        bot = self.make()

        @bot.on("flatten")
        def flatten(command):
            raise Untold()

        @bot.on("halt")
        def halt(command):
            raise Refused(Untold(), Untold())

        @bot.on("reauth", thread=True)
        def reauth(command):
            raise SystemExit(3)

        bot.on("pause", thread=True)(lambda command: None)
        bot.start().tick()
        found = self.answers(bot, ("flatten", "halt", "reauth", "pause"))
        self.assertEqual({verb: answer["outcome"] for verb, answer in found.items()},
                         {"flatten": "unconfirmed", "halt": "refused", "reauth": "unconfirmed", "pause": "done"})
        self.assertIn("Untold", found["flatten"]["message"])

    def test_nothing_of_the_bots_own_objects_is_raised_into_the_loop(self):
        class Doubtful:
            def __bool__(self):
                raise Untold()

            def __float__(self):
                raise Untold()

            __str__ = __float__

        def never():
            raise Untold()
            yield

        bot = self.make(data_dir=False)
        bot.trading_enabled = False
        bot.trading_enabled = Doubtful()
        self.assertFalse(bot.trading_enabled)
        bot.positions(never())
        bot._core.loop.sleep = lambda seconds: None
        bot.sleep(Doubtful())
        self.assertEqual({one.where for one in bot.problems}, {"positions", "sleep", "trading_enabled"})

    def test_work_that_fails_costs_no_other_work(self):
        bot, done = self.make(data_dir=False), []
        bot._core.loop.put(lambda: 1 // 0)
        bot._core.loop.put(lambda: done.append(1))
        bot.sleep(0)
        side = bot._core.commands._side_threads["pause"]
        for work in (lambda: 1 // 0, lambda: (_ for _ in ()).throw(SystemExit()), lambda: done.append(2)):
            side.put(work)
        self.until(lambda: done == [1, 2])

    def test_a_handler_that_hangs_keeps_no_other_verb_waiting(self):
        bot, go, calls = self.make(), threading.Event(), []
        self.addCleanup(go.set)

        @bot.on("probe-session", thread=True)
        def probe(command):
            go.wait(20)

        for verb in ("halt", "pause", "flatten"):
            bot.on(verb, thread=True)(calls.append)
        bot.on("reauth")(calls.append)
        bot._core.commands.answer_within = 0.3
        bot.start().tick()
        self.assertEqual(self.client.command("probe-session", "1")["outcome"], "unconfirmed")
        for verb in ("halt", "pause", "flatten"):
            self.assertEqual(self.client.command(verb, verb)["outcome"], "done")
        behind = self.client.command("probe-session", "2")
        self.assertEqual((behind["reason_code"], "loop" in behind["message"]), ("expired", False), behind)
        away = self.client.command("reauth", "3")
        self.assertEqual((away["reason_code"], "loop" in away["message"]), ("expired", True), away)
        self.assertEqual(len(calls), 3)

    def test_an_interval_that_is_none_is_refused_when_the_bot_is_made(self):
        for interval in (float("inf"), float("nan"), 0, -1, "soon"):
            with self.assertRaises(ValueError, msg=interval):
                self.make(expected_interval=interval)
        self.make(expected_interval="2.5").start()
        self.assertEqual(self.client.get("state")["loop"]["expected_interval_s"], 2.5)
