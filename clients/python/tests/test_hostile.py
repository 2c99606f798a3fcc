"""Values and calls that must neither raise into the trading code nor hold it up."""
import json
import time
from datetime import datetime
from decimal import Decimal

from client import BotCase

from botops import numbers, state


class HostileTest(BotCase):
    def assert_quick(self, call, what):
        begin = time.monotonic()
        call()
        self.assertLess(time.monotonic() - begin, 0.5, what)

    def test_a_number_of_absurd_size_takes_no_time(self):
        bot = self.make()
        for value in (Decimal("1E+100000"), Decimal("-1E+100000"), Decimal("1E-100000"), Decimal("sNaN"), Decimal("Inf"),
                      1 << 10_000_000, "9" * 1_000_000, float("inf"), float("nan")):
            self.assert_quick(lambda: bot.account(day_trade_count=value, balance=value), repr(type(value)))
            self.assert_quick(lambda: bot.order("1", status="PENDING", symbol=value, created_at=value), repr(type(value)))
            self.assert_quick(lambda: bot.error("E", str(value)[:5] if isinstance(value, str) else "", context=[value],
                                                message=value), repr(type(value)))

        class Whole:
            def __int__(self):
                return 7

            def __eq__(self, other):
                return other == 7

        for value, told in ((Whole(), "7"), (3, "3"), (Decimal("4"), "4"), ("5", "5"), (6.0, "6"), (0, "0")):
            bot.account(day_trade_count=value)
            self.assertEqual(bot._core.state.parts["account"]["day_trade_count"], told)

    def test_of_reasons_without_end_the_first_are_read(self):
        bot = self.make()
        self.assert_quick(lambda: bot.no_entry_reasons(range(10_000_000)), "a range")
        self.assertEqual(len(bot._core.state.no_entry_reasons), 50)
        bot.no_entry_reasons("news")
        self.assertEqual(len(bot._core.state.no_entry_reasons), 50)
        self.assertIn(("no_entry_reasons", "failed"), {(problem.where, problem.code) for problem in bot.problems})

    def test_rows_without_end_are_not_read_to_it(self):
        before, state._MOST_ROWS = state._MOST_ROWS, 20
        self.addCleanup(setattr, state, "_MOST_ROWS", before)
        bot, read = self.make(), []
        bot.positions([{"symbol": "A", "quantity": 1}])

        def rows():
            for number in range(1_000):
                read.append(number)
                yield {"symbol": f"S{number}", "quantity": 1}

        bot.positions(rows())
        self.assertEqual((len(read), bot._core.state._positions.bytes > 0), (21, True))
        self.assertEqual(list(bot._core.state._positions.entries), ['"A"'])

    def test_what_is_said_of_an_order_while_it_changes_is_kept(self):
        bot, moment_text = self.make(), numbers.moment_text
        bot.order("1", status="PENDING", quantity="2")

        def interrupted(seconds):
            numbers.moment_text = moment_text
            bot.order("1", status_reason="by the handler")
            return moment_text(seconds)

        numbers.moment_text = interrupted
        self.addCleanup(setattr, numbers, "moment_text", moment_text)
        bot.order("1", status="FILLED")
        order = bot._core.state._orders.entries['"1"'][0]
        self.assertEqual((order["status"], order["status_reason"]), ('"FILLED"', '"by the handler"'))

    def test_bytes_are_no_text(self):
        bot = self.make().start()
        bot.order("1", symbol=b"BTC", status_reason=b"why", side=b"buy")
        order = self.client.get("state")["orders"][0]
        self.assertEqual((order["symbol"], order["status_reason"]), (None, None))
        self.assertNotIn("b'", str(order))
        bot.position(b"ETH", quantity=1)
        self.assertFalse(self.client.get("state")["positions"])

    def test_one_mistake_in_many_orders_is_one_problem(self):
        bot = self.make().start()
        for number in range(300):
            bot.order(number, status="PENDING", created_at=datetime(2026, 1, 1), exchange="x")
        self.assertEqual({(problem.where, problem.code, problem.times) for problem in bot.problems},
                         {("orders.created_at", "naive_time", 300), ("orders.exchange", "unknown_field", 300)})
        self.assertEqual(self.client.get("state")["error_count_last_hour"], 2)

    def test_many_mistakes_leave_room_for_what_the_sdk_has_to_say(self):
        bot = self.make()
        for number in range(300):
            bot.order("1", **{f"field_{number}": 1})
        bot._core.problems.add("trades", "not_recorded", "the disk is full")
        self.assertIn("not_recorded", {problem.code for problem in bot.problems})

    def test_no_call_raises_into_the_trading_code(self):
        class Unreadable:
            def __bool__(self):
                raise TypeError("ambiguous")

        class Nameless(Exception):
            def __str__(self):
                raise RuntimeError("no text")

        def rows():
            raise Nameless()
            yield

        bot = self.make().start()
        bot.trading_enabled = True
        bot.trading_enabled = Unreadable()
        self.assertFalse(bot.trading_enabled)
        bot.positions(rows())
        found = {(problem.where, problem.code) for problem in bot.problems}
        self.assertLessEqual({("trading_enabled", "bad_value"), ("positions", "failed")}, found)

        def wake():
            raise RuntimeError("event loop is closed")

        bot._core.events.add_waker(wake)
        bot.error("E", "an error")
        bot.order("1", unknown="x")
        bot.event("fill", "a fill")
        bot._core.problems.on_first = lambda problem: wake()
        bot.orders(7)
        bot.orders(iter([{"id": 1}]))

    def test_the_state_stays_below_what_botops_takes(self):
        bot = self.make().start()
        for number in range(3_500):
            bot.order(number, status="PENDING", symbol="A")
        for number in range(3_500):
            bot.order(number, status_reason="x" * 2_000, status="FILLED" if number == 3_400 else "PENDING")
        for number in range(40):
            bot.error("E", "c" * 2_000, context={"book": ["x" * 2_000] * 30})
        status, _, body = self.client.send("GET", "state")
        self.assertEqual(status, 200)
        self.assertLess(len(body), 8 * 1024 * 1024)
        state = json.loads(body)
        told = {order["id"]: order for order in state["orders"]}
        self.assertEqual((len(told), told["3400"]["status"], bot.dropped.get("orders", 0)), (3_500, "FILLED", 0))
        self.assertEqual((told["0"]["status_reason"], told["3499"]["status_reason"]), ("x" * 2_000, None))
        self.assertGreaterEqual(len(state["recent_errors"]), 1)
        # One more says that botops shows 2,000 of these orders.
        self.assertEqual(state["error_count_last_hour"], 41)
