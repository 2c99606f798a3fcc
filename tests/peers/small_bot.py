#!/usr/bin/env python3
"""A small bot that serves the contract with the standard library, for checks in which a bot misbehaves.

`small_bot.py SOCKET FOLDER [--fork] [--refuse-to-end] [--names=PID]` (the last: its hello names another process).
Instead of a socket it takes `HOST:PORT --token=TOKEN`; `--mode=660` are the rights of the socket, `--uid=UID` is the
user that it becomes at once. Each life writes its pid to FOLDER/lives. A file FOLDER/mute makes it
accept and answer nothing while it works on (its CPU time moves); FOLDER/idle makes it stand still for good, as in a
deadlock, and FOLDER/log makes it write log lines, also then. FOLDER/pause holds its start back."""
import json
import os
import pathlib
import signal
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler

socket, folder = sys.argv[1], pathlib.Path(sys.argv[2])
given = lambda name: next((word.split("=", 1)[1] for word in sys.argv if word.startswith(f"--{name}=")), None)
token = given("token")
if given("uid"):
    os.setgroups([])
    os.setgid(int(given("uid")))
    os.setuid(int(given("uid")))
if "--fork" in sys.argv:
    # As a daemon does: the process that was started ends, and what serves is nobody's child.
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
if "--refuse-to-end" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
while (folder / "pause").exists():
    time.sleep(0.1)
with open(folder / "lives", "a") as lives:
    lives.write(f"{os.getpid()}\n")
named = next((int(word.split("=")[1]) for word in sys.argv if word.startswith("--names=")), os.getpid())
now = lambda: datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
EPOCH, STARTED = str(uuid.uuid4()), now()
(folder / "logs").mkdir(exist_ok=True)
seq, trading, commands = 0, True, {}
STUCK = threading.Lock()
STUCK.acquire()


def stand_still():
    """Waits for what never comes, without waking up."""
    if (folder / "idle").exists():
        # What writes the log may be another process.
        if (folder / "log").exists():
            line = f"while sleep 1; do echo still here >> '{folder}/logs/bot.log'; done"
            subprocess.Popen(["sh", "-c", line])
        STUCK.acquire()


def live():
    while True:
        stand_still()
        if (folder / "log").exists():
            with open(folder / "logs/bot.log", "a") as log:
                log.write("still here\n")
        if (folder / "mute").exists():
            end = time.process_time() + 0.05
            while time.process_time() < end:
                pass
        time.sleep(0.3)


def hello():
    return {"contract": 1, "bot_id": "small", "name": "Small bot", "version": "0.1", "pid": named, "boot_epoch": EPOCH,
            "started_at": STARTED, "mode": "paper", "capabilities": ["pause", "resume"], "log_dir": str(folder / "logs")}


def state():
    global seq
    seq += 1
    t, ref = now(), {"version": 0, "sha256": "0" * 64}
    return {"seq": seq, "boot_epoch": EPOCH, "as_of": t, "mode": "paper", "phase": "running" if trading else "paused",
            "trading_enabled": trading,
            "account": {"buying_power": "500", "account_balance": "1000", "cash_balance": "500", "day_trade_count": None,
                        "last_updated": t},
            "positions": [], "orders": [],
            "performance": {"win_rate": None, "avg_risk_reward": None, "total_realized_pl": "0", "total_unrealized_pl": "0",
                            "total_pl": "0", "daily_pl": "0", "current_streak": 0, "streak_type": "NONE", "trades_today": 0,
                            "session_count": 1, "max_drawdown": "0", "as_of": t},
            "market": {"status": "OPEN", "phase": "core", "source": "simulated", "last_price_at": t, "market_time": t},
            "circuit_breaker": {"state": "closed", "reason": None, "since": STARTED},
            "config": {"running": ref, "committed": ref,
                       "summary": {"mode": "paper", "max_position_size_pct": 50, "daily_loss_limit": "-100"}}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def answer(self, code, value):
        stand_still()
        if token and self.headers.get("Authorization") != f"Bearer {token}":
            code, value = 401, {"code": "unauthorized", "message": "this needs the token of the bot"}
        while (folder / "mute").exists():
            time.sleep(1)
        if (folder / "nonsense").exists():
            value = {"hello": "I am a bot, but not one that you know"}
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        served = {"/ipc/v1/hello": hello, "/ipc/v1/state": state}.get(self.path.split("?")[0])
        if served:
            return self.answer(200, served())
        self.answer(404, {"code": "unknown_path", "message": "no such path"})

    def do_POST(self):
        global trading
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        verb = self.path.rsplit("/", 1)[1]
        with open(folder / "told", "a") as told:
            told.write(f"{verb} {body.get('dry_run', False)}\n")
        if verb not in ("pause", "resume"):
            return self.answer(404, {"code": "not_capable", "message": "this bot cannot do that"})
        id = body["command_id"]
        if id in commands:
            return self.answer(200, commands[id] | {"replayed": True})
        dry, after = body.get("dry_run"), verb == "resume"
        result = {"command_id": id, "outcome": "predicted" if dry else "done", "message": "ok",
                  "phase": "running" if after else "paused", "trading_enabled": after, "at": now()}
        if not dry:
            trading = after
            commands[id] = result
        self.answer(200, result)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer if token else socketserver.UnixStreamServer):
    daemon_threads = allow_reuse_address = True

    def get_request(self):
        stand_still()
        request, peer = super().get_request()
        return request, peer or ("unix", 0)

    def handle_error(self, *_):
        """Whoever asked has gone, which is not this bot's concern."""


threading.Thread(target=live, daemon=True).start()
if token:
    host, port = socket.rsplit(":", 1)
    Server((host, int(port)), Handler).serve_forever(poll_interval=None)
try:
    os.unlink(socket)
except FileNotFoundError:
    pass
server = Server(socket, Handler)
os.chmod(socket, int(given("mode") or "600", 8))
server.serve_forever(poll_interval=None)
