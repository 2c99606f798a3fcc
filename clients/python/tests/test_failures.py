"""What a handler's author reads when it fails: botops gets a sentence, and the bot's own output the place in the code."""
import asyncio
import subprocess
import sys
import textwrap
import threading

from client import BotCase, Client
from test_events import PACKAGE

from botops import AsyncBot, Refused, Unconfirmed, problems

_PROGRAM = '''
import sys
sys.path.insert(0, sys.argv[1])
from botops import Bot
bot = Bot("tested", mode="paper", address=sys.argv[2])

def ask_exchange():
    raise ConnectionError("the exchange is away")

@bot.on("flatten")
def flatten(command):
    ask_exchange()

with bot:
    print("ready", flush=True)
    while not bot.is_stopping:
        bot.tick()
        bot.sleep(0.01)
        if bot._core.commands.book.status("last")["standing"] == "answered":
            break
'''


class FailuresTest(BotCase):
    def said(self, logs):
        return [record.getMessage() for record in logs.records]

    def errors(self):
        return {error["error_code"]: error for error in self.client.get("state")["recent_errors"]}

    def test_a_program_that_configures_no_log_has_the_traceback_of_a_handler_once_a_minute(self):
        bot = subprocess.Popen([sys.executable, "-c", textwrap.dedent(_PROGRAM), PACKAGE, str(self.socket)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(bot.stdout.close)
        self.addCleanup(bot.stderr.close)
        self.addCleanup(bot.wait)
        self.addCleanup(bot.kill)
        self.assertEqual(bot.stdout.readline(), "ready\n")
        for number in ("1", "2", "3", "last"):
            self.assertEqual(self.client.command("flatten", number)["outcome"], "unconfirmed")
        _, output = bot.communicate(timeout=20)
        self.assertIn("commands.flatten: the bot's handler of flatten raised ConnectionError: the exchange is away", output)
        self.assertEqual((output.count("Traceback"), output.count("in ask_exchange")), (1, 1), output)

    def test_each_kind_of_problem_is_one_warning_in_the_log_of_the_process(self):
        bot = self.make(address=self.socket)
        with self.assertLogs("botops", "WARNING") as logs:
            bot.start()
            for _ in range(50):
                bot.order("1", qty="1", created_at="2026-03-02T15:00:00")
                bot.account(balance=float("nan"))
            bot.sleep(None)
            self.until(lambda: len(logs.records) >= 4, "the warnings")
            bot.stop()
        said = self.said(logs)
        self.assertEqual({record.levelname for record in logs.records}, {"WARNING"}, said)
        self.assertEqual(len(said), 4, said)
        self.assertTrue(said[0].startswith("orders.qty: there is no such field"), said)
        self.assertTrue(said[0].endswith("(SDK_UNKNOWN_FIELD)"), said)
        self.assertIn("did you mean `quantity`?", said[0])
        self.assertIn("a time without a zone was taken as UTC. Give times with a zone", said[1])

    def test_a_problem_is_in_the_log_once_a_minute_however_often_it_comes_and_of_however_many_kinds(self):
        log = problems.ProblemLog()
        for number in range(3_000):
            log.add(f"orders.{number}", "unknown_field", "no")
            log.add("account", "bad_value", "no")
        self.assertLessEqual(len(log.output._warnings), 200)
        with self.assertLogs("botops", "WARNING") as logs:
            log.output.finish(20)
            last, left_out = log.output._last["account", "bad_value"]
            self.assertEqual(left_out, 2_999)
            log.output._last["account", "bad_value"] = last - 60, left_out
            log.add("account", "bad_value", "no")
            log.output.finish(20)
        self.assertEqual(sum("account: no" in line for line in self.said(logs)), 2)
        self.assertIn("(2999 more of this kind since the last one that was logged)", self.said(logs)[-1])

    def test_a_log_of_the_bot_that_fails_costs_nothing(self):
        import logging

        class Broken(logging.Handler):
            def emit(self, record):
                raise RuntimeError("no")

        handler, log = Broken(), logging.getLogger("botops")
        log.addHandler(handler)
        self.addCleanup(log.removeHandler, handler)
        before = list(log.handlers)
        bot = self.make().start()
        bot.order("1", qty="1")
        bot._core.maintain()
        bot._core.problems.output.finish(20)
        bot._core.problems.add_aloud("address", "in_use", "it is taken")
        self.assertEqual([problem.code for problem in bot.problems], ["unknown_field", "in_use"])
        self.assertEqual(log.handlers, before, "no handler is installed")

    def test_a_handler_that_hangs_is_told_with_the_place_where_it_stands(self):
        bot, go = self.make(), threading.Event()
        self.addCleanup(go.set)

        def wait_for_exchange():
            go.wait(20)

        bot.on("probe-session", thread=True)(lambda command: wait_for_exchange())
        bot._core.commands.answer_within = 0.2
        with self.assertLogs("botops", "ERROR") as logs:
            bot.start().tick()
            self.assertEqual(self.client.command("probe-session", "1")["outcome"], "unconfirmed")
            error = self.errors()["SDK_HANDLER_LATE"]
            self.assertIn("has not returned within 0.2 s", error["message"])
            self.assertIn("limit of time", error["remediation"])
            self.until(lambda: any("in wait_for_exchange" in line for line in self.said(logs)), "its place in the log")

    def test_a_command_that_waits_behind_a_hanging_handler_names_it(self):
        bot, go, begun = self.make(), threading.Event(), threading.Event()
        self.addCleanup(go.set)

        def halt(command):
            begun.set()
            go.wait(20)

        bot.on("halt")(halt)
        bot.on("pause")(lambda command: None)
        bot._core.commands.answer_within = 0.2
        bot.start().tick()
        is_over = threading.Event()

        def run():
            while not is_over.is_set():
                bot.tick()
                bot.sleep(0.01)

        loop = threading.Thread(target=run)
        loop.start()
        self.addCleanup(loop.join)
        self.addCleanup(is_over.set)
        self.addCleanup(go.set)
        with self.assertLogs("botops", "ERROR"):
            answer = self.client.command("halt", "1")
            self.assertEqual(answer["outcome"], "unconfirmed")
            self.assertIn("holds the trading loop", self.errors()["SDK_HANDLER_LATE"]["message"])
            behind = self.client.command("pause", "2")
            self.assertEqual(behind["reason_code"], "expired")
            self.assertIn("the bot's handler of halt has not returned", behind["message"])
            go.set()
            bot._core.maintain()
            bot._core.problems.output.finish(10)

    def test_a_coroutine_that_hangs_is_told_with_the_place_where_it_waits(self):
        async def run():
            async with AsyncBot("tested", mode="paper", address=self.socket, data_dir=False) as bot:
                go = asyncio.Event()

                async def wait_for_exchange():
                    await go.wait()

                @bot.on("halt")
                async def halt(command):
                    await wait_for_exchange()

                bot._core.commands.answer_within = 0.2
                with self.assertLogs("botops", "ERROR") as logs:
                    answer = await asyncio.to_thread(Client(self.socket).command, "halt", "1")
                    self.assertEqual(answer["outcome"], "unconfirmed")
                    while not any("in wait_for_exchange" in line for line in self.said(logs)):
                        await asyncio.sleep(0.01)
                go.set()

        asyncio.run(asyncio.wait_for(run(), 30))

    def test_what_a_handler_says_on_purpose_is_no_failure_of_its_code(self):
        bot = self.make()

        @bot.on("flatten", thread=True)
        def flatten(command):
            raise Refused("market_closed", "the market is closed")

        @bot.on("halt", thread=True)
        def halt(command):
            raise Unconfirmed("sent, and not seen")

        bot.start()
        self.client.command("flatten", "1")
        self.client.command("halt", "2")
        self.assertFalse(bot._core.problems.output._waiting, "no traceback is told")
        self.assertEqual(list(bot._core.problems.output._last), [("commands.halt", "handler_failed")])

    def test_an_error_without_end_or_of_great_length_costs_the_log_little(self):
        log = problems.ProblemOutput()
        error = ValueError("x" * 1_000_000)
        for _ in range(3_000):
            error, inner = ValueError("outer"), error
            error.__cause__ = inner
        log.add_raised("a", "b", "it failed", error)
        for number in range(1_000):
            log.add_raised(f"kind {number}", "b", "it failed", ValueError("short"))
        self.assertLessEqual(len(log._waiting), 20)
        self.assertLessEqual(len(log._last), 200)
        with self.assertLogs("botops", "ERROR") as logs:
            log._waiting.clear()
            log._last.clear()
            log.add_raised("a", "b", "it failed", ValueError("x" * 1_000_000))
            log.finish(20)
        self.assertLess(len(self.said(logs)[0]), 10_000)

    def test_a_reader_of_the_output_that_stands_still_holds_nothing_up(self):
        import logging

        held, is_in = threading.Event(), threading.Event()
        self.addCleanup(held.set)

        class Stuck(logging.Handler):
            def emit(self, record):
                is_in.set()
                held.wait(20)

        handler, log = Stuck(), logging.getLogger("botops")
        log.addHandler(handler)
        self.addCleanup(log.removeHandler, handler)
        bot = self.make()

        @bot.on("flatten", thread=True)
        def flatten(command):
            raise ValueError("no")

        bot.start()
        self.assertEqual(self.client.command("flatten", "1")["outcome"], "unconfirmed")
        self.assertTrue(is_in.wait(20))
        self.assertEqual(self.client.command("flatten", "2")["outcome"], "unconfirmed")
        bot.trade(symbol="A", net_pl="1")
        self.until(lambda: self.client.get("trades")["items"], "the files are looked after")
        held.set()
