#!/usr/bin/env python3
"""A bot of a fixed size for the bench: serves the contract on a Unix socket, state of about 40 KiB.

    peer.py SOCKET [--positions 60] [--orders 60]

It prints, at SIGTERM, how many state polls it was asked, so that "one poll an interval" can be seen.
"""
import argparse
import datetime
import http.server
import json
import os
import pathlib
import signal
import socketserver
import sys
import threading
import time

EPOCH = "bench-0000-0000"
SYMBOLS = ["AAPL", "MSFT", "NVDA", "AMZN", "META", "TSLA", "GOOG", "NFLX", "AMD", "INTC", "QCOM", "ADBE"]


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def report(positions, orders, seq):
    at = now()
    version = {"version": 1, "sha256": "0" * 64}
    return {
        "seq": seq, "boot_epoch": EPOCH, "as_of": at, "mode": "paper", "phase": "running", "trading_enabled": True,
        "account": {"buying_power": "52310.20", "account_balance": "103422.80", "cash_balance": "52310.20",
                    "day_trade_count": None, "last_updated": at},
        "positions": [
            {"symbol": f"{SYMBOLS[n % 12]}{n}", "quantity": str(n + 1), "entry_price": f"{100 + n}.25",
             "current_price": f"{101 + n}.50", "unrealized_pl": f"{(n + 1) * 1.25:.2f}", "unrealized_pl_pct": "1.24",
             "stop_price": f"{98 + n}.00", "target_price": f"{110 + n}.00", "last_updated": at}
            for n in range(positions)],
        "orders": [
            {"id": f"ord-{n:08x}", "client_order_id": f"c-{n:08x}", "symbol": SYMBOLS[n % 12], "side": "BUY",
             "order_type": "LIMIT", "quantity": "10", "filled_quantity": "0", "limit_price": f"{90 + n}.10",
             "status": "PENDING", "created_at": at, "updated_at": at}
            for n in range(orders)],
        "performance": {"win_rate": 0.55, "avg_risk_reward": 1.8, "total_realized_pl": "812.40",
                        "total_unrealized_pl": "230.10", "total_pl": "1042.50", "daily_pl": "120.00",
                        "current_streak": 2, "streak_type": "WIN", "trades_today": 6, "session_count": 3,
                        "max_drawdown": "-140.00", "as_of": at},
        "market": {"status": "OPEN", "phase": "core", "source": "simulated", "last_price_at": at, "market_time": at},
        "session": None,
        "circuit_breaker": {"state": "closed", "reason": None, "since": at},
        "config": {"running": version, "committed": version,
                   "summary": {"mode": "paper", "max_position_size_pct": 5.0, "daily_loss_limit": "-500.00"}},
        "recent_errors": [
            {"error_code": "BRK_010", "error_type": "TradingError", "severity": "medium",
             "message": "the order was refused", "cause": "not enough buying power", "impact": "no position was opened",
             "remediation": "lower the position size", "timestamp": at} for _ in range(5)],
        "error_count_last_hour": 5, "loop": {"ticks": seq, "tick_delay_p50_ms": 0.1, "tick_delay_p99_ms": 0.4,
                                              "tick_delay_max_ms": 1.0, "last_tick_at": at},
    }


class Peer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    polls = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def answer(self, value, status=200):
        body = json.dumps(value, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        call = self.path.removeprefix("/ipc/v1/").split("?")[0]
        if call == "hello":
            self.answer({"contract": 1, "bot_id": "paperbot", "name": "bench peer", "version": "1", "pid": os.getpid(),
                         "boot_epoch": EPOCH, "started_at": STARTED, "mode": "paper",
                         "capabilities": ["events", "trades"]})
        elif call == "state":
            self.server.polls += 1
            self.answer(report(ARGS.positions, ARGS.orders, self.server.polls))
        elif call == "events":
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            while True:
                time.sleep(5)
                self.wfile.write(b": alive\n\n")
                self.wfile.flush()
        elif call == "trades":
            self.answer({"items": [], "next": None})
        else:
            self.answer({"code": "not_capable", "message": "this peer only shows its state"}, 404)

    do_POST = do_GET


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("socket")
    parser.add_argument("--positions", type=int, default=60)
    parser.add_argument("--orders", type=int, default=60)
    ARGS = parser.parse_args()
    STARTED = now()
    path = pathlib.Path(ARGS.socket)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = Peer(str(path), Handler)
    path.chmod(0o600)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(0.1)
    print(f"state polls: {server.polls}", file=sys.stderr)
