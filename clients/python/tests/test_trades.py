"""The journal of trades: pages within a time, and files that go away."""
import shutil

from client import BotCase

from botops import trades


class TradePageTest(BotCase):
    def fill(self, bot):
        for number in range(9):
            bot.trade(symbol=f"S{number}", closed_at=1_772_463_600 + 60 * number)

    def pages(self, query, wanted):
        """The symbols of all pages, one list for each."""
        found, after = [], 0
        while after is not None:
            page = self.client.get(f"trades?after={after}&{query}")
            found.append([trade["symbol"] for trade in page["items"]])
            after = page["next"]
        self.assertEqual(sum(found, []), wanted)
        return found

    def check(self, **options):
        self.addCleanup(setattr, trades, "_MOST_SCANNED", trades._MOST_SCANNED)
        trades._MOST_SCANNED = 3
        bot = self.make(**options).start()
        self.fill(bot)
        self.until(lambda: len(self.client.get("trades")["items"]) == 9)
        pages = self.pages("from=2026-03-02T15:04:00Z", ["S4", "S5", "S6", "S7", "S8"])
        self.assertEqual(pages, [[], ["S4", "S5"], ["S6", "S7", "S8"]])
        self.assertEqual(self.pages("from=2026-03-02T15:04:00Z&limit=1", ["S4", "S5", "S6", "S7", "S8"])[0], [])
        self.pages("to=2026-03-02T15:00:30Z", ["S0"])
        self.assertEqual(len(self.pages("limit=4", [f"S{number}" for number in range(9)])), 3)

    def test_one_answer_looks_through_so_many_and_says_where_to_go_on(self):
        self.check()

    def test_without_a_folder_too(self):
        self.check(data_dir=False)

    def test_a_journal_that_was_removed_is_told_and_loses_nothing_unsaid(self):
        bot = self.make().start()
        bot.trade(symbol="A")
        self.until(lambda: self.client.get("trades")["items"])
        shutil.rmtree(self.folder / "ipc/tested-data")
        bot.trade(symbol="B")
        self.until(lambda: "not_recorded" in {problem.code for problem in bot.problems})
        status, _, _ = self.client.send("GET", "trades")
        self.assertEqual(status, 503)
        self.assertNotIn("sdk", {problem.where for problem in bot.problems})

    def test_a_journal_that_was_removed_while_the_disk_was_full_gives_no_number_twice(self):
        bot = self.make()
        bot.start()
        bot.trade(symbol="A", net_pl="1")
        self.until(lambda: self.client.get("trades")["items"])
        file, log = next(self.folder.rglob("trades.jsonl")), bot._core.trades
        # As a failed write leaves it: closed, to be opened with the next one.
        log._file._file.close()
        log._file._file = None
        aside = file.with_name("aside")
        file.rename(aside)
        bot.trade(symbol="B", net_pl="1")
        self.until(lambda: any(one.code == "not_recorded" for one in bot.problems))
        said = {one.code: one.message for one in bot.problems}["not_recorded"]
        self.assertIn(f"{file} was removed or replaced", said)
        self.assertIn("put that file back", said)
        self.assertFalse(file.exists())
        aside.rename(file)
        self.until(lambda: [trade["seq"] for trade in self.client.get("trades")["items"]] == [1, 2])
