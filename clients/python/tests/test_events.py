"""Events and closed trades over the socket."""
import json
import pathlib
import socket
import subprocess
import sys
import threading

from client import BotCase


PACKAGE = str(pathlib.Path(__file__).resolve().parents[1])


class EventReader:
    """Reads the event stream as it comes."""

    def __init__(self, path, last_event_id=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        resume = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id else ""
        self.socket.sendall(f"GET /ipc/v1/events HTTP/1.1\r\nHost: bot\r\n{resume}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = self.file.readline()
        while self.file.readline().strip():
            pass

    def next(self):
        """(id, event)."""
        id = None
        while True:
            line = self.file.readline().decode()
            if line.startswith("id: "):
                id = line[4:].strip()
            if line.startswith("data: "):
                return id, json.loads(line[6:])

    def close(self):
        self.file.close()
        self.socket.close()


class EventsTest(BotCase):
    def reader(self, last=None):
        reader = EventReader(self.socket, last)
        self.addCleanup(reader.close)
        return reader

    def test_events_come_as_they_happen_and_go_on_where_a_reader_was(self):
        bot = self.make().start()
        epoch = self.client.get("hello")["boot_epoch"]
        reader = self.reader()
        id, event = reader.next()
        self.assertEqual((id, event["kind"], event["message"]), (f"{epoch}/1", "lifecycle", "tested started"))
        bot.event("fill", "bought 1 A", data={"price": "12.50", "symbol": "A"})
        id, event = reader.next()
        self.assertEqual((event["seq"], event["boot_epoch"], event["kind"], event["severity"]), (2, epoch, "fill", "low"))
        self.assertEqual(event["data"], {"price": "12.50", "symbol": "A"})
        bot.error("EXC_001", "the exchange is away", "no order passes", "Wait.", severity="high", context={"n": 1})
        id, event = reader.next()
        self.assertEqual((event["kind"], event["severity"], event["error"]["error_code"]), ("error", "high", "EXC_001"))
        bot.event("signal", "a kind of its own")
        again = self.reader(f"{epoch}/3")
        _, event = again.next()
        self.assertEqual((event["seq"], event["kind"], event["kind_raw"]), (4, "other", "signal"))
        _, event = self.reader("another-epoch/3").next()
        self.assertEqual(event["seq"], 1, "a reader of another start gets all that is kept")
        _, event = self.reader(f"{epoch}/999999999999999999").next()
        self.assertEqual(event["seq"], 1, "and so does one with a number that was never given")

    def test_failures_are_in_the_state(self):
        bot = self.make().start()
        for number in range(60):
            bot.error(f"E_{number}", cause="why", impact="what", remediation="then", severity="low")
        bot.error("LAST", severity="critical")
        state = self.client.get("state")
        self.assertEqual((len(state["recent_errors"]), state["error_count_last_hour"]), (50, 61))
        newest = state["recent_errors"][0]
        self.assertEqual((newest["error_code"], newest["message"], state["worst_error_last_hour"]), ("LAST", "LAST", "critical"))
        self.assertTrue(newest["timestamp"])

    def test_details_that_are_too_large_are_left_out_and_the_event_comes(self):
        bot = self.make().start()
        bot.event("order", "with a whole order book", data={"bids": [["1" * 1_900] * 900] * 900})
        bot.error("LARGE", context={str(number): "x" * 1_900 for number in range(900)})
        reader = self.reader()
        found = [reader.next()[1] for _ in range(2)]
        found += [reader.next()[1] for _ in range(3)]
        events = {event["message"]: event for event in found}
        self.assertIn("left_out", events["with a whole order book"]["data"])
        self.assertIn("left_out", events["LARGE"]["error"]["context"])
        self.assertLess(max(len(json.dumps(event)) for event in found), 256 * 1024)
        self.assertIn("too_large", {problem.code for problem in bot.problems})

    def test_many_threads_may_speak_at_once(self):
        bot = self.make().start()
        ends = threading.Event()
        failed = []

        def speak(name):
            try:
                number = 0
                while not ends.is_set():
                    number += 1
                    bot.order(f"{name}-{number % 50}", status="FILLED" if number % 3 else "PENDING", quantity=number)
                    bot.position(f"{name}-{number % 7}", quantity=number % 5)
                    bot.error(name, cause="x")
                    bot.tick()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=speak, args=(f"t{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(60):
                state = self.client.get("state")
                self.assertEqual(len({order["id"] for order in state["orders"] or []}), len(state["orders"] or []))
        finally:
            ends.set()
            for thread in threads:
                thread.join()
        self.assertEqual((failed, bot.problems), ([], []))

    def test_a_reader_that_stands_still_costs_the_bot_nothing(self):
        bot = self.make().start()
        self.reader()
        for number in range(20_000):
            bot.event("order", "x" * 500)
        reader = self.reader()
        _, event = reader.next()
        self.assertGreater(event["seq"], 1, "old events make room")
        self.assertEqual(self.client.get("hello")["bot_id"], "tested")


class TradesTest(BotCase):
    def trade(self, bot, number):
        bot.trade(id=number, symbol="A", side="BUY", quantity="1", entry_price="10.00", exit_price="10.50",
                  opened_at="2026-03-02T15:00:00Z", closed_at=f"2026-03-02T15:{number:02}:00Z", gross_pl="0.50",
                  commission="0.10", net_pl="0.40", outcome="win")

    def items(self, after=0, more=""):
        return self.client.get(f"trades?after={after}{more}")

    def test_numbers_go_on_over_a_restart(self):
        bot = self.make().start()
        for number in range(1, 4):
            self.trade(bot, number)
        page = self.until(lambda: len((page := self.items())["items"]) == 3 and page)
        self.assertEqual(([one["seq"] for one in page["items"]], page["next"]), ([1, 2, 3], None))
        self.assertEqual(page["items"][0]["net_pl"], "0.40")
        epoch = page["items"][0]["boot_epoch"]
        bot.stop()
        journal = next(self.folder.rglob("trades.jsonl"))
        with open(journal, "ab") as file:
            file.write(b'{"seq":4,"cut off')
        second = self.make().start()
        self.trade(second, 4)
        page = self.until(lambda: len((page := self.items(3))["items"]) == 1 and page)
        self.assertEqual(page["items"][0]["seq"], 4)
        self.assertNotEqual(page["items"][0]["boot_epoch"], epoch)
        self.assertEqual(len(self.items()["items"]), 4)

    def test_pages_and_times(self):
        bot = self.make().start()
        for number in range(10):
            self.trade(bot, number)
        self.until(lambda: len(self.items()["items"]) == 10)
        page = self.items(2, "&limit=3")
        self.assertEqual(([one["seq"] for one in page["items"]], page["next"]), ([3, 4, 5], 5))
        page = self.items(8, "&limit=2")
        self.assertEqual(([one["seq"] for one in page["items"]], page["next"]), ([9, 10], None))
        self.assertEqual(self.items(10), {"items": [], "next": None})
        page = self.items(0, "&from=2026-03-02T15:03:00Z&to=2026-03-02T15:06:00Z&limit=2")
        self.assertEqual(([one["seq"] for one in page["items"]], page["next"]), ([4, 5], 5))
        self.assertEqual(self.client.send("GET", "trades?after=x")[0], 400)
        self.assertEqual(self.client.send("GET", "trades?from=yesterday")[0], 400)

    def test_without_a_folder_numbers_never_come_twice(self):
        seen = []
        for _ in range(2):
            bot = self.make(data_dir=False).start()
            self.trade(bot, 1)
            page = self.until(lambda: (page := self.items())["items"] and page)
            seen.append(page["items"][0]["seq"])
            bot.stop()
        self.assertGreater(seen[1], seen[0])

    def test_a_folder_that_cannot_be_used_stops_no_bot(self):
        blocked = self.folder / "file"
        blocked.write_text("not a folder")
        bot = self.make(data_dir=blocked / "data").start()
        bot.account(balance=1)
        self.trade(bot, 1)
        self.assertEqual(self.client.get("state")["account"]["account_balance"], "1")
        self.assertIn(("data_dir", "unusable"), {(problem.where, problem.code) for problem in bot.problems})

    def test_two_processes_never_write_one_journal(self):
        first = self.make().start()
        other = self.folder / "other/bot.sock"
        second = self.make(address=other, data_dir=next(self.folder.rglob("tested-data"))).start()
        self.trade(first, 1)
        self.until(lambda: self.items()["items"])
        self.trade(second, 2)
        self.assertIn(("data_dir", "in_use"), {(problem.where, problem.code) for problem in second.problems})
        from client import Client
        there = Client(other)
        self.assertEqual(there.get("trades")["items"], [])
        first.stop()
        page = self.until(lambda: len((page := there.get("trades"))["items"]) == 2 and page)
        self.assertEqual([one["id"] for one in page["items"]], ["1", "2"])

    def test_a_full_disk_loses_no_trade_and_no_number(self):
        code = f"""
import resource, signal, sys, time
sys.path.insert(0, {PACKAGE!r})
from botops import Bot
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
bot = Bot("tested", mode="paper", address={str(self.socket)!r}).start()
bot.trade(id=0, symbol="A")
time.sleep(0.3)
# As on a full disk: files may grow to 1,000 bytes.
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
for number in range(1, 21):
    bot.trade(id=number, symbol="A", entry_reason="x" * 50)
    time.sleep(0.02)
end = time.monotonic() + 20
while ("trades", "not_recorded") not in [(one.where, one.code) for one in bot.problems] and time.monotonic() < end:
    time.sleep(0.05)
assert ("trades", "not_recorded") in [(one.where, one.code) for one in bot.problems], bot.problems
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
bot.trade(id=21, symbol="A")
bot.stop()
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        self.make().start()
        items = self.items(0, "&limit=100")["items"]
        self.assertEqual([(one["seq"], one["id"]) for one in items], [(number + 1, str(number)) for number in range(22)])

    def test_a_bot_without_a_journal_says_so(self):
        self.make(trades=False).start()
        self.assertNotIn("trades", self.client.get("hello")["capabilities"])
        self.assertEqual(self.client.send("GET", "trades")[0], 404)
        self.assertIsInstance(self.folder, pathlib.Path)
