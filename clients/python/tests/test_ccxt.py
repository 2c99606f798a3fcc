"""Orders and positions in ccxt's form."""

from client import BotCase

from botops.ccxt import order_fields, position_fields


class CcxtTest(BotCase):
    def test_orders_and_positions_of_ccxt(self):
        bot = self.make().start()
        order = {"id": "7", "clientOrderId": None, "symbol": "BTC/USDT", "side": "buy", "type": "limit", "amount": 0.1,
                 "filled": 0.0, "price": 42000.5, "average": None, "status": "open", "timestamp": 1772463600000}
        bot.orders(map(order_fields, [order, {**order, "id": "8", "filled": 0.05}, {**order, "id": "9", "status": "closed"},
                                      {**order, "id": "10", "status": "canceled", "type": "market"},
                                      {**order, "id": "11", "status": "triggered"}]))
        position = {"symbol": "BTC/USDT:USDT", "contracts": 3.0, "contractSize": 0.001, "side": "short", "entryPrice": 42000.5,
                    "markPrice": 42100.0, "unrealizedPnl": -0.2985, "percentage": None, "leverage": 5.0,
                    "liquidationPrice": 50000.0}
        bot.positions([position_fields(position)])
        state = self.client.get("state")
        found = {one["id"]: one for one in state["orders"]}
        self.assertEqual({id: one["status"] for id, one in found.items()},
                         {"7": "PENDING", "8": "PARTIALLY_FILLED", "9": "FILLED", "10": "CANCELLED", "11": "OTHER"})
        self.assertEqual((found["7"]["limit_price"], found["7"]["created_at"]), ("42000.5", "2026-03-02T15:00:00Z"))
        self.assertEqual((found["10"]["order_type"], found["10"]["limit_price"], found["11"]["status_raw"]),
                         ("MARKET", None, "triggered"))
        shown = state["positions"][0]
        self.assertEqual((shown["quantity"], shown["unrealized_pl"], shown["unrealized_pl_pct"]), ("-0.0030", "-0.2985", None))
        self.assertEqual(bot.problems, [])
