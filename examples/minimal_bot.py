#!/usr/bin/env python3
"""The smallest bot that botops can stand beside: the required core of the contract, with nothing but the standard library.

    python3 examples/minimal_bot.py /tmp/minimal/bot.sock
    export KEY=$(botops key random)
    BOT_API_AUTH_TOKEN=$KEY BOT_ID=minimal BOT_IPC_SOCKET=/tmp/minimal/bot.sock botops serve

It follows one simulated price and trades nothing. It serves `hello`, `state`, the commands `pause` and `resume`, and what
became of a command. docs/your-own-bot.md says what each field means and what else a bot may offer.
"""
import json
import os
import pathlib
import random
import socketserver
import sys
import threading
import time
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler


def now():
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


class Bot:
    """What the bot knows about itself. The lock is held for moments only: who asks never delays the loop."""

    def __init__(self):
        self.lock = threading.Lock()
        self.boot_epoch, self.started_at = str(uuid.uuid4()), now()
        self.seq, self.ticks, self.trading = 0, 0, True
        self.price, self.last_tick_at = 100.0, None
        self.answers = {}  # by command id: the same id again gets the first answer and acts no second time

    def trade(self):
        """The loop. Your strategy goes here; it does not care whether anybody asks."""
        while True:
            with self.lock:
                self.price = max(1.0, self.price + random.gauss(0, 0.05))
                self.ticks, self.seq, self.last_tick_at = self.ticks + 1, self.seq + 1, now()
            time.sleep(0.5)

    def hello(self):
        return {"contract": 2, "bot_id": "minimal", "name": "Minimal bot", "version": "0.1.0", "pid": os.getpid(),
                "boot_epoch": self.boot_epoch, "started_at": self.started_at, "mode": "paper",
                "capabilities": ["pause", "resume", "command-status"]}

    def state(self):
        with self.lock:
            return {
                "seq": self.seq, "boot_epoch": self.boot_epoch, "as_of": now(), "mode": "paper",
                "phase": "running" if self.trading else "paused", "trading_enabled": self.trading,
                # Money, prices and quantities are texts: a float would change them on the way.
                "account": {"currency": "USD", "buying_power": "1000", "account_balance": "1000", "cash_balance": "1000"},
                "positions": [], "orders": [],
                "market": {"status": "OPEN", "source": "simulated", "last_price_at": self.last_tick_at},
                # A loop that stands still is told as a fault of the bot, although its socket answers.
                "loop": {"ticks": self.ticks, "last_tick_at": self.last_tick_at, "expected_interval_s": 2},
                # What it does not know it leaves out, and says why: no number stands for nothing.
                "unknown": [{"field": "performance", "why": "not_reported"}, {"field": "session", "why": "not_applicable"}],
            }

    def command(self, verb, request):
        with self.lock:
            known = self.answers.get(request["command_id"])
            if known:
                return known | {"replayed": True}
            expires = request.get("expires_at")
            is_late = request.get("valid_for_ms") == 0 or (
                expires and datetime.fromisoformat(expires.replace("Z", "+00:00")) <= datetime.now(timezone.utc))
            result = {"command_id": request["command_id"], "at": now(), "replayed": False}
            wanted = verb == "resume"
            if is_late:
                result |= {"outcome": "refused", "reason_code": "expired", "message": "it was not begun while it was wanted"}
            elif request.get("dry_run"):
                result |= {"outcome": "predicted", "message": f"it would {verb}"}
            else:
                self.trading, self.seq = wanted, self.seq + 1
                result |= {"outcome": "done", "message": "new positions are allowed" if wanted else "no new positions"}
            result |= {"phase": "running" if self.trading else "paused", "trading_enabled": self.trading}
            if not request.get("dry_run"):
                self.answers[request["command_id"]] = result
            return result

    def command_status(self, command_id):
        with self.lock:
            result = self.answers.get(command_id)
        return {"command_id": command_id, "standing": "answered" if result else "unknown", "result": result}


class ContractHandler(BaseHTTPRequestHandler):
    """HTTP/1.1 and JSON under /ipc/v1. A 4xx with `code` and `message` promises that nothing was done."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0].removeprefix("/ipc/v1/")
        if path == "hello":
            self.answer(200, BOT.hello())
        elif path == "state":
            self.answer(200, BOT.state())
        elif path.startswith("commands/"):
            self.answer(200, BOT.command_status(path.removeprefix("commands/")))
        else:
            self.answer(404, {"code": "unknown_path", "message": "this bot has no such path"})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        verb = self.path.removeprefix("/ipc/v1/commands/")
        if verb in ("pause", "resume"):
            self.answer(200, BOT.command(verb, request))
        else:
            self.answer(404, {"code": "unknown_verb", "message": "this bot knows no such command"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


BOT = Bot()
path = pathlib.Path(sys.argv[1])
# Whoever may connect may give commands: only the owner may enter the folder.
path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
path.unlink(missing_ok=True)
threading.Thread(target=BOT.trade, daemon=True).start()
UnixServer(str(path), ContractHandler).serve_forever()
