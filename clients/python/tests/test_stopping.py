"""Stopping from within a handler, twice, and cancelled: every answer is sent, and the files are closed."""
import asyncio
import json
import threading
import time

from client import BotCase
from test_config import ConfigCase

from botops import AsyncBot


class Asked:
    """A command that is sent from a thread."""

    def __init__(self, client, verb):
        self.answer = None
        self.thread = threading.Thread(target=self.ask, args=(client, verb))
        self.thread.start()

    def ask(self, client, verb):
        self.answer = client.command(verb, verb)

    @property
    def is_over(self):
        return not self.thread.is_alive()


class EventReader:
    """Reads the stream of events from a thread, until the bot closes it."""

    def __init__(self, client):
        self.text, self.is_open = b"", threading.Event()
        self.thread = threading.Thread(target=self.read, args=(client,))
        self.thread.start()

    def read(self, client):
        connection = client.connection()
        connection.request("GET", "/ipc/v1/events")
        answer = connection.getresponse()
        self.is_open.set()
        while True:
            line = answer.fp.readline()
            if not line:
                break
            self.text += line
        connection.close()


class StoppingTest(ConfigCase):
    def told_as_it_ended(self, reader):
        reader.thread.join(20)
        told = [json.loads(line[6:]) for line in reader.text.splitlines() if line.startswith(b"data: ")]
        return {event["error"]["error_code"]: event["error"] for event in told if event["kind"] == "error"}

    def test_why_the_loop_of_a_bot_ended_is_told_before_it_is_gone(self):
        with self.assertRaises(ZeroDivisionError):
            with self.make() as bot:
                reader = EventReader(self.client)
                self.assertTrue(reader.is_open.wait(20))
                bot.tick()
                1 / 0
        error = self.told_as_it_ended(reader)["SDK_LOOP_RAISED"]
        self.assertEqual(error["severity"], "critical")
        self.assertIn("the trading loop raised ZeroDivisionError: division by zero, and the bot ends", error["message"])
        # A wish to end is no failure.
        with self.assertRaises(KeyboardInterrupt):
            with self.make() as bot:
                raise KeyboardInterrupt
        self.assertEqual(bot.problems, [])

    def test_why_the_loop_of_an_asyncio_bot_ended_is_told_before_it_is_gone(self):
        async def run():
            async with AsyncBot("tested", mode="paper", address=self.socket, data_dir=False) as bot:
                reader = EventReader(self.client)
                readers.append(reader)
                while not reader.is_open.is_set():
                    await bot.sleep(0.01)
                raise ValueError("no price")

        readers = []
        with self.assertRaises(ValueError):
            asyncio.run(asyncio.wait_for(run(), 30))
        self.assertIn("ValueError: no price", self.told_as_it_ended(readers[0])["SDK_LOOP_RAISED"]["message"])

    def test_a_reader_of_events_that_takes_nothing_does_not_keep_the_bot_from_its_end(self):
        bot = self.make().start()
        connection = self.client.connection()
        self.addCleanup(connection.close)
        connection.request("GET", "/ipc/v1/events")
        connection.getresponse()
        for number in range(9_000):
            bot.event("order", "x" * 1_500)
        bot.stop()
        self.assertFalse(self.socket.exists())

    def kept(self):
        lines = next(self.folder.rglob("commands.jsonl")).read_bytes().splitlines()
        return [row["result"]["outcome"] for row in map(json.loads, lines) if "result" in row]

    def test_a_handler_may_stop_the_bot_and_is_answered(self):
        for in_thread in (False, True):
            bot, took = self.make(), []

            @bot.on("shutdown", thread=in_thread)
            def shutdown(command):
                begin = time.monotonic()
                bot.stop()
                took.append(time.monotonic() - begin)
                return "bye"

            bot.start().tick()
            asked = Asked(self.client, "shutdown")
            while not bot.is_stopping:
                bot.sleep(0.01)
            asked.thread.join()
            self.assertEqual((asked.answer["outcome"], asked.answer["message"]), ("done", "bye"))
            self.assertLess(took[0], 0.5, "the handler waits for nothing")
            self.until(lambda: not self.socket.exists())
            bot.stop()
            self.assertFalse(bot._core.folder.is_owned)
            self.assertEqual(self.kept(), ["done"])
            next(self.folder.rglob("commands.jsonl")).unlink()

    def test_a_pause_that_stops_the_bot_is_a_pause(self):
        bot = self.make()
        bot.on("pause")(lambda command: bot.stop())
        bot.start()
        answer = Asked(self.client, "pause")
        answer.thread.join()
        self.assertEqual((answer.answer["outcome"], answer.answer["trading_enabled"]), ("done", False))
        self.until(lambda: bot._server is None)
        self.assertTrue(bot.is_stopping)

    def test_an_apply_may_stop_the_bot(self):
        bot, config = self.served(apply=lambda values: bot.stop())
        begin = time.monotonic()
        self.assertEqual(self.activate(risk=0.01)[0], 200)
        self.assertLess(time.monotonic() - begin, 1.5)
        self.until(lambda: bot._server is None)

    def test_a_second_stop_waits_for_the_first(self):
        bot, go = self.make(), threading.Event()

        @bot.on("flatten", thread=True)
        def flatten(command):
            bot.stop()
            go.wait(20)

        bot.start()
        asked = Asked(self.client, "flatten")
        self.until(lambda: bot.is_stopping)
        threading.Timer(0.2, go.set).start()
        bot.stop()
        asked.thread.join()
        self.assertEqual((asked.answer["outcome"], self.kept()), ("done", ["done"]))


class AsyncStoppingTest(BotCase):
    def make_async(self):
        return AsyncBot("tested", mode="paper", address=self.socket)

    def test_a_handler_may_stop_the_bot_and_is_answered(self):
        async def main():
            async with self.make_async() as bot:
                @bot.on("shutdown")
                async def shutdown(command):
                    await bot.stop()
                    await asyncio.sleep(0.05)
                    return "bye"

                asked = Asked(self.client, "shutdown")
                while not bot.is_stopping:
                    await asyncio.sleep(0.01)
            while not asked.is_over:
                await asyncio.sleep(0.01)
            self.assertFalse(bot._core.folder.is_owned)
            return asked.answer

        answer = asyncio.run(main())
        self.assertEqual((answer["outcome"], answer["message"]), ("done", "bye"))
        self.assertFalse(self.socket.exists())

    def test_a_stop_that_is_cancelled_closes_the_files(self):
        async def main():
            bot = await self.make_async().start()
            bot.trade(symbol="A", net_pl="1")
            ending = asyncio.ensure_future(bot.stop())
            await asyncio.sleep(0)
            ending.cancel()
            await asyncio.wait({ending})
            self.assertTrue(ending.cancelled())
            self.assertFalse(bot._core.folder.is_owned)

        asyncio.run(main())
        self.assertIn(b'"symbol":"A"', next(self.folder.rglob("trades.jsonl")).read_bytes())
