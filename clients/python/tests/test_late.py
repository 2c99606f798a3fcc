"""A `check` or an `apply` of the config that is slower than its caller waits."""
import asyncio
import json
import threading
import time
from decimal import Decimal
from unittest import mock

from client import Client
from test_commands import LoopThread
from test_config import SCHEMA, VALUES, ConfigCase, sha256

from botops import AsyncBot


class LateTest(ConfigCase):
    def setUp(self):
        super().setUp()
        for name, seconds in (("late.LATE_AFTER", 0.3), ("checks.LATE_AFTER", 0.3), ("config.ANSWER_WITHIN", 1.5)):
            patched = mock.patch(f"botops.{name}", seconds)
            patched.start()
            self.addCleanup(patched.stop)
        self.go = threading.Event()
        self.addCleanup(self.go.set)

    def errors(self):
        return {error["error_code"]: error for error in self.client.get("state")["recent_errors"]}

    def told(self, bot, what):
        """The event of this kind, once it is told."""
        def look():
            return [event for event in map(self.event_of, bot._core.events.after(0)) if event.get("data", {}).get("what") == what]
        return self.until(look, what)[0]

    @staticmethod
    def event_of(kept):
        return json.loads(kept[1])

    def test_a_late_check_is_told_with_its_place_and_refused_as_not_known(self):
        is_slow = threading.Event()

        def ask_exchange():
            self.go.wait(20)

        def check(values):
            if is_slow.is_set():
                ask_exchange()

        bot, config = self.served(check=check)
        is_slow.set()
        with self.assertLogs("botops", "ERROR") as logs:
            status, answer = self.client.post("config/check", {"config": VALUES})
            self.assertEqual((status, answer["code"]), (504, "no_answer"), answer)
            self.assertIn("has not returned within 0.3 s", answer["message"])
            self.until(lambda: "SDK_HANDLER_LATE" in self.errors(), "the problem")
            self.assertIn("config.check: the bot's check has not returned", self.errors()["SDK_HANDLER_LATE"]["message"])
            self.until(lambda: any("in ask_exchange" in line for line in logs.output), "its place in the log")
        # One that waits behind it is not begun later.
        status, answer = self.client.post("config/check", {"config": VALUES})
        self.assertEqual((status, answer["code"]), (409, "expired"), answer)
        # And a trial that would need it is certainly not run.
        status, answer = self.activate(risk=0.01)
        self.assertEqual((status, answer["code"]), (409, "expired"), answer)
        self.assertIn("nothing was changed", answer["message"])
        self.go.set()
        self.assertIn("the bot's check returned after", self.told(bot, "check_returned")["message"])
        is_slow.clear()
        self.assertEqual(self.activate("t2", risk=0.01)[0], 200)
        self.assertEqual(config["risk"], Decimal("0.01"))

    def test_a_late_check_of_what_another_process_committed_raises_nothing(self):
        is_slow, folder = threading.Event(), self.folder / "config"

        def check(values):
            if is_slow.is_set():
                self.go.wait(20)

        bot = self.make()
        config = bot.config(SCHEMA, VALUES, check=check, config_dir=folder)
        is_slow.set()
        document = json.dumps({**VALUES, "risk": 0.01})
        (folder / "versions").mkdir(parents=True)
        (folder / "versions/2.json").write_text(document)
        (folder / "HEAD").write_text(json.dumps({"version": 2, "sha256": sha256(document), "file": "versions/2.json"}))
        bot.start()
        self.assertEqual(self.client.get("config")["committed"]["version"], 0)
        self.assertIn(("config", "head_invalid"), {(one.where, one.code) for one in bot.problems})
        self.assertEqual(config["risk"], Decimal("0.02"))

    def test_a_late_apply_is_told_and_taken_back_and_its_end_is_told(self):
        applied = []

        def connect_anew(values):
            applied.append(values["risk"])
            if values["risk"] == Decimal("0.01"):
                self.go.wait(20)

        bot, config = self.served(apply=connect_anew)
        loop = LoopThread(bot)
        self.addCleanup(loop.end)
        self.addCleanup(self.go.set)
        with self.assertLogs("botops", "ERROR") as logs:
            status, answer = self.activate(risk=0.01)
            self.assertEqual((status, answer["code"]), (504, "no_answer"), answer)
            self.assertIn("not known", answer["message"])
            self.assertIn("config.apply: the bot's apply has not returned", self.errors()["SDK_HANDLER_LATE"]["message"])
            self.until(lambda: any("in connect_anew" in line for line in logs.output), "its place in the log")
        why = {one["field"]: one.get("why_raw") for one in self.client.get("state")["unknown"]}
        self.assertEqual(why.get("config.running"), "an apply (of v2) has not returned")
        # Until it has returned nobody is told that the bot went back.
        self.refused(self.client.post("config/revert", {"txn": "t1", "gen": 1}), 504, "no_answer")
        self.refused(self.activate("t2", risk=0.03), 429, "busy")
        self.go.set()
        said = self.told(bot, "apply_late")["message"]
        self.assertIn("the apply of the trial t1 returned after", said)
        self.assertIn("config v0 was applied again", said)
        self.assertEqual(applied, [Decimal("0.01"), Decimal("0.02")])
        self.assertEqual(config["risk"], Decimal("0.02"))
        state = self.client.get("config")
        self.assertEqual((state["trial"], state["running"]["version"], state["last_outcome"]), (None, 0, ["t1", "trial_expired"]))
        self.assertNotIn("config.running", {one["field"] for one in self.client.get("state")["unknown"]})
        self.assertEqual(self.client.post("config/revert", {"txn": "t1", "gen": 1})[0], 200)
        self.assertIn(("config", "apply_late"), {(one.where, one.code) for one in bot.problems})

    def test_a_revert_that_comes_while_an_apply_is_late_waits_for_its_end(self):
        def apply(values):
            if values["risk"] == Decimal("0.01"):
                self.go.wait(20)

        bot, config = self.served(apply=apply)
        loop = LoopThread(bot)
        self.addCleanup(loop.end)
        self.addCleanup(self.go.set)
        self.refused(self.activate(risk=0.01), 504, "no_answer")
        ended = threading.Timer(0.3, self.go.set)
        ended.start()
        self.addCleanup(ended.join)
        status, ack = self.client.post("config/revert", {"txn": "t1", "gen": 1})
        self.assertEqual((status, ack["running"]["version"], config["risk"]), (200, 0, Decimal("0.02")), ack)

    def test_on_an_event_loop_a_late_apply_is_told_once_it_has_returned(self):
        async def run():
            async with AsyncBot("tested", mode="paper", address=self.socket, data_dir=self.folder / "data") as bot:
                bot.config(SCHEMA, VALUES, apply=lambda values: time.sleep(0.5))
                client = Client(self.socket)
                running = (await asyncio.to_thread(client.get, "config"))["running"]
                document = json.dumps({**VALUES, "risk": 0.01})
                message = {"txn": "t1", "gen": 1, "base": running, "candidate": {"version": 2, "sha256": sha256(document)},
                           "document": document, "ttl_ms": 60_000}
                status, _ = await asyncio.to_thread(client.post, "config/activate", message)
                self.assertEqual(status, 200)
                late = [one for one in bot.problems if one.code == "handler_late"]
                self.assertEqual([one.where for one in late], ["config.apply"], bot.problems)
                self.assertIn("nothing else was done on its thread", late[0].message)

        asyncio.run(asyncio.wait_for(run(), 30))
