"""Where a bot is reached: which addresses are taken, and what becomes of two that start at once."""
import asyncio
import os
import subprocess
import sys
import threading
import time

from client import BotCase
from test_events import PACKAGE

from botops import AsyncBot, address
from botops.address import Address, read_token

_SERVED = '''
import os, sys, time
sys.path.insert(0, sys.argv[1])
from botops import Bot
bot = Bot("tested", mode="paper", address=sys.argv[2], data_dir=False)
while time.time() < float(sys.argv[3]):
    pass
bot.start()
print(bot._server._listener is not None, flush=True)
sys.stdin.readline()
os._exit(0)
'''


class AddressesTest(BotCase):
    def test_the_addresses_are_those_that_botops_takes(self):
        token = self.folder / "token"
        for host in ("127.0.0.1", "[::1]", "10.1.2.3", "172.20.0.2", "192.168.1.9", "100.64.0.1", "[fd00::1]", "localhost",
                     "[::ffff:10.1.2.3]".replace("10.1.2.3", "a01:203")):
            Address(f"{host}:9100", token)
        for host in ("[::ffff:0:0]", "[::]", "0.0.0.0", "8.8.8.8", "[::ffff:808:808]", "169.254.1.1", "240.1.1.1",
                     "192.0.2.1", "172.32.0.1", "100.128.0.1", "[fe80::1]", "[2001:db8::1]", "198.18.0.1", "example.com"):
            with self.assertRaises(ValueError, msg=host):
                Address(f"{host}:9100", token)
        self.assertEqual(str(Address("[::ffff:7f00:1]:9100", token)), "127.0.0.1:9100")

    def test_of_two_that_start_at_once_one_is_served(self):
        for _ in range(4):
            at = str(time.time() + 0.7)
            folder = self.folder / at
            both = [subprocess.Popen([sys.executable, "-c", _SERVED, PACKAGE, str(folder / "s"), at],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
            self.assertEqual(sorted(process.stdout.readline() for process in both), ["False\n", "True\n"])
            for process in both:
                process.communicate("\n", timeout=20)

    def test_two_that_find_nobody_there_do_not_both_listen(self):
        ask = address._who_answers

        def ask_slowly(path):
            who = ask(path)
            time.sleep(0.3)
            return who

        self.addCleanup(setattr, address, "_who_answers", ask)
        address._who_answers = ask_slowly
        listeners = []

        def listen():
            try:
                listeners.append(Address(self.socket, None).listen())
            except address.AddressInUse:
                pass

        threads = [threading.Thread(target=listen) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for listener in listeners:
            self.addCleanup(listener.close)
        self.assertEqual(len(listeners), 1)

    def test_a_socket_whose_file_was_removed_is_made_anew(self):
        bot = self.make().start()
        self.socket.unlink()
        self.until(self.socket.exists)
        self.assertEqual(self.client.get("hello")["bot_id"], "tested")
        self.assertIn(("address", "removed"), {(problem.where, problem.code) for problem in bot.problems})

    def test_an_event_loop_makes_its_socket_anew_too(self):
        async def run():
            async with AsyncBot("tested", mode="paper", address=self.socket, data_dir=False):
                self.socket.unlink()
                for _ in range(80):
                    await asyncio.sleep(0.1)
                    if self.socket.exists():
                        return await asyncio.to_thread(self.client.get, "hello")

        self.assertEqual((asyncio.run(run()) or {}).get("bot_id"), "tested")

    def test_an_empty_token_file_gets_a_token(self):
        path = self.folder / "token"
        path.touch(0o600)
        token = read_token(path)
        self.assertGreaterEqual(len(token), 32)
        self.assertEqual((read_token(path), os.stat(path).st_mode & 0o777), (token, 0o600))

    def test_a_token_is_never_seen_half_written(self):
        for number in range(20):
            path, seen = self.folder / f"token{number}", []
            threads = [threading.Thread(target=lambda: seen.append(read_token(path))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual((len(seen), len(set(seen))), (8, 1))
