"""What a signal handler says while its thread is within a call of the SDK."""
import subprocess
import sys
import textwrap

from client import BotCase
from test_events import PACKAGE, EventReader

# The handler says something every few hundred microseconds, within calls of the main thread; then `look` prints.
_PROGRAM = '''
import faulthandler, os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from botops import Bot
bot = Bot("tested", mode="paper", address=sys.argv[2]).start()
bot.positions([])
bot.orders([])
count = depth = 0
def handle(number, frame):
    # What takes longer than until the next signal is interrupted by itself.
    global count, depth
    if depth < 3:
        count, depth = count + 1, depth + 1
        say("handler", count)
        depth -= 1
def say(who, count):
    {say}
faulthandler.dump_traceback_later(20, exit=True)
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
rounds, end = 0, time.monotonic() + 1.5
while time.monotonic() < end:
    rounds += 1
    say("main", rounds)
signal.setitimer(signal.ITIMER_REAL, 0)
print("ready", flush=True)
sys.stdin.readline()
bot.stop()
'''


class SignalTest(BotCase):
    def run_program(self, say):
        program = _PROGRAM.replace("{say}", say)
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), PACKAGE, str(self.socket)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        def end():
            process.communicate("\n", timeout=30)
            self.assertEqual(process.returncode, 0)

        self.addCleanup(end)
        self.assertEqual(process.stdout.readline(), "ready\n", "the trading thread hangs")

    def test_a_trade_within_a_trade_does_not_hang(self):
        self.run_program('bot.trade(symbol=who)')
        self.assertTrue(self.client.get("trades")["items"])

    def test_an_order_within_an_order_leaves_the_state_whole(self):
        self.run_program('bot.order(f"{who}{count % 50}", status="PENDING", status_reason="x" * (count % 97))')
        self.assertTrue(self.client.get("state")["orders"])

    def test_an_event_within_an_event_keeps_the_order_of_numbers(self):
        self.run_program('bot.event("fill", who)')
        reader = EventReader(self.socket)
        self.addCleanup(reader.close)
        seen = []
        reader.socket.settimeout(1)
        try:
            while len(seen) < 20_000:
                id, event = reader.next()
                seen.append(event["seq"])
        except (TimeoutError, OSError):
            pass
        self.assertEqual(seen, list(range(seen[0], seen[0] + len(seen))))

    def test_a_sleep_within_a_sleep_does_not_hang(self):
        self.run_program('bot.sleep(0.0001 if who == "handler" else 0.001)')
        self.assertEqual(self.client.get("hello")["bot_id"], "tested")

    def test_a_round_within_a_sleep_does_not_hang(self):
        self.run_program('bot.tick() if who == "handler" else bot.sleep(0.001)')
        self.assertGreater(self.client.get("state")["loop"]["ticks"], 0)

    def test_a_stop_within_a_sleep_or_a_stop_ends(self):
        self.run_program('bot.stop() if who == "handler" else bot.sleep(0.001)')
        self.assertFalse(self.socket.exists())
