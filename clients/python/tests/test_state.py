"""What a bot says, and how it is read over its socket."""
import json
import os
import stat
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from client import BotCase


class StateTest(BotCase):
    def test_hello_names_the_process_and_only_what_it_can_do(self):
        bot = self.make(name="Tested bot", version="1.2")
        bot.on("pause")(lambda command: None)
        bot.start()
        hello = self.client.get("hello")
        self.assertEqual((hello["contract"], hello["bot_id"], hello["name"]), (2, "tested", "Tested bot"))
        self.assertEqual((hello["version"], hello["mode"], hello["pid"]), ("1.2", "paper", os.getpid()))
        self.assertEqual(hello["capabilities"], ["pause", "command-status", "events", "trades"])
        self.assertTrue(hello["boot_epoch"])
        datetime.fromisoformat(hello["started_at"].replace("Z", "+00:00"))

    def test_only_the_owner_reaches_the_socket(self):
        self.make().start()
        self.assertEqual(stat.S_IMODE(os.stat(self.socket).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.socket.parent).st_mode), 0o700)

    def test_every_digit_arrives_as_it_was_given(self):
        bot = self.make().start()
        bot.account(balance=Decimal("1000.10"), currency="USDT", cash="0.00000001", buying_power=0.1)
        bot.position("BTC/USDT:USDT-261225", quantity=Decimal("1E-8"), entry_price="42000.50", current_price=43000)
        bot.order(id=12345678901234567890, symbol="BTC/USDT", side="buy", order_type="LIMIT", quantity=1e-7,
                  limit_price=Decimal("123456789012345678901234567890.10"), status="PENDING")
        state = self.client.get("state")
        account = state["account"]
        self.assertEqual((account["account_balance"], account["cash_balance"], account["buying_power"]),
                         ("1000.10", "0.00000001", "0.1"))
        position = state["positions"][0]
        self.assertEqual((position["symbol"], position["quantity"], position["entry_price"], position["current_price"]),
                         ("BTC/USDT:USDT-261225", "0.00000001", "42000.50", "43000"))
        order = state["orders"][0]
        self.assertEqual((order["id"], order["side"], order["quantity"], order["limit_price"]),
                         ("12345678901234567890", "BUY", "1e-07", "123456789012345678901234567890.10"))
        self.assertEqual(bot.problems, [])

    def test_bad_values_are_null_and_told_and_never_raised(self):
        bot = self.make().start()
        bot.account(balance=float("nan"), cash="12,50", buying_power=True, currency="USD", colour="red")
        bot.order(id=1, quantity=object(), status="PENDING")
        bot.position("", quantity=None)
        bot.positions(7)
        bot.order(None, status="PENDING")
        bot.performance(win_rate=float("inf"), trades_today=-1)
        state = self.client.get("state")
        self.assertEqual([state["account"][name] for name in ("account_balance", "cash_balance", "buying_power")], [None] * 3)
        self.assertIsNone(state["orders"][0]["quantity"])
        unknown = {item["field"]: item for item in state["unknown"]}
        for field in ("account.account_balance", "account.cash_balance", "account.buying_power", "orders.quantity",
                      "performance.win_rate", "performance.trades_today"):
            self.assertIn("bad value", unknown[field]["why_raw"], field)
        codes = {(problem.where, problem.code) for problem in bot.problems}
        self.assertIn(("account.colour", "unknown_field"), codes)
        self.assertIn(("orders.id", "no_key"), codes)
        said = {problem.where: problem.message for problem in bot.problems}
        self.assertTrue(said["account.account_balance"].endswith("; NaN came"), said)
        self.assertTrue(said["performance.win_rate"].endswith("; an infinite number came"), said)
        self.assertTrue(said["account.cash_balance"].endswith("; a value of type str came"), said)
        errors = {error["error_code"] for error in state["recent_errors"]}
        self.assertIn("SDK_BAD_VALUE", errors)
        # The argument is named as it was written, where the field has another name.
        self.assertTrue(said["account.account_balance"].startswith("`balance=`: "), said)
        self.assertTrue(said["account.cash_balance"].startswith("`cash=`: "), said)
        self.assertFalse(said["performance.win_rate"].startswith("`"), said)
        messages = [error["message"] for error in state["recent_errors"]]
        self.assertTrue([one for one in messages if one.startswith("account.account_balance: `balance=`: ")], messages)
        bot.account(balance="5")
        unknown = {item["field"] for item in self.client.get("state")["unknown"]}
        self.assertNotIn("account.account_balance", unknown, "it is known again")

    def test_what_is_not_known_is_null(self):
        bot = self.make().start()
        state = self.client.get("state")
        self.assertIsNone(state["positions"])
        self.assertIsNone(state["orders"])
        self.assertIsNone(state["trading_enabled"])
        self.assertEqual(state["phase"], "starting")
        why = {item["field"]: item["why"] for item in state["unknown"]}
        self.assertEqual((why["positions"], why["performance"]), ("not_yet", "not_reported"))
        bot.positions([])
        bot.order(id="1", limit_price=None)
        state = self.client.get("state")
        self.assertEqual(state["positions"], [])
        self.assertIsNone(state["orders"][0]["limit_price"])

    def test_times_have_a_zone_and_a_naive_one_is_said(self):
        bot = self.make().start()
        east = datetime(2026, 3, 2, 17, 0, tzinfo=timezone(timedelta(hours=2)))
        bot.market(last_price_at=east, market_time=datetime(2026, 3, 2, 15, 0), next_open=1772463600000,
                   next_close="2026-03-02T15:00:00")
        market = self.client.get("state")["market"]
        self.assertEqual(market["last_price_at"], "2026-03-02T15:00:00Z")
        self.assertEqual(market["market_time"], "2026-03-02T15:00:00Z")
        self.assertEqual(market["next_open"], "2026-03-02T15:00:00Z")
        self.assertEqual(market["next_close"], "2026-03-02T15:00:00Z")
        naive = [problem.where for problem in bot.problems if problem.code == "naive_time"]
        self.assertEqual(naive, ["market.market_time", "market.next_close"])

    def test_a_word_of_its_own_stays(self):
        bot = self.make().start()
        bot.order(id=1, order_type="ICEBERG", status="half done", side="sell")
        order = self.client.get("state")["orders"][0]
        self.assertEqual((order["order_type"], order["order_type_raw"]), ("OTHER", "ICEBERG"))
        self.assertEqual((order["status"], order["status_raw"], order["side"]), ("OTHER", "half done", "SELL"))
        bot.order(id=1, status="canceled")
        order = self.client.get("state")["orders"][0]
        self.assertEqual(order["status"], "CANCELLED")
        self.assertNotIn("status_raw", order)

    def test_a_price_opens_no_position(self):
        bot = self.make().start()
        bot.position("A", quantity=1, entry_price=10)
        bot.position("A", quantity=0)
        bot.position("A", current_price=11)
        self.assertEqual(self.client.get("state")["positions"], [])
        self.assertEqual([problem.code for problem in bot.problems], ["not_open"])
        bot.position("A", quantity=None, current_price=11)
        self.assertEqual(self.client.get("state")["positions"][0]["quantity"], None, "it is there, and how much is not known")

    def test_a_list_that_cannot_be_read_whole_is_not_known(self):
        bot = self.make().start()
        told = lambda: self.client.get("state")
        why = lambda state: {item["field"]: item.get("why_raw", item["why"]) for item in state["unknown"]}
        for name, say, good, bad in (("positions", bot.positions, {"symbol": "A", "quantity": 1}, {"symbol": "B", "quantity": 2}),
                                     ("orders", bot.orders, {"id": "1"}, {"id": "2"})):
            say([good])
            self.assertEqual(len(told()[name]), 1)
            say([bad, None])
            state = told()
            self.assertIsNone(state[name], "neither what was before nor a part of it is what there is now")
            self.assertIn("number 1 of the list, got NoneType", why(state)[name])
            say([good, {"colour": "red"}])
            state = told()
            self.assertIsNone(state[name], "one of them has no key")
            self.assertIn("is not told", why(state)[name])
            say(7)
            self.assertIn("got int", why(told())[name])
            say([bad])
            state = told()
            self.assertEqual((len(state[name]), name in why(state)), (1, False), "it is known again")

    def test_a_position_whose_quantity_has_another_name_is_not_none(self):
        bot = self.make().start()
        bot.positions([])
        bot.position("A", qty=3)
        state = self.client.get("state")
        self.assertIsNone(state["positions"], "there is one")
        self.assertIn("qty", str(state["unknown"]))
        bot.position("A", quantity=3)
        self.assertEqual(self.client.get("state")["positions"][0]["quantity"], "3")
        bot.position("B", qty=3)
        bot.remove_position("B")
        self.assertEqual(len(self.client.get("state")["positions"]), 1)

    def test_given_fields_change_and_others_stay(self):
        bot = self.make().start()
        bot.position("A", quantity=1, entry_price=10)
        bot.position("B", quantity=2)
        bot.position("A", current_price=11)
        self.assertEqual(self.client.get("state")["positions"][0]["entry_price"], "10")
        bot.position("A", quantity="0.000")
        self.assertEqual([one["symbol"] for one in self.client.get("state")["positions"]], ["B"])
        bot.orders([{"id": 1, "status": "PENDING"}, {"id": 2, "status": "PENDING"}])
        bot.orders([{"id": 2, "status": "FILLED"}, {"id": 3, "status": "PENDING"}])
        self.assertEqual([one["id"] for one in self.client.get("state")["orders"]], ["3", "2"], "newest first")

    def test_an_unchanged_state_is_not_sent_again(self):
        bot = self.make().start()
        bot.account(balance=1)
        _, headers, first = self.client.send("GET", "state")
        status, _, body = self.client.send("GET", "state", headers={"If-None-Match": headers["ETag"]})
        self.assertEqual((status, body), (304, b""))
        bot.tick()
        status, again, second = self.client.send("GET", "state", headers={"If-None-Match": headers["ETag"]})
        self.assertEqual(status, 200)
        self.assertNotEqual(again["ETag"], headers["ETag"])
        self.assertGreater(json.loads(second)["seq"], json.loads(first)["seq"])

    def test_the_loop_is_told_and_as_of_is_what_the_bot_said_last(self):
        bot = self.make(expected_interval=5).start()
        before = self.client.get("state")
        self.assertIsNone(before["loop"]["last_tick_at"])
        bot.tick()
        bot.tick()
        state = self.client.get("state")
        self.assertEqual((state["loop"]["ticks"], state["loop"]["expected_interval_s"]), (2, 5.0))
        self.assertIsNotNone(state["loop"]["tick_delay_p99_ms"])
        self.assertEqual((state["phase"], state["trading_enabled"]), ("running", True))
        self.assertEqual(self.client.get("state")["as_of"], state["as_of"], "asking makes nothing newer")

    def test_many_orders_fit_and_what_does_not_is_counted(self):
        bot = self.make().start()
        for number in range(10_000):
            bot.order(number, symbol="BTC/USDT", side="BUY", quantity="1", status="PENDING")
        self.assertEqual(len(self.client.get("state")["orders"]), 10_000)
        bot.orders([])
        for number in range(7):
            bot.order(number, status_reason="x" * 2_000, client_order_id="y" * 2_000, symbol="z" * 2_000,
                      status="PENDING")
        for number in range(2_000):
            bot.order(f"long {number}", status_reason="x" * 2_000, client_order_id="y" * 2_000, status="PENDING")
        _, _, body = self.client.send("GET", "state")
        self.assertLess(len(body), 8 * 1024 * 1024)
        self.assertEqual(len(json.loads(body)["orders"]) + bot.dropped["orders"], 2_007)
        self.assertIn(("orders", "dropped"), {(problem.where, problem.code) for problem in bot.problems})

    def test_what_botops_does_not_show_is_told_with_its_count_and_what_to_do(self):
        bot = self.make().start()
        bot.orders([{"id": number, "status": "PENDING"} for number in range(2_000)])
        bot.positions([])
        self.assertFalse(bot.problems)
        bot.orders([{"id": number, "status": "PENDING"} for number in range(20_000)])
        state = self.client.get("state")
        why = {one["field"]: one.get("why_raw") for one in state["unknown"]}
        self.assertEqual((len(state["orders"]), why.get("orders.rest")),
                         (20_000, "2000 of 20000 shown: tell open ones, forget others"))
        self.assertLessEqual(len(why["orders.rest"]), 64, "botops shows no more of it")
        told = state["recent_errors"][0]
        self.assertEqual((told["error_code"], told["message"]), (
            "SDK_LEFT_OUT", "orders: 20000 are told, and botops shows the newest 2000 of them; it counts the other 18000"))
        self.assertIn("bot.remove_order", told["remediation"])
        bot.orders([{"id": number, "status": "PENDING"} for number in range(3)])
        self.assertNotIn("orders.rest", {one["field"] for one in self.client.get("state")["unknown"]})

    def test_what_has_no_room_is_told_with_its_count(self):
        bot = self.make().start()
        rows = [{"id": f"{number:05}", "client_order_id": "y" * 2_000, "symbol": "z" * 2_000, "status": "PENDING"}
                for number in range(1_990)]
        for _ in range(2):
            # The same again is no more of them.
            bot.orders(rows)
        state = self.client.get("state")
        shown = len(state["orders"])
        self.assertLess(shown, 1_990)
        told = {problem.code: problem.message for problem in bot.problems}
        self.assertEqual(told["dropped"], f"{shown} of 1990 fit into one answer (7 MiB); the others are not told")
        why = {one["field"]: one.get("why_raw") for one in state["unknown"]}
        self.assertEqual(why.get("orders.rest"), f"{shown} of 1990 shown: tell open ones, forget others")

    def test_a_field_that_is_none_is_told_with_the_near_one(self):
        bot = self.make().start()
        bot.order("1", symbol="A", qty="1", prise="2", quantty="3", colour="red")
        bot.position("A", quantity="1", entryPrice="2", mark_price="3")
        bot.trade(symbol="A", pnl="1")
        bot.account(ballance="1000")
        said = {problem.where: problem.message for problem in bot.problems}
        for where, near in (("orders.qty", "quantity"), ("orders.prise", "price"), ("orders.quantty", "quantity"),
                            ("positions.entryPrice", "entry_price"), ("positions.mark_price", "current_price"),
                            ("trade.pnl", "net_pl"), ("account.ballance", "balance")):
            self.assertIn(f"did you mean `{near}`?", said[where])
        self.assertNotIn("did you mean", said["orders.colour"])
        self.assertIn("the fields are id, client_order_id, symbol", said["orders.colour"])

    def test_orders_that_are_over_do_not_pile_up(self):
        bot = self.make().start()
        for number in range(300):
            bot.order(number, status="PENDING")
            bot.order(number, status="FILLED")
        bot.order("open", status="PENDING")
        orders = self.client.get("state")["orders"]
        self.assertEqual((len(orders), orders[0]["id"], orders[-1]["id"]), (201, "open", "100"))

    def test_text_of_any_kind_is_json(self):
        bot = self.make().start()
        bot.order("a\"b\\\n\x00", status_reason="broken \ud800 half", symbol="日本/円")
        order = self.client.get("state")["orders"][0]
        self.assertEqual((order["id"], order["symbol"]), ("a\"b\\\n\x00", "日本/円"))
        self.assertEqual(order["status_reason"], "broken ? half")

    def test_what_cannot_be_a_bot_is_refused_at_once(self):
        for options in ({"mode": "real"}, {"bot_id": "-x"}, {"bot_id": ""}, {"address": "0.0.0.0:80"}, {"address": "http://8.8.8.8:80"},
                        {"address": "127.0.0.1:9100"}, {"address": "/" + "x" * 200}):
            given = {"bot_id": "tested", "mode": "paper", "address": self.socket, **options}
            from botops import Bot
            with self.assertRaises(ValueError, msg=options):
                Bot(given.pop("bot_id"), **given)

    def test_paths_and_methods_that_are_none_are_refused(self):
        self.make().start()
        for method, path, status, code in (("GET", "nothing", 404, "unknown_path"), ("POST", "state", 405, "unknown_method"),
                                           ("GET", "config", 404, "not_capable")):
            answered, _, body = self.client.send(method, path, b"{}" if method == "POST" else None)
            self.assertEqual((answered, json.loads(body)["code"]), (status, code))
