"""Addresses, connections, forks and ends."""
import http.client
import json
import multiprocessing
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from client import BotCase, Client

from botops import Bot

PACKAGE = str(pathlib.Path(__file__).resolve().parents[1])


class AddressTest(BotCase):
    def test_a_port_wants_the_token_of_its_file(self):
        token = self.folder / "secret/token"
        bot = self.make(address="127.0.0.1:0", token_file=token)
        bot.on("pause")(lambda command: None)
        bot.start()
        self.assertEqual(os.stat(token).st_mode & 0o777, 0o600)
        for wrong in (None, "", "wrong", "x" * 43):
            status, _, body = Client(bot.address, wrong).send("GET", "state")
            self.assertEqual((status, json.loads(body)["code"]), (401, "unauthorized"))
        client = Client(bot.address, token.read_text().strip())
        self.assertEqual(client.get("hello")["bot_id"], "tested")
        self.assertEqual(client.command("pause", "1")["outcome"], "done")
        os.chmod(token, 0o644)
        with self.assertRaises(ValueError):
            Bot("tested", mode="paper", address="127.0.0.1:0", token_file=token)

    def test_the_setting_of_botops_names_the_socket(self):
        os.environ["BOT_IPC_SOCKET"] = str(self.socket)
        self.addCleanup(os.environ.pop, "BOT_IPC_SOCKET", None)
        self.assertEqual(self.make(address=None).address, str(self.socket))
        del os.environ["BOT_IPC_SOCKET"]
        os.environ.update(BOT_IPC_URL="http://127.0.0.1:0/", BOT_IPC_TOKEN_FILE=str(self.folder / "bot.token"))
        self.addCleanup(os.environ.pop, "BOT_IPC_URL")
        self.addCleanup(os.environ.pop, "BOT_IPC_TOKEN_FILE")
        bot = self.make(address=None, data_dir=self.folder / "data").start()
        token = (self.folder / "bot.token").read_text().strip()
        self.assertEqual(Client(bot.address, token).get("hello")["bot_id"], "tested")

    def test_a_socket_that_another_process_serves_is_left_alone_until_it_is_free(self):
        first = self.make(name="first").start()
        second = self.make(name="second", data_dir=False).start()
        second.account(balance=1)
        self.assertIn(("address", "in_use"), {(problem.where, problem.code) for problem in second.problems})
        self.assertEqual(self.client.get("hello")["name"], "first")
        first.stop()

        def name():
            try:
                return self.client.get("hello")["name"]
            except OSError:
                return None

        self.until(lambda: name() == "second")

    def test_a_socket_that_was_left_behind_is_replaced(self):
        self.socket.parent.mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.socket))
        self.make().start()
        self.assertEqual(self.client.get("hello")["bot_id"], "tested")

    def test_a_file_that_is_no_socket_is_not_replaced(self):
        self.socket.parent.mkdir(mode=0o700)
        self.socket.write_text("precious")
        bot = self.make().start()
        self.assertEqual(self.socket.read_text(), "precious")
        self.assertIn(("address", "unusable"), {(problem.where, problem.code) for problem in bot.problems})


class ConnectionTest(BotCase):
    def talk(self, sent):
        """All that comes back for these bytes."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.socket))
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while True:
                try:
                    part = connection.recv(65_536)
                except ConnectionResetError:
                    return answer
                if not part:
                    return answer
                answer += part

    def test_what_is_no_http_is_refused_and_harms_nothing(self):
        bot = self.make().start()
        for sent, status in ((b"nonsense\r\n\r\n", b"400"), (b"GET /ipc/v1/hello HTTP/1.1\r\nbroken\r\n\r\n", b"400"),
                             (b"POST /ipc/v1/config/check HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
                             (b"POST /ipc/v1/config/check HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
                             (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411")):
            self.assertIn(status, self.talk(sent)[:20], sent[:60])
        self.talk(b"x" * 70_000)
        self.talk(b"")
        self.talk(b"GET /ipc/v1/hel")
        self.assertEqual(self.client.get("hello")["bot_id"], "tested")
        self.assertEqual([problem for problem in bot.problems if problem.where == "sdk"], [])

    def test_numbers_of_any_length_and_kind_are_refused(self):
        bot = self.make().start()
        for length, status in ((b"9" * 5_000, b"413"), (b"\xb2", b"400"), (b"+5", b"400"), (b"1e3", b"400")):
            sent = b"POST /ipc/v1/commands/pause HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n"
            self.assertIn(status, self.talk(sent)[:20], length[:10])
        for seq in (b"\xb2", b"9" * 5_000, b"-1", b""):
            head = b"GET /ipc/v1/events HTTP/1.1\r\nLast-Event-ID: " + bot._core.boot_epoch.encode() + b"/" + seq
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(self.socket))
                connection.sendall(head + b"\r\n\r\n")
                self.assertIn(b"200", connection.recv(1_000)[:20], seq[:10])
        self.assertEqual(bot.problems, [])

    def test_requests_may_follow_on_one_connection(self):
        self.make().start()
        one = b"GET /ipc/v1/hello HTTP/1.1\r\nHost: bot\r\n\r\n"
        last = b"GET /ipc/v1/hello HTTP/1.1\r\nHost: bot\r\nConnection: close\r\n\r\n"
        self.assertEqual(self.talk(one + one + last).count(b"HTTP/1.1 200 OK"), 3)

    def test_too_many_connections_are_closed_and_counted(self):
        bot = self.make().start()
        held = []
        for _ in range(40):
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].connect(str(self.socket))
        self.until(lambda: ("address", "busy") in {(problem.where, problem.code) for problem in bot.problems})
        for one in held:
            one.close()

        def answers():
            try:
                return self.client.get("hello")["bot_id"] == "tested"
            except OSError:
                return False

        self.until(answers)


@unittest.skipUnless(hasattr(os, "fork"), "there are no forks here")
class ForkTest(BotCase):
    def test_a_child_does_not_answer_for_its_parent_and_nothing_hangs(self):
        bot = self.make().start()
        stop = threading.Event()

        def trade():
            number = 0
            while not stop.is_set():
                number += 1
                bot.order(number % 500, status="PENDING", quantity=number)
                bot.event("order", "x")
                bot.trade(symbol="A", net_pl="1")
                bot.tick()

        loop = threading.Thread(target=trade)
        loop.start()
        try:
            for _ in range(20):
                child = os.fork()
                if child == 0:
                    status = 1
                    try:
                        bot.order(1, status="FILLED")
                        bot.event("order", "from the child")
                        bot.trade(symbol="B")
                        bot.error("CHILD")
                        bot.tick()
                        bot.start()
                        began = time.monotonic()
                        bot.sleep(0.01)
                        assert time.monotonic() - began >= 0.01, "a loop in the child must not spin"
                        bot.stop()
                        status = 0
                    finally:
                        os._exit(status)
                end = time.monotonic() + 20
                while True:
                    pid, status = os.waitpid(child, os.WNOHANG)
                    if pid or time.monotonic() > end:
                        break
                    time.sleep(0.005)
                if not pid:
                    os.kill(child, 9)
                    os.waitpid(child, 0)
                self.assertEqual((pid, status), (child, 0), "the child hangs or failed")
                self.assertEqual(self.client.get("hello")["pid"], os.getpid())
        finally:
            stop.set()
            loop.join()
        self.assertTrue(self.socket.exists(), "the parent's socket stays")
        journal = next(self.folder.rglob("trades.jsonl"))
        bot.stop()
        numbers = [json.loads(line)["seq"] for line in journal.read_bytes().splitlines()]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)), "the child wrote nothing")

    def test_a_daemon_that_forks_before_the_start_is_served_by_the_child(self):
        code = f"""
import os, sys, time
sys.path.insert(0, {PACKAGE!r})
from botops import Bot
bot = Bot("tested", mode="paper", address={str(self.socket)!r})
if os.fork():
    os._exit(0)
bot.start()
while not bot.is_stopping:
    bot.tick()
    bot.sleep(0.05)
bot.stop()
"""
        code = code.replace("bot.start()", "bot.on('shutdown')(lambda command: None)\nbot.start()")
        subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
        hello = self.until(self.hello)
        self.assertNotEqual(hello["pid"], os.getpid())
        self.client.command("shutdown", "1")
        self.until(lambda: not self.socket.exists())

    def hello(self):
        try:
            return self.client.get("hello")
        except OSError:
            return None

    def test_a_pool_of_processes_beside_a_served_bot_works(self):
        bot = self.make().start()
        bot.account(balance=1)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            self.assertEqual(pool.map(abs, [-1, -2]), [1, 2])
        self.assertEqual(self.client.get("state")["account"]["account_balance"], "1")


class WaitingTest(BotCase):
    def test_no_call_waits_for_a_reader_or_for_rows(self):
        bot = self.make().start()
        for number in range(5_000):
            bot.order(number, status="PENDING", quantity="1", status_reason="x" * 400)
        readers = []
        for _ in range(4):
            # They ask for two megabytes and take nothing of it.
            reader = socket.socket(socket.AF_UNIX)
            self.addCleanup(reader.close)
            reader.connect(str(self.socket))
            reader.sendall(b"GET /ipc/v1/state HTTP/1.1\r\nHost: bot\r\n\r\n")
            readers.append(reader)
        self.until(lambda: all(reader.recv(1, socket.MSG_PEEK) for reader in readers))
        asked = threading.Event()

        def rows():
            asked.set()
            self.assertEqual(self.client.get("hello")["bot_id"], "tested")
            self.assertEqual(len(self.client.get("state")["orders"]), 5_000, "the state is read while rows are awaited")
            yield {"symbol": "A", "quantity": 1}

        bot.positions(rows())
        self.assertTrue(asked.is_set())
        for number in range(5_000):
            bot.order(number, status="FILLED")
        self.assertEqual([one["symbol"] for one in self.client.get("state")["positions"]], ["A"])
        self.assertEqual({problem.code for problem in bot.problems}, {"left_out"}, "botops shows 2,000 of these orders")

    def test_a_signal_handler_may_say_something_at_any_moment(self):
        bot = self.make().start()
        said = []

        def tell(number, frame):
            bot.error("SIGNALLED", cause="a signal")
            bot.order("from the handler", status="PENDING")
            bot.event("lifecycle", "a signal")
            said.append(number)

        before = signal.signal(signal.SIGALRM, tell)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            end = time.monotonic() + 30
            number = 0
            while len(said) < 300 and time.monotonic() < end:
                number += 1
                bot.order(number % 100, status="PENDING", quantity=number)
                bot.event("order", "x")
                bot.error("E", cause="y")
                bot.tick()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.assertGreaterEqual(len(said), 300, "a call hangs")


class EndTest(BotCase):
    def test_a_program_that_just_ends_leaves_nothing_behind(self):
        code = f"""
import sys
sys.path.insert(0, {PACKAGE!r})
from botops import Bot
bot = Bot("tested", mode="paper", address={str(self.socket)!r}).start()
bot.trade(symbol="A", net_pl="1.10")
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
        self.assertFalse(self.socket.exists())
        journal = next(self.folder.rglob("trades.jsonl"))
        self.assertEqual(json.loads(journal.read_text())["net_pl"], "1.10")

    def test_a_killed_bot_starts_again_with_what_was_written(self):
        code = f"""
import sys, time
sys.path.insert(0, {PACKAGE!r})
from botops import Bot
bot = Bot("tested", mode="paper", address={str(self.socket)!r}).start()
bot.trade(symbol="A", net_pl="1.10")
time.sleep(60)
"""
        process = subprocess.Popen([sys.executable, "-c", code])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def trades():
            try:
                return self.client.get("trades")["items"]
            except OSError:
                return None

        epoch = self.until(trades)[0]["boot_epoch"]
        process.kill()
        process.wait()
        self.make().start()
        self.assertEqual(self.client.get("trades")["items"][0]["net_pl"], "1.10")
        self.assertNotEqual(self.client.get("hello")["boot_epoch"], epoch)

    def test_a_bot_that_dies_within_a_command_says_afterwards_that_it_does_not_know(self):
        code = f"""
import os, signal, sys, time
sys.path.insert(0, {PACKAGE!r})
from botops import Bot
bot = Bot("tested", mode="paper", address={str(self.socket)!r})
bot.on("flatten")(lambda command: os.kill(os.getpid(), signal.SIGKILL))
bot.start()
while True:
    bot.tick()
    bot.sleep(0.05)
"""
        process = subprocess.Popen([sys.executable, "-c", code])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def is_there():
            try:
                return self.client.get("state")["loop"]["ticks"]
            except OSError:
                return None

        self.until(is_there)
        with self.assertRaises((OSError, http.client.HTTPException)):
            self.client.command("flatten", "1")
        process.wait()
        bot, calls = self.make(), []
        bot.on("flatten")(calls.append)
        bot.start()
        status = self.client.get("commands/1")
        self.assertEqual((status["standing"], status["result"]["outcome"]), ("answered", "unconfirmed"))
        again = self.client.command("flatten", "1")
        self.assertEqual((again["outcome"], again["replayed"], calls), ("unconfirmed", True, []))

    def test_a_stop_is_quick_and_may_be_repeated(self):
        bot = self.make().start()
        with bot:
            pass
        bot.stop()
        bot.account(balance=1)
        self.assertFalse(self.socket.exists())
