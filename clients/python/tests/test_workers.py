"""Processes that a served bot's process makes: by os.fork and by multiprocessing. None of them answers for the bot."""
import contextlib
import http.client
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import unittest

from client import BotCase
from test_events import PACKAGE

# Prints a line once the worker is there, and trades on until it is told to end.
_PROGRAM = '''
import multiprocessing, os, sys, time
sys.path.insert(0, {package!r})
from botops import Bot

bot = Bot("tested", mode="paper", address={address!r})
bot.on("pause")(lambda command: "done by %d" % os.getpid())

def work(said):
    bot.order("of-the-worker", status="PENDING")
    bot.trade(symbol="of the worker")
    bot.tick()
    bot.start()
    said.send((os.getpid(), bot.address))
    while True:
        bot.sleep(0.05)

def begin_worker(kind):
    if kind == "os.fork":
        if os.fork() == 0:
            try:
                work(Printer())
            finally:
                os._exit(0)
        return
    context = multiprocessing.get_context(kind)
    hear, said = context.Pipe()
    worker = context.Process(target=work, args=(said,), daemon=False)
    worker.start()
    print(hear.recv()[0], flush=True)

class Printer:
    def send(self, said):
        os.write(1, b"%d\\n" % said[0])

{begin}
'''
_GUARDED = '''
if __name__ == "__main__":
    bot.start()
    bot.tick()
    begin_worker(sys.argv[1])
    while True:
        bot.tick()
        bot.sleep(0.05)
'''
_UNGUARDED = '''
bot.start()
bot.tick()
if __name__ == "__main__":
    begin_worker(sys.argv[1])
    while True:
        bot.tick()
        bot.sleep(0.05)
'''
_ASYNC = '''
import asyncio, os, sys
sys.path.insert(0, {package!r})
from botops import AsyncBot

async def main():
    bot = AsyncBot("tested", mode="paper", address={address!r})
    async with bot:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        child = os.fork()
        if child == 0:
            os.write(1, b"%d\\n" % os.getpid())
            import time
            while True:
                time.sleep(0.05)
        while True:
            await asyncio.sleep(0.05)

asyncio.run(main())
'''


@unittest.skipUnless(hasattr(os, "fork"), "there is no fork here")
class WorkersTest(BotCase):
    def run_program(self, program, *arguments):
        path = self.folder / "program.py"
        path.write_text(program)
        parent = subprocess.Popen([sys.executable, str(path), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        self.addCleanup(parent.stderr.close)
        self.addCleanup(parent.stdout.close)
        self.addCleanup(parent.stdin.close)
        self.addCleanup(parent.wait)
        self.addCleanup(parent.kill)
        return parent

    def end(self, pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def is_refused(self):
        with socket.socket(socket.AF_UNIX) as one:
            try:
                one.connect(str(self.socket))
            except (ConnectionRefusedError, FileNotFoundError):
                return True
            return False

    def begin(self, begin, kind):
        program = _PROGRAM.format(package=PACKAGE, address=str(self.socket), begin=begin)
        parent = self.run_program(program, kind)
        worker = int(parent.stdout.readline())
        self.addCleanup(self.end, worker)
        return parent, worker

    def check(self, begin, kind):
        parent, worker = self.begin(begin, kind)
        self.assertNotEqual(parent.pid, worker)
        for number in range(5):
            self.assertEqual(self.client.get("hello")["pid"], parent.pid, kind)
            answer = self.client.command("pause", f"{kind} {number}")
            self.assertEqual(answer["message"], f"done by {parent.pid}", kind)
        state = self.client.get("state")
        self.assertFalse(state["orders"], kind)
        self.assertFalse(self.client.get("trades")["items"], kind)
        kept = self.client.connection()
        with contextlib.closing(kept):
            kept.request("GET", "/ipc/v1/hello")
            kept.getresponse().read()
            parent.kill()
            parent.wait()
            os.kill(worker, 0)
            # Who has a connection sees that the bot is gone, and nobody else answers in its place.
            with self.assertRaises((ConnectionError, http.client.HTTPException), msg=kind):
                kept.request("GET", "/ipc/v1/hello")
                kept.getresponse()
        self.until(self.is_refused, "nobody serves")
        os.kill(worker, 0)
        return parent, worker

    def test_a_worker_of_any_kind_neither_serves_nor_keeps_the_socket(self):
        for kind in ("os.fork", "fork"):
            with self.subTest(kind):
                _, worker = self.check(_GUARDED, kind)
                self.end(worker)

    def test_a_worker_that_reads_the_program_anew_does_not_start_what_it_finds_there(self):
        for kind in multiprocessing.get_all_start_methods():
            if kind == "fork":
                continue
            with self.subTest(kind):
                parent, worker = self.check(_UNGUARDED, kind)
                bot_after = self.make().start()
                self.until(lambda: not self.is_refused(), "the address is free for the next start")
                self.assertEqual(self.client.get("hello")["pid"], os.getpid())
                bot_after.stop()
                self.end(worker)
                self.assertIn("__main__", parent.stderr.read())

    def test_a_fork_of_an_event_loop_keeps_no_connection(self):
        parent = self.run_program(_ASYNC.format(package=PACKAGE, address=str(self.socket)))
        self.assertEqual(parent.stdout.readline(), "ready\n")
        kept = self.client.connection()
        with contextlib.closing(kept):
            kept.request("GET", "/ipc/v1/hello")
            kept.getresponse().read()
            parent.stdin.write("fork\n")
            parent.stdin.flush()
            worker = int(parent.stdout.readline())
            self.addCleanup(self.end, worker)
            kept.request("GET", "/ipc/v1/hello")
            self.assertEqual(kept.getresponse().read()[:1], b"{")
            parent.kill()
            parent.wait()
            with self.assertRaises((ConnectionError, http.client.HTTPException)):
                kept.request("GET", "/ipc/v1/hello")
                kept.getresponse()
            os.kill(worker, 0)
        self.until(self.is_refused, "nobody serves")
