"""Trials against a trading loop that is slow, stands still, or does not come back."""
import threading
import time
from decimal import Decimal
from unittest import mock

from test_config import ConfigCase

COMMITTED, CANDIDATE = Decimal("0.02"), Decimal("0.01")


class TrialsTest(ConfigCase):
    def setUp(self):
        super().setUp()
        for name, seconds in (("change._BEGIN_WITHIN", 0.1), ("config.ANSWER_WITHIN", 0.3)):
            patched = mock.patch(f"botops.{name}", seconds)
            patched.start()
            self.addCleanup(patched.stop)

    def beside(self, call):
        """Calls it in a thread; the list gets what it returned."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(call()))
        thread.start()
        self.addCleanup(thread.join)
        return answers

    def tick_until(self, bot, look, what="it"):
        def look_again():
            bot.tick()
            return look()

        return self.until(look_again, what)

    def test_an_apply_that_ends_too_late_is_taken_back(self):
        applied, go = [], threading.Event()

        def apply(values):
            applied.append(values["risk"])
            if values["risk"] == CANDIDATE:
                go.wait(20)

        bot, config = self.served(apply=apply)
        bot.tick()
        answers = self.beside(lambda: self.activate(risk=0.01))
        loop = threading.Thread(target=self.tick_until, args=(bot, lambda: len(applied) > 1))
        loop.start()
        self.refused(self.until(lambda: answers)[0], 504, "no_answer")
        go.set()
        loop.join()
        self.assertEqual((applied, config["risk"]), ([CANDIDATE, COMMITTED], COMMITTED))
        self.assertIsNone(self.client.get("config")["trial"])

    def test_a_trial_ends_however_long_the_loop_was_away(self):
        applied = []
        bot, config = self.served(apply=lambda values: applied.append(values["risk"]))
        self.assertEqual(self.activate(risk=0.01, ttl_ms=300)[0], 200)
        bot.tick()
        slot = bot._core.config
        time.sleep(0.35)
        for _ in range(200):
            slot.expire()
        self.assertLessEqual(len(bot._core.loop._waiting), 1, "one return is armed, however often it is tried")
        self.assertEqual(config["risk"], CANDIDATE)
        self.tick_until(bot, lambda: not slot.is_in_trial)
        self.assertEqual((config["risk"], applied), (COMMITTED, [CANDIDATE, COMMITTED]))

    def test_without_an_apply_a_trial_ends_although_the_loop_stands_still(self):
        bot, config = self.served()
        self.assertEqual(self.activate(risk=0.01, ttl_ms=1)[0], 200)
        bot.tick()
        self.until(lambda: config["risk"] == COMMITTED, "the committed value")
        self.until(lambda: self.client.get("config")["last_outcome"] == ["t1", "trial_expired"])
        self.assertIsNone(self.client.get("config")["trial"])

    def test_a_revert_that_the_loop_did_not_take_stays_armed(self):
        applied = []
        bot, config = self.served(apply=lambda values: applied.append(values["risk"]))
        self.assertEqual(self.activate(risk=0.01)[0], 200)
        bot.tick()
        self.refused(self.client.post("config/revert", {"txn": "t1", "gen": 1}), 504, "no_answer")
        self.refused(self.client.post("config/commit", {"txn": "t1", "gen": 1}), 409, "not_in_trial")
        bot.tick()
        self.until(lambda: self.client.get("config")["trial"] is None)
        self.assertEqual((applied, config["risk"]), ([CANDIDATE, COMMITTED], COMMITTED))
        self.assertEqual(self.client.get("config")["last_outcome"], ["t1", "reverted"])

    def test_what_was_withdrawn_keeps_no_place(self):
        bot, calls = self.make(), []
        bot.on("pause")(calls.append)
        bot._core.commands.answer_within = 0.01
        bot.start().tick()
        for number in range(70):
            self.assertEqual(self.client.command("pause", str(number))["reason_code"], "expired", number)
        self.assertEqual(len(bot._core.loop._waiting), 0)
        bot._core.commands.answer_within = 5
        answers = self.beside(lambda: self.client.command("pause", "in time"))
        self.tick_until(bot, lambda: answers)
        self.assertEqual((answers[0]["outcome"], len(calls)), ("done", 1))

    def test_nothing_is_committed_after_its_time(self):
        bot, config = self.served()
        slot = bot._core.config
        slot.expire, expire = (lambda: None), slot.expire  # nobody looks at the clock but the commit itself
        self.assertEqual(self.activate(risk=0.01, ttl_ms=1)[0], 200)
        time.sleep(0.05)
        self.refused(self.client.post("config/commit", {"txn": "t1", "gen": 1}), 409, "not_in_trial")
        slot.expire = expire
        self.refused(self.client.post("config/commit", {"txn": "t1", "gen": 1}), 409, "not_in_trial")
        self.until(lambda: config["risk"] == COMMITTED)
        self.until(lambda: self.client.get("config")["last_outcome"] == ["t1", "trial_expired"])
