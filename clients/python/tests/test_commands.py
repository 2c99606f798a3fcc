"""Commands over the socket, and what becomes of them."""
import json
import threading
import time

from client import BotCase, Client

from botops import Command, Done, Unconfirmed


class LoopThread:
    """A trading loop in a thread: it ticks and sleeps until it is ended."""

    def __init__(self, bot):
        self.bot, self.ends = bot, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.bot.tick()
        self.thread.start()

    def run(self):
        while not self.ends.is_set():
            self.bot.tick()
            self.bot.sleep(0.02)

    def end(self):
        self.ends.set()
        self.thread.join()


class CommandsTest(BotCase):
    def loop(self, bot):
        loop = LoopThread(bot)
        self.addCleanup(loop.end)
        return loop

    def test_a_command_acts_once_on_the_loops_thread(self):
        bot, calls = self.make(), []

        @bot.on("pause")
        def pause(command):
            calls.append((command.reason, threading.current_thread()))

        loop = self.loop(bot.start())
        first = self.client.command("pause", "1", args={"symbols": ["A"]})
        self.assertEqual((first["outcome"], first["phase"], first["trading_enabled"]), ("done", "paused", False))
        self.assertEqual(calls, [("a test", loop.thread)])
        again = self.client.command("pause", "1")
        self.assertEqual(again, {**first, "replayed": True})
        self.assertEqual(len(calls), 1)
        state = self.client.get("state")
        self.assertEqual((state["phase"], state["trading_enabled"], bot.trading_enabled), ("paused", False, False))

    def test_a_bot_that_never_ticks_is_commanded_all_the_same(self):
        bot = self.make()
        bot.on("pause")(lambda command: "paused")
        bot.on("resume")(lambda command: None)
        bot.start()
        self.assertEqual(self.client.command("pause", "1")["message"], "paused")
        self.assertFalse(bot.trading_enabled)
        answer = self.client.command("resume", "2")
        self.assertEqual((answer["phase"], answer["trading_enabled"]), ("running", True))

    def test_a_dry_run_predicts_and_does_nothing(self):
        bot, calls = self.make(), []
        bot.on("flatten")(calls.append)
        bot.start()
        answer = self.client.command("flatten", "1", dry_run=True)
        self.assertEqual((answer["outcome"], calls), ("predicted", []))

        @bot.preview("flatten")
        def preview(command):
            return Done("it would close one", positions_closing=["A"], notional=4200.5, orders_cancelled=0)

        answer = self.client.command("flatten", "1", dry_run=True)
        self.assertEqual((answer["outcome"], answer["message"], calls), ("predicted", "it would close one", []))
        self.assertEqual((answer["exposure"]["notional"], answer["exposure"]["positions_closing"]), ("4200.5", ["A"]))
        self.assertEqual(self.client.get("commands/1")["standing"], "unknown", "a dry run is no command")
        self.assertEqual(self.client.command("flatten", "1")["outcome"], "done")

    def test_a_handler_that_raises_leaves_the_effect_open(self):
        bot = self.make()

        @bot.on("flatten")
        def flatten(command):
            raise RuntimeError("the exchange is away")

        @bot.on("cancel-orders")
        def cancel(command):
            raise Unconfirmed("the exchange took it")

        @bot.preview("flatten")
        def preview(command):
            raise KeyError("no price")

        loop = self.loop(bot.start())
        answer = self.client.command("flatten", "1")
        self.assertEqual((answer["outcome"], answer["reason_code"]), ("unconfirmed", "handler_raised"))
        self.assertIn("RuntimeError: the exchange is away", answer["message"])
        predicted = self.client.command("flatten", "3", dry_run=True)
        self.assertEqual((predicted["outcome"], predicted["reason_code"]), ("predicted", "preview_raised"))
        self.assertIn("the bot's preview of flatten raised KeyError: 'no price'", predicted["message"])
        unconfirmed = self.client.command("cancel-orders", "2")
        self.assertEqual(unconfirmed["outcome"], "unconfirmed")
        self.assertNotIn("reason_code", unconfirmed, "it was said on purpose")
        self.assertTrue(bot.trading_enabled, "nothing says that it took effect")
        self.assertTrue(loop.thread.is_alive(), "the trading loop goes on")
        problem = next(one for one in bot.problems if one.code == "handler_failed")
        # Nobody may read from it that nothing came of the command.
        self.assertEqual(problem.meaning.severity, "high")
        self.assertIn("what became of the command is not known", problem.meaning.impact)

    def test_a_refusal_says_that_nothing_was_done(self):
        bot = self.make()

        @bot.on("reset-breaker")
        def reset(command):
            command.refuse("breaker_closed", "there is nothing to reset")

        bot.start()
        answer = self.client.command("reset-breaker", "1")
        self.assertEqual((answer["outcome"], answer["reason_code"]), ("refused", "breaker_closed"))
        self.assertEqual(self.client.post("commands/halt", {"command_id": "2"})[1]["code"], "not_capable")
        status, refusal = self.client.post("commands/dance", {"command_id": "2"})
        self.assertEqual((status, refusal["code"]), (404, "unknown_verb"))
        for body in (b"[]", b"{", b"{\"command_id\": \"\"}", b"{\"command_id\": null}", b"nothing"):
            status, _, _ = self.client.send("POST", "commands/reset-breaker", body)
            self.assertEqual(status, 400, body)
        status, refusal = self.client.post("commands/reset-breaker", {"command_id": "1"})
        self.assertEqual((status, refusal["replayed"]), (200, True))

    def test_what_expired_is_never_begun(self):
        bot, calls = self.make(), []
        bot.on("pause")(calls.append)
        bot.start()
        for number, late in enumerate(({"valid_for_ms": 0}, {"expires_at": "2020-01-01T00:00:00Z"})):
            answer = self.client.command("pause", f"late {number}", **late)
            self.assertEqual((answer["outcome"], answer["reason_code"]), ("refused", "expired"))
        self.assertEqual(calls, [])
        self.assertEqual(self.client.command("pause", "in time", valid_for_ms=60_000)["outcome"], "done")

    def test_a_loop_that_stands_still_is_never_given_a_command_late(self):
        bot, calls = self.make(), []
        bot.on("pause")(calls.append)
        bot._core.commands.answer_within = 0.2
        bot.start().tick()
        answer = self.client.command("pause", "1")
        self.assertEqual((answer["outcome"], answer["reason_code"]), ("refused", "expired"))
        bot.tick()
        self.assertEqual(calls, [], "it was refused, so it must not act any more")
        self.assertEqual(self.client.get("commands/1")["result"]["outcome"], "refused")

    def test_a_handler_that_takes_long_is_unconfirmed_until_it_ends(self):
        bot, go = self.make(), threading.Event()

        @bot.on("flatten", thread=True)
        def flatten(command):
            go.wait(20)
            return Done("closed", positions_left=0)

        bot._core.commands.answer_within = 0.2
        bot.start()
        answer = self.client.command("flatten", "a/b c")
        self.assertEqual(answer["outcome"], "unconfirmed")
        self.assertEqual(self.client.get("commands/a%2Fb%20c")["standing"], "pending")
        go.set()
        status = self.until(lambda: (seen := self.client.get("commands/a%2Fb%20c"))["standing"] == "answered" and seen)
        self.assertEqual((status["result"]["outcome"], status["result"]["exposure"]["positions_left"]), ("done", 0))
        self.assertEqual(self.client.command("flatten", "a/b c")["outcome"], "done")

    def test_a_handler_for_a_thread_does_not_wait_for_the_loop(self):
        bot = self.make()
        bot.on("pause", thread=True)(lambda command: None)
        bot.start().tick()
        self.assertEqual(self.client.command("pause", "1")["outcome"], "done")

    def test_answers_outlive_the_process(self):
        bot, calls = self.make(), []
        bot.on("pause")(calls.append)
        bot.start()
        first = self.client.command("pause", "1")
        bot._core.commands.book._save({"id": "begun", "verb": "pause"})
        bot.stop()
        second = self.make()
        second.on("pause")(calls.append)
        second.start()
        self.assertEqual(self.client.get("commands/1")["result"], first)
        self.assertEqual(self.client.command("pause", "1"), {**first, "replayed": True})
        self.assertEqual(len(calls), 1)
        self.assertEqual(self.client.get("commands/begun")["result"]["outcome"], "unconfirmed")
        self.assertEqual(self.client.get("commands/never")["standing"], "unknown")

    def test_the_file_of_answers_does_not_grow_for_ever(self):
        bot = self.make()
        bot.on("pause")(lambda command: None)
        bot.start()
        first = self.client.command("pause", "newest")
        bot.stop()
        file = next(self.folder.rglob("commands.jsonl"))
        lines = file.read_bytes()
        old = b"".join(b'{"id": "old %d", "verb": "pause"}\n' % number for number in range(6_000))
        file.write_bytes(old + lines)
        self.make().start()
        self.assertEqual(self.client.get("commands/newest")["result"], first)
        self.assertEqual(len(file.read_bytes().splitlines()), 1_000)

    def test_what_others_say_of_the_phase_meanwhile_undoes_no_pause(self):
        bot, said = self.make(), threading.Event()

        @bot.on("pause", thread=True)
        def pause(command):
            said.wait(20)

        @bot.on("halt")
        def halt(command):
            bot.phase("degraded", "halted by hand")

        bot.start().tick()
        answers = []
        sender = threading.Thread(target=lambda: answers.append(self.client.command("pause", "1")))
        sender.start()
        self.until(lambda: self.client.get("commands/1")["standing"] == "pending")
        bot.phase("running")
        said.set()
        sender.join()
        self.assertEqual((answers[0]["outcome"], answers[0]["trading_enabled"], bot.trading_enabled), ("done", False, False))
        sender = threading.Thread(target=lambda: answers.append(self.client.command("halt", "2")))
        sender.start()
        while sender.is_alive():
            bot.tick()
            bot.sleep(0.01)
        self.assertEqual(answers[1]["phase"], "degraded", "the handler's own word counts")

    def test_what_is_no_time_is_waited_for_a_second(self):
        bot = self.make(data_dir=False).start()
        waited = []
        bot._core.loop.sleep = waited.append
        for seconds in (None, "soon", float("nan"), float("inf"), -5, 0.5, 1e9):
            bot.sleep(seconds)
        self.assertEqual(waited, [1.0, 1.0, 1.0, 1.0, 0.0, 0.5, 86_400.0])

    def test_a_bot_that_starts_paused_says_so(self):
        bot = self.make()
        bot.trading_enabled = False
        bot.start().tick()
        state = self.client.get("state")
        self.assertEqual((state["phase"], state["trading_enabled"]), ("paused", False))

    def test_a_handler_that_comes_late_is_told(self):
        bot = self.make().start()
        bot.on("pause")(lambda command: None)
        self.assertIn(("commands.pause", "late"), {(problem.where, problem.code) for problem in bot.problems})

    def test_a_handler_may_wait_and_a_second_loop_may_tick(self):
        bot = self.make()

        @bot.on("pause")
        def pause(command):
            bot.tick()
            bot.sleep(0.01)

        self.loop(bot.start())
        self.loop(bot)
        self.assertEqual({self.client.command("pause", str(number))["outcome"] for number in range(20)}, {"done"})
        self.assertEqual(bot.problems, [])

    def test_without_a_folder_nothing_is_promised_of_earlier_commands(self):
        bot = self.make(data_dir=False)
        bot.on("pause")(lambda command: None)
        bot.start()
        self.assertNotIn("command-status", self.client.get("hello")["capabilities"])
        self.assertEqual(self.client.send("GET", "commands/1")[0], 404)
        self.assertEqual(self.client.command("pause", "1")["outcome"], "done")

    def test_the_same_command_from_two_senders_acts_once(self):
        bot, calls = self.make(), []

        @bot.on("flatten")
        def flatten(command):
            calls.append(command)
            time.sleep(0.05)

        self.loop(bot.start())
        answers = []
        senders = [threading.Thread(target=lambda: answers.append(Client(self.socket).command("flatten", "1")))
                   for _ in range(8)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        self.assertEqual((len(calls), {answer["outcome"] for answer in answers}), (1, {"done"}))

    def test_shutdown_is_answered_before_the_bot_ends(self):
        bot = self.make()
        bot.on("shutdown")(lambda command: None)
        bot.start()
        bot.tick()

        def trade():
            while not bot.is_stopping:
                bot.tick()
                bot.sleep(0.01)
            bot.stop()

        thread = threading.Thread(target=trade)
        thread.start()
        answer = self.client.command("shutdown", "1")
        thread.join()
        self.assertEqual((answer["outcome"], answer["phase"]), ("done", "stopping"))
        self.assertFalse(self.socket.exists())

    def test_a_file_of_answers_that_was_removed_is_named_and_promises_nothing(self):
        bot = self.make()
        bot.on("pause")(lambda command: None)
        bot.start()
        self.client.command("pause", "1")
        file = next(self.folder.rglob("commands.jsonl"))
        aside = file.with_name("aside")
        for number, spoil in ("2", lambda: file.rename(aside)), ("3", lambda: file.write_text("")):
            spoil()
            self.client.command("pause", number)
            self.assertNotIn("command-status", self.client.get("hello")["capabilities"])
            said = {one.code: one.message for one in bot.problems}["not_recorded"]
            self.assertIn(str(file), said)
            self.assertIn("put that file back", said)
        aside.replace(file)
        self.client.command("pause", "4")
        self.assertIn("command-status", self.client.get("hello")["capabilities"])
        kept = [json.loads(line)["id"] for line in file.read_bytes().splitlines()]
        self.assertEqual((kept[0], kept[-1], len(set(kept))), ("1", "4", 4))

    def test_a_command_that_hangs_has_no_others_kept_for_good(self):
        bot, go = self.make(data_dir=False), threading.Event()
        self.addCleanup(go.set)
        bot.on("flatten", thread=True)(lambda command: go.wait(20))
        bot.on("pause", thread=True)(lambda command: None)
        bot._core.commands.answer_within = 0.1
        bot.start()
        self.client.command("flatten", "first")
        book = bot._core.commands.book
        for number in range(1_200):
            task, _ = book.admit(Command("pause", str(number), "", {}, False), None, None)
            book.finish(task, {"outcome": "done"})
        self.assertLessEqual(len(book._tasks), 1_001)
        self.assertEqual(book.status("first")["standing"], "pending")

    def test_a_command_of_more_than_64_kib_is_refused(self):
        bot, calls = self.make(), []
        bot.on("pause")(calls.append)
        bot.start()
        # Its head is enough: who still sends when the connection is closed may not hear why.
        status, _, answer = self.client.send("POST", "commands/pause", headers={"Content-Length": "70000"})
        self.assertEqual((status, b"64 KiB" in answer, calls), (413, True, []))
