#!/usr/bin/env python3
"""An exchange that trades nothing: the public part of a spot REST API, on loopback, for a freqtrade in dry run.

    exchange_stand_in.py [--port N] [--swing F] [BASE/QUOTE=PRICE ...]

It prints its address first. Prices stand still unless `--swing` moves them (0.01 is one per cent up and down within the
hour) or somebody sets one: `POST /price?symbol=BTCUSDT&price=61000`. The order book is one unit wide around the price."""
import argparse
import decimal
import json
import math
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

PAIRS = ["BTC/USDT=60000", "ETH/USDT=3000", "SOL/USDT=150"]
SECONDS = {"1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14400, "1d": 86400}
CENT = decimal.Decimal("0.01")


class Market:
    """The pairs and their prices."""

    def __init__(self, pairs, swing):
        self.swing = swing
        self.lock = threading.Lock()
        self.prices, self.names = {}, {}
        for pair in pairs:
            name, _, price = pair.partition("=")
            base, _, quote = name.partition("/")
            self.names[base + quote] = (base, quote)
            self.prices[base + quote] = decimal.Decimal(price)

    def set_price(self, symbol, price):
        with self.lock:
            self.prices[symbol] = decimal.Decimal(price)

    def price(self, symbol, at=None):
        with self.lock:
            price = self.prices[symbol]
        if self.swing:
            wave = math.sin((time.time() if at is None else at) / 600)
            price *= decimal.Decimal(1 + self.swing * wave)
        return price.quantize(CENT)

    def exchange_info(self):
        symbols = []
        for symbol, (base, quote) in self.names.items():
            symbols.append({
                "symbol": symbol, "status": "TRADING", "baseAsset": base, "baseAssetPrecision": 8, "quoteAsset": quote,
                "quotePrecision": 8, "quoteAssetPrecision": 8, "orderTypes": ["LIMIT", "MARKET", "STOP_LOSS_LIMIT"],
                "icebergAllowed": True, "ocoAllowed": True, "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
                "permissions": ["SPOT"], "permissionSets": [["SPOT"]], "allowedSelfTradePreventionModes": ["NONE"],
                "filters": [
                    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
                    {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
                    {"filterType": "NOTIONAL", "minNotional": "5", "applyMinToMarket": True, "maxNotional": "9000000",
                     "applyMaxToMarket": False, "avgPriceMins": 5}]})
        return {"timezone": "UTC", "serverTime": int(time.time() * 1000), "rateLimits": [], "exchangeFilters": [],
                "symbols": symbols}

    def ticker(self, symbol):
        price, now = self.price(symbol), int(time.time() * 1000)
        text = str(price)
        return {"symbol": symbol, "priceChange": "0", "priceChangePercent": "0", "weightedAvgPrice": text,
                "prevClosePrice": text, "lastPrice": text, "lastQty": "1", "bidPrice": str(price - CENT), "bidQty": "10",
                "askPrice": str(price + CENT), "askQty": "10", "openPrice": text, "highPrice": text, "lowPrice": text,
                "volume": "1000", "quoteVolume": "60000000", "openTime": now - 86400000, "closeTime": now,
                "firstId": 1, "lastId": 2, "count": 2}

    def book(self, symbol):
        price = self.price(symbol)
        return {"lastUpdateId": 1, "bids": [[str(price - CENT * step), "5"] for step in range(1, 21)],
                "asks": [[str(price + CENT * step), "5"] for step in range(1, 21)]}

    def candles(self, symbol, interval, limit, start):
        step = SECONDS[interval]
        end = int(time.time()) // step * step
        at = end - (limit - 1) * step if start is None else start // 1000 // step * step
        found = []
        while at <= end and len(found) < limit:
            opened, closed = self.price(symbol, at), self.price(symbol, at + step)
            found.append([at * 1000, str(opened), str(max(opened, closed)), str(min(opened, closed)), str(closed), "100",
                          (at + step) * 1000 - 1, "6000000", 100, "50", "3000000", "0"])
            at += step
        return found

    def answer(self, path, query):
        """The answer to a path, or nothing."""
        call, symbol = path.rsplit("/", 1)[-1], query.get("symbol")
        if call == "exchangeInfo":
            return self.exchange_info()
        if call == "time":
            return {"serverTime": int(time.time() * 1000)}
        if call == "ping":
            return {}
        if call in ("24hr", "bookTicker"):
            return self.ticker(symbol) if symbol else [self.ticker(one) for one in self.names]
        if call == "price":
            return [{"symbol": one, "price": str(self.price(one))} for one in self.names]
        if call == "depth":
            return self.book(symbol)
        if call == "klines":
            start = int(query["startTime"]) if "startTime" in query else None
            return self.candles(symbol, query["interval"], int(query.get("limit", 500)), start)
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.send(self.server.market.answer(url.path, query), url.path)

    def do_POST(self):
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/price":
            self.server.market.set_price(query["symbol"], query["price"])
            self.send({}, url.path)
        else:
            self.send(self.server.market.answer(url.path, query), url.path)

    def send(self, answer, path):
        status = 404 if answer is None else 200
        body = json.dumps({"code": -1, "msg": f"unknown {path}"} if answer is None else answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--swing", type=float, default=0.0)
    parser.add_argument("pairs", nargs="*", default=PAIRS, metavar="BASE/QUOTE=PRICE")
    given = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    server.market = Market(given.pairs or PAIRS, given.swing)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
