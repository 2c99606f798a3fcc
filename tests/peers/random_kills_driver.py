"""What is asked of botops while it is killed, and what is followed of it: refusals and broken connections are part of it.

Everything that was answered is kept, so that it can be held against what is on disk afterwards."""
import base64
import collections
import contextlib
import datetime
import http.client
import http.server
import json
import os
import random
import socket
import struct
import threading
import time
import urllib.error
import urllib.request

REASON = "driven while everything is killed"
# Room for a fast market: a bad day of the simulated one does not stop the bot.
ROOMY = {"risk_management": {"daily_loss_limit": "-50000", "max_daily_loss_pct": 10, "max_consecutive_losses": 50},
         "circuit_breaker_thresholds": {"daily_loss": -0.5, "max_drawdown": -0.9}}
VERBS = ["pause", "resume", "cancel-orders", "flatten", "probe-session", "reset-breaker"]
BROKEN = (OSError, urllib.error.URLError, http.client.HTTPException)


class Peer:
    """A target that is checked, whose mood changes, and the receiver of alerts."""

    def __init__(self):
        self.mood, self.notices = 200, []
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(peer.mood)
                self.end_headers()

            def do_POST(self):
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                peer.notices.extend(message["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Answers:
    """What was answered to whom; shared by all who ask."""

    def __init__(self):
        self.lock = threading.Lock()
        # Ids of runs and transactions that were answered as admitted, by the idempotency key that asked for them.
        self.admitted = collections.defaultdict(set)
        # What became of each command, one word a call: done, replayed, none (no effect), unknown.
        self.commands = collections.defaultdict(list)
        self.counts = collections.Counter()
        self.internal = []

    def count(self, what):
        with self.lock:
            self.counts[what] += 1


class Client:
    """Calls that say `None` where the connection broke."""

    def __init__(self, base, key, answers):
        self.base, self.key, self.answers = base, key, answers

    def send(self, method, path, body=None, **headers):
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.base}/api/v1/{path}", method=method, headers=headers,
                                         data=None if body is None else json.dumps(body).encode())
        try:
            try:
                answer = urllib.request.urlopen(request, timeout=60)
            except urllib.error.HTTPError as refused:
                answer = refused
            with answer:
                content = answer.read()
        except BROKEN:
            self.answers.count("broken connections")
            return None, {}
        view = json.loads(content) if "json" in answer.headers.get("Content-Type", "") else {}
        self.answers.count(view.get("error_code", "refusals") if answer.status >= 400 else "answers")
        if answer.status == 500:
            with self.answers.lock:
                self.answers.internal.append(f"{method} {path}: {view}")
        return answer.status, view

    def get(self, path):
        """The answer where it is a good one, else nothing."""
        status, view = self.send("GET", path)
        return view if status == 200 else {}


class Driver(threading.Thread):
    """One who asks for changes, one after the other, until `over`."""

    def __init__(self, name, seed, client, peer, over, longest_pause=0.4):
        super().__init__(name=name, daemon=True)
        self.longest_pause = longest_pause
        self.random = random.Random(f"{seed}-{name}")
        self.client, self.answers, self.peer, self.over = client, client.answers, peer, over
        self.number, self.txn, self.failure = 0, None, None

    def run(self):
        ways = [(self.change, 5), (self.end_change, 6), (self.roll_back, 1), (self.validate, 1), (self.command, 8),
                (self.run_workflow, 4), (self.restart_bot, 1), (self.cancel_run, 1), (self.silence, 2),
                (self.acknowledge, 1), (self.change_mood, 4), (self.read, 4)]
        try:
            while not self.over.is_set():
                self.random.choices([way for way, _ in ways], [weight for _, weight in ways])[0]()
                self.over.wait(self.random.uniform(0.0, self.longest_pause))
        except Exception as failure:
            self.failure = f"{self.name}: {failure!r}"

    def key_of_its_own(self):
        self.number += 1
        return f"{self.name}-{self.number}"

    def repeated(self, ask):
        """Asks once, and with some luck again with the same key, as a client does that did not hear the answer."""
        times = 1
        while True:
            status, view = ask()
            if status is None and times < 6:
                self.over.wait(self.random.uniform(0.1, 1.5))
            elif times > 1 or self.random.random() < 0.8:
                return status, view
            times += 1

    def admit(self, method, path, body, id, **headers):
        key = self.key_of_its_own()

        def ask():
            status, view = self.client.send(method, path, body, Idempotency_Key=key, **headers)
            if status == 202:
                with self.answers.lock:
                    self.answers.admitted[key].add(view[id])
            return status, view
        status, view = self.repeated(ask)
        return view.get(id) if status == 202 else None

    def trial(self):
        return {"reason": REASON, "confirm": self.random.choice(["manual", "manual", "auto"]),
                "confirm_within_s": self.random.randint(2, 12)}

    def change(self):
        etag = self.client.get("config").get("etag")
        if etag:
            # Allows what the bot does anyway; one in five is read at a start of the bot alone.
            orders = {"max_slippage_pct": self.random.randint(200, 400) / 100}
            if self.random.random() < 0.2:
                orders = {"poll_interval_seconds": self.random.randint(15, 40)}
            body = {"merge_patch": ROOMY | {"order_management": orders}, "restart": self.random.random() < 0.3} | self.trial()
            self.txn = self.admit("PUT", "config/apply", body, "txn", If_Match=etag) or self.txn

    def roll_back(self):
        etag = self.client.get("config").get("etag")
        if etag:
            self.txn = self.admit("PUT", "config/rollback", {"to": "previous"} | self.trial(), "txn", If_Match=etag) or self.txn

    def end_change(self):
        txn = (self.client.get("config").get("trial") or {}).get("txn") or self.txn
        if txn:
            self.client.send("POST", f"config/txns/{txn}/{self.random.choice(['confirm', 'confirm', 'cancel'])}", {})

    def validate(self):
        self.client.send("POST", "config/validate", {"merge_patch": {"risk_management": {"risk_per_trade": self.random.random()}}})

    def command(self):
        # Mostly in favour of a bot that trades on: a paused one has nothing to lose.
        verb = self.random.choices(VERBS, [2, 6, 2, 1, 1, 1])[0]
        key = self.key_of_its_own()

        def ask():
            status, view = self.client.send("POST", f"control/{verb}", {"reason": REASON}, Idempotency_Key=key)
            if status == 200 and view["outcome"] == "done":
                word = "replayed" if view["replayed"] else "done"
            else:
                word = "none" if view.get("effect") == "none" else "unknown"
            with self.answers.lock:
                self.answers.commands[key].append(word)
            return status, view
        self.repeated(ask)

    def run_workflow(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        which = self.random.choice(["check-health", "check-health", "export-logs", "update-targets"])
        params = {"samples": 1}
        if which == "export-logs":
            params = {"from": (now - datetime.timedelta(minutes=1)).isoformat(), "to": now.isoformat(), "max_mib": 1}
        elif which == "update-targets":
            targets = (self.client.get("config").get("config") or {}).get("targets", [])
            weight = self.random.choice([0.03, 0.04, 0.05])
            params = {"reason": REASON, "trial_s": 15, "targets": [target | {"weight": weight} for target in targets]}
        self.admit("POST", f"workflows/{which}/execute", {"params": params}, "run_id")

    def restart_bot(self):
        self.admit("POST", "workflows/restart-bot/execute", {"params": {"reason": REASON, "cancel_resting": False}}, "run_id")

    def cancel_run(self):
        with self.answers.lock:
            runs = [run for ids in self.answers.admitted.values() for run in ids][-4:]
        if runs:
            self.client.send("POST", f"workflows/runs/{self.random.choice(runs)}/cancel", {})

    def silence(self):
        silences = self.client.get("health/silences").get("items", [])
        if silences and self.random.random() < 0.5:
            self.client.send("DELETE", f"health/silences/{self.random.choice(silences)['id']}")
            return
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.random.randint(2, 8))
        self.client.send("POST", "health/silences", {"comment": REASON, "ends_at": end.isoformat(),
                                                     "matchers": [{"name": "component", "value": "feed"}]})

    def acknowledge(self):
        for alert in self.client.get("health/alerts?state=firing").get("items", [])[:1]:
            self.client.send("POST", f"health/alerts/{alert['alert_id']}/ack", {"note": REASON})

    def change_mood(self):
        self.peer.mood = self.random.choice([200, 200, 429, 500, 500])

    def read(self):
        self.client.send("GET", self.random.choice(["state", "summary", "metrics", "config/versions", "health/status",
                                                    "errors", "config/audit", "workflows", "performance"]))


class JournalFollower(threading.Thread):
    """Follows `GET events?after=` with its cursor over all restarts."""

    def __init__(self, client, over):
        super().__init__(name="journal", daemon=True)
        self.client, self.over = client, over
        self.cursor, self.received, self.told, self.failure = 0, [], [], None

    def run(self):
        try:
            while not self.over.is_set():
                self.follow()
        except Exception as failure:
            self.failure = f"{self.name}: {failure!r}"

    def follow(self):
        status, page = self.client.send("GET", f"events?after={self.cursor}&limit=500&wait=2s")
        if status == 200:
            self.received.extend(page["items"])
            self.cursor = page["next"]
        elif status == 410:
            # What is gone is told; the cursor goes on where the journal begins, or ends.
            oldest = page["context"]["oldest"]
            goes_on = oldest - 1 if oldest > self.cursor else page["context"]["latest"]
            self.told.append((self.cursor, goes_on))
            self.cursor = goes_on
        else:
            self.over.wait(0.1)


class StreamFollower(JournalFollower):
    """The same over the WebSocket stream, with the number of its last message."""

    def __init__(self, client, over):
        super().__init__(client, over)
        self.name = "stream"

    def follow(self):
        try:
            with open_stream(self.client, self.cursor) as (connection, content):
                connection.settimeout(30)
                while not self.over.is_set():
                    message = json.loads(read_message(content))
                    if message["type"] == "hello" and message["replay"]["lost"]:
                        self.told.append((self.cursor, message["replay"]["from"] - 1))
                    elif message["type"] == "event":
                        self.received.append(message["event"])
                        self.cursor = message["seq"]
        except (*BROKEN, ValueError, struct.error):
            self.over.wait(0.2)


@contextlib.contextmanager
def open_stream(client, after, receive_buffer=None):
    """A WebSocket: its socket, and what comes from it. `ValueError` where it is refused."""
    host, port = client.base.removeprefix("http://").split(":")
    with socket.socket() as connection:
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(10)
        connection.connect((host, int(port)))
        connection.sendall((f"GET /api/v1/stream?after={after} HTTP/1.1\r\nHost: {host}:{port}\r\nX-API-Key: {client.key}\r\n"
                            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                            f"{base64.b64encode(os.urandom(16)).decode()}\r\n\r\n").encode())
        with connection.makefile("rb") as content:
            if b" 101 " not in content.readline():
                raise ValueError("the stream was refused")
            while content.readline() not in (b"\r\n", b""):
                pass
            yield connection, content


def read_message(content):
    """The next text of a server, which masks nothing and splits nothing; `ValueError` at the end."""
    while True:
        first, length = struct.unpack("!BB", read_exactly(content, 2))
        if length == 126:
            length, = struct.unpack("!H", read_exactly(content, 2))
        elif length == 127:
            length, = struct.unpack("!Q", read_exactly(content, 8))
        payload = read_exactly(content, length)
        if first == 0x81:
            return payload
        if first == 0x88:
            raise ValueError("the stream was closed")


def read_exactly(content, length):
    payload = content.read(length)
    if len(payload) < length:
        raise ValueError("the stream ended")
    return payload
