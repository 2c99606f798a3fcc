"""A bot on an event loop: the same contract, and no thread of its own."""
import asyncio
import json
import threading

from client import BotCase, Client
from test_config import SCHEMA, VALUES, sha256

from botops import AsyncBot, Done


class AsyncBotTest(BotCase):
    def run_beside(self, bot, ask):
        """Runs the bot on an event loop while `ask` asks from a thread; returns what `ask` returned."""
        async def main():
            async with bot:
                before = threading.active_count()
                answered = asyncio.get_running_loop().run_in_executor(None, ask)
                while not answered.done():
                    bot.tick()
                    await bot.sleep(0.01)
                self.assertLessEqual(threading.active_count(), before + 1, "only the thread of the one who asks")
                return await answered

        return asyncio.run(main())

    def make_async(self, **options):
        options.setdefault("address", self.socket)
        return AsyncBot("tested", mode="paper", **options)

    def test_state_commands_events_and_trades(self):
        bot, threads = self.make_async(expected_interval=1), []

        @bot.on("pause")
        async def pause(command):
            await asyncio.sleep(0.02)
            threads.append(threading.current_thread())
            return "paused after a while"

        @bot.on("flatten")
        async def flatten(command):
            raise RuntimeError("no")

        @bot.preview("flatten")
        async def preview(command):
            await asyncio.sleep(0.02)
            if command.reason == "wrong":
                raise RuntimeError("no preview")
            return Done("it would close one", positions_closing=["A"])

        @bot.on("halt")
        def halt(command):
            command.refuse("already", "it is halted")

        bot.account(balance="1.10", currency="USD")
        for number in range(1_000):
            bot.order(number, status="PENDING", quantity="1")
        bot.trade(symbol="A", net_pl="0.10")

        def ask():
            client = self.client
            state = client.get("state")
            self.assertEqual((state["account"]["account_balance"], len(state["orders"])), ("1.10", 1_000))
            answer = client.command("flatten", "dry", dry_run=True)
            self.assertEqual((answer["outcome"], answer["exposure"]["positions_closing"]), ("predicted", ["A"]))
            answer = client.command("flatten", "dry2", dry_run=True, reason="wrong")
            self.assertEqual((answer["outcome"], answer["reason_code"]), ("predicted", "preview_raised"))
            answer = client.command("pause", "1")
            self.assertEqual((answer["outcome"], answer["message"]), ("done", "paused after a while"))
            self.assertEqual((answer["phase"], answer["trading_enabled"], bot.trading_enabled), ("paused", False, False))
            self.assertEqual(client.command("pause", "1"), {**answer, "replayed": True})
            self.assertEqual(client.command("flatten", "2")["outcome"], "unconfirmed")
            self.assertEqual(client.command("halt", "3")["outcome"], "refused")
            self.assertEqual(client.get("commands/1")["standing"], "answered")
            self.until(lambda: client.get("trades")["items"])
            self.assertEqual(client.send("GET", "nothing")[0], 404)
            connection = client.connection()
            connection.request("GET", "/ipc/v1/events")
            stream = connection.getresponse()
            lines = [stream.fp.readline() for _ in range(3)]
            connection.close()
            return state, json.loads(lines[1][6:])

        state, event = self.run_beside(bot, ask)
        self.assertEqual((state["phase"], event["message"]), ("running", "tested started"))
        self.assertIs(threads[0], threading.main_thread())
        self.assertFalse(self.socket.exists())

    def test_a_handler_that_takes_long_is_unconfirmed_until_it_ends(self):
        bot = self.make_async()
        bot._core.commands.answer_within = 0.1

        @bot.on("flatten")
        async def flatten(command):
            await asyncio.sleep(0.4)

        def ask():
            first = self.client.command("flatten", "1")["outcome"]
            self.until(lambda: self.client.get("commands/1")["standing"] == "answered")
            return first, self.client.command("flatten", "1")["outcome"]

        self.assertEqual(self.run_beside(bot, ask), ("unconfirmed", "done"))

    def test_config_trials_run_on_the_event_loop(self):
        bot, applied = self.make_async(), []
        config = bot.config(SCHEMA, VALUES, apply=lambda values: applied.append(threading.current_thread()))
        with self.assertRaises(ValueError):
            async def wrong(values):
                pass
            bot.config(SCHEMA, VALUES, apply=wrong)

        def ask():
            document = json.dumps({**VALUES, "risk": 0.01})
            message = {"txn": "t", "gen": 1, "base": self.client.get("config")["running"], "ttl_ms": 200,
                       "candidate": {"version": 2, "sha256": sha256(document)}, "document": document}
            status, _ = self.client.post("config/activate", message)
            risk = config["risk"]
            self.until(lambda: self.client.get("config")["trial"] is None)
            return status, str(risk), str(config["risk"])

        self.assertEqual(self.run_beside(bot, ask), (200, "0.01", "0.02"))
        self.assertEqual(applied, [threading.main_thread()] * 2)

    def test_serve_is_a_task_that_is_cancelled(self):
        bot = self.make_async()

        async def main():
            task = asyncio.ensure_future(bot.serve())
            hello = await asyncio.get_running_loop().run_in_executor(
                None, lambda: self.until(lambda: self.socket.exists() and self.client.get("hello")))
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            return hello

        self.assertEqual(asyncio.run(main())["bot_id"], "tested")
        self.assertFalse(self.socket.exists())

    def test_a_port_with_a_token(self):
        bot = self.make_async(address="127.0.0.1:0", token_file=self.folder / "token", data_dir=self.folder / "data")

        def ask():
            token = (self.folder / "token").read_text().strip()
            return Client(bot.address, "wrong").send("GET", "state")[0], Client(bot.address, token).get("hello")["bot_id"]

        self.assertEqual(self.run_beside(bot, ask), (401, "tested"))
