"""The cases of check-freqtrade: one line `PASS name: what was seen` each."""
import contextlib
import decimal
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from demo import BOTOPS, temporary_folder
from freqtrade_peer import CANARIES, Exchange, Freqtrade, free_port, install

KEY = "check-freqtrade-key-0123456789abcdef"
OTHER_PASSWORD = "canary-second-password-19f8e7d6"
BEGAN = time.monotonic()
PASSED = []
# Everything that botops or the adapter answered, for the search of the last case.
ANSWERS = []
D = decimal.Decimal


def passed(name, seen):
    PASSED.append(name)
    print(f"PASS {name}: {seen}", flush=True)


def until(what, limit, look, otherwise=lambda: ""):
    """What `look` returns once it is true, and the seconds that took."""
    began = time.monotonic()
    last = None
    while True:
        try:
            seen = look()
            if seen:
                return seen, time.monotonic() - began
        except (OSError, ValueError, KeyError) as error:
            last = error
        if time.monotonic() > began + limit:
            raise SystemExit(f"not seen within {limit} s: {what} {otherwise()} {last or ''}")
        time.sleep(0.1)


class Beside:
    """The adapter and botops beside one freqtrade, each in a process of its own."""

    def __init__(self, folder, freqtrade, bot_id="freqtrade", password=None):
        self.folder, self.freqtrade, self.bot_id = pathlib.Path(folder), freqtrade, bot_id
        self.folder.mkdir(parents=True, exist_ok=True)
        self.credentials = self.folder / "credentials"
        self.socket = self.folder / "run/bot.sock"
        self.outputs = self.folder / "outputs.txt"
        self.adapter = self.server = None
        self.write_credentials(password or freqtrade.password)

    def write_credentials(self, password):
        self.credentials.touch(mode=0o600)
        self.credentials.write_text(f"username={self.freqtrade.username}\npassword={password}\n")

    def env(self, **more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BOT_")}
        return kept | more

    def start_adapter(self, url=None):
        url = url or f"http://127.0.0.1:{self.freqtrade.port}"
        with open(self.outputs, "a") as out:
            self.adapter = subprocess.Popen(
                [BOTOPS, "freqtrade", "--url", url, "--credentials", str(self.credentials), "--socket", str(self.socket),
                 "--data-dir", str(self.folder / "adapter"), "--bot-id", self.bot_id],
                cwd=self.folder, env=self.env(), stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def start_botops(self):
        port = free_port()
        self.base = f"http://127.0.0.1:{port}/api/v1"
        env = self.env(BOT_API_AUTH_TOKEN=KEY, BOT_API_PORT=str(port), BOT_API_RATE_LIMIT="1000000", BOT_ID=self.bot_id,
                       BOT_DATA_DIR=str(self.folder / "botops"), BOT_IPC_SOCKET=str(self.socket))
        with open(self.outputs, "a") as out:
            self.server = subprocess.Popen([BOTOPS, "serve"], cwd=self.folder, env=env, stdin=subprocess.DEVNULL,
                                           stdout=out, stderr=out)
        until("botops answers", 30, lambda: self.get("state"), lambda: self.outputs.read_text()[-1000:])

    def end_adapter(self):
        end(self.adapter)
        self.adapter = None

    def end(self):
        end(self.server)
        end(self.adapter)

    def send(self, method, path, body=None, **headers):
        """A call to botops: (status, JSON)."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.base}/{path}", method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"X-API-Key": KEY, "Content-Type": "application/json"} | headers)
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        text = answer.read().decode()
        ANSWERS.append(text)
        return answer.status, json.loads(text)

    def get(self, path):
        status, body = self.send("GET", path)
        assert status == 200, (path, status, body)
        return body

    def control(self, verb, dry_run=False, key=None, **body):
        body.setdefault("reason", "a check of the adapter")
        headers = {"Idempotency_Key": key} if key else {}
        return self.send("POST", f"control/{verb}{'?dry_run=true' if dry_run else ''}", body, **headers)

    def told(self):
        """The state as the adapter tells it."""
        status, body = ipc(self.socket, "state")
        assert status == 200, (status, body)
        return json.loads(body)

    def presence(self):
        bot = self.get("state")["bot"]
        return bot["presence"], bot["presence_reason"]

    def phase(self):
        return self.get("state")["phase"]

    def events(self):
        return self.get("events?after=0&limit=500")["items"]

    def connected(self, limit=60):
        return until("botops is connected to freqtrade", limit, lambda: self.presence()[0] == "connected", self.presence)

    def settled(self, trades, limit=60):
        """Waits until botops says what freqtrade says of its trades."""
        def same():
            return len(self.freqtrade.get("status")) == trades and len(self.get("state")["positions"]) == trades
        until(f"{trades} trades on both sides", limit, same,
              lambda: (len(self.freqtrade.get("status")), self.get("state")["positions"]))


def end(process):
    if process is None:
        return
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)


def ipc(path, call):
    """A call to the adapter's own socket: (status, text)."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(path))
        s.sendall(f"GET /ipc/v1/{call} HTTP/1.1\r\nhost: bot\r\nconnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    ANSWERS.append(answer.decode())
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


def exact(text):
    """JSON with every number as the decimal that it is written as."""
    return json.loads(text, parse_float=D, parse_int=D)


# ---- the cases of every run


def wrong_password(beside):
    """The adapter was started with a password that freqtrade does not take."""
    presence, reason = until("the refused password is told", 30,
                             lambda: (lambda seen: seen if "credentials" in seen[1] else None)(beside.presence()),
                             beside.presence)[0]
    assert presence != "connected", presence
    status, said = ipc(beside.socket, "state")
    assert status == 503 and json.loads(said)["code"] == "upstream_unauthorized", (status, said)
    status, refused = beside.control("pause")
    assert status >= 400 and refused["effect"] == "none", (status, refused)
    beside.write_credentials(beside.freqtrade.password)
    beside.end_adapter()
    beside.start_adapter()
    beside.connected()
    passed("wrong password", f"presence {presence}, {reason[:140]!r}; connected once the file was right")


def state_to_the_digit(beside):
    freqtrade = beside.freqtrade
    beside.settled(3)

    def compare():
        before = freqtrade.text("status")
        balance, locks = exact(freqtrade.text("balance")), exact(freqtrade.text("locks"))
        state = beside.get("state")
        if freqtrade.text("status") != before:
            return None
        trades = {trade["pair"]: trade for trade in exact(before)}
        seen = {}
        for position in state["positions"]:
            trade = trades[position["symbol"]]
            for ours, theirs in [("quantity", "amount"), ("entry_price", "open_rate"), ("current_price", "current_rate"),
                                 ("stop_price", "stop_loss_abs")]:
                seen[f"{position['symbol']} {ours}"] = (position[ours], trade[theirs])
        quote = next(one for one in balance["currencies"] if one["currency"] == "USDT")
        seen["account_balance"] = (state["account"]["account_balance"], balance["total_bot"])
        seen["cash_balance"] = (state["account"]["cash_balance"], quote["bot_owned"])
        orders = {order["id"] for order in state["orders"]}
        listed = {order["order_id"] for trade in exact(before) for order in trade["orders"]}
        assert listed <= orders, listed - orders
        assert state["account"]["currency"] == "USDT" and state["mode"] == "paper" and state["phase"] == "running", state
        assert len(trades) == len(state["positions"]) == 3
        wrong = {name: pair for name, pair in seen.items() if pair[0] is None or D(pair[0]) != pair[1]}
        return None if wrong else (len(seen), state)

    (count, state), _ = until("botops says what freqtrade says", 45, compare)
    hello = json.loads(ipc(beside.socket, "hello")[1])
    assert hello["pid"] in (None, freqtrade.pid) and hello["adapter"]["pid"] == beside.adapter.pid, hello
    assert hello["version"].startswith(freqtrade.get("show_config")["version"]), hello
    passed("state to the digit", f"{count} numbers equal, 3 positions, bot version {hello['version']}, its pid {hello['pid']}")


def pause_and_reload(beside):
    freqtrade = beside.freqtrade
    status, predicted = beside.control("pause", dry_run=True)
    assert status == 200 and predicted["outcome"] == "predicted" and freqtrade.get("show_config")["state"] == "running", predicted
    status, done = beside.control("pause", key="pause-1")
    assert status == 200 and done["outcome"] == "done" and done["phase"] == "paused", done
    assert freqtrade.get("show_config")["state"] == "paused"
    assert beside.told()["phase"] == "paused", "what was acknowledged shows in the next read"
    until("botops says so", 5, lambda: beside.phase() == "paused")
    again = beside.control("pause", key="pause-1")[1]
    assert again["replayed"] is True and again["at"] == done["at"], again
    freqtrade.post("reload_config")
    _, took = until("botops sees that the reload lifted the pause", 45, lambda: beside.phase() == "running")

    def told():
        return [event for event in beside.events() if "reload" in event["message"] and "paus" in event["message"]]

    events, _ = until("the lifted pause is an event", 20, told, lambda: [event["message"] for event in beside.events()])
    passed("a reload lifts the pause", f"running seen after {took:.1f} s; told: {events[-1]['message']!r}")


def stopped_with_open_trades(beside):
    freqtrade = beside.freqtrade
    beside.settled(3)
    freqtrade.post("stop")
    until("botops sees that it is stopped", 30, lambda: beside.phase() == "stopped")
    warning, _ = until("it is in the warnings", 20, lambda: [
        one for one in beside.get("summary")["warnings"] if "stopped" in one])
    component, _ = until("the component `trading` is CRITICAL", 45, lambda: (
        lambda bot: bot if bot["status"] == "CRITICAL" else None)(beside.get("health/components/trading")),
        lambda: beside.get("health/components/trading"))
    for verb in ("pause", "flatten", "resume"):
        status, refused = beside.control(verb)
        assert status == 409 and "start" in json.dumps(refused), (verb, status, refused)
        assert freqtrade.get("show_config")["state"] == "stopped", f"{verb} started it"
    status, predicted = beside.control("resume", dry_run=True, args={"start": True})
    assert status == 200 and "START" in predicted["message"], predicted
    status, done = beside.control("resume", args={"start": True})
    assert status == 200 and done["phase"] == "running", (status, done)
    assert freqtrade.get("show_config")["state"] == "running"
    until("the component `trading` is well again", 60, lambda: beside.get("health/components/trading")["status"] == "HEALTHY")
    passed("stopped with open trades", f"CRITICAL: {component['reason'][:120]!r}; {warning[0]!r}; started again by resume alone")


def hung(beside):
    freqtrade = beside.freqtrade
    pid = freqtrade.pid
    freqtrade.signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        until("botops says that it hangs", 20, lambda: beside.presence()[0] == "hung", beside.presence)
        took = time.monotonic() - began
        reason = beside.presence()[1]
        assert took <= 6.5, f"told only after {took:.1f} s"
        status, refused = beside.control("pause")
        assert status >= 400, (status, refused)
        time.sleep(max(0, began + 12 - time.monotonic()))
        assert freqtrade.process.poll() is None and freqtrade.pid == pid, "it was ended"
    finally:
        freqtrade.signal(signal.SIGCONT)
    beside.connected()
    assert freqtrade.pid == pid and freqtrade.log.read_text().count("Starting worker") == 1, "it was started anew"
    assert freqtrade.get("show_config")["state"] == "running", "a command from while it hung came through"
    passed("hung", f"told after {took:.1f} s: {reason[:100]!r}; the process was left alone and nothing was sent later")


def killed_and_password_changed(beside):
    """kill -9; then another life with another password."""
    freqtrade = beside.freqtrade
    before = json.loads(ipc(beside.socket, "hello")[1])
    freqtrade.kill()
    (presence, reason), took = until("botops says that it is gone", 20, lambda: (
        lambda seen: seen if seen[0] in ("exited", "unreachable") else None)(beside.presence()), beside.presence)
    freqtrade.start()
    beside.connected()
    beside.settled(3)
    after, _ = until("the new life is told from the old one", 30, lambda: (
        lambda hello: hello if hello["boot_epoch"] not in (None, before["boot_epoch"]) else None)(
            json.loads(ipc(beside.socket, "hello")[1])), lambda: (before, ipc(beside.socket, "hello")))
    passed("killed and started again", f"{presence} after {took:.1f} s: {reason[:80]!r}; boot_epoch {before['boot_epoch']} then "
           f"{after['boot_epoch']}, the 3 trades are there again")
    freqtrade.kill()
    freqtrade.password = OTHER_PASSWORD
    freqtrade.write_config(api_server={"password": OTHER_PASSWORD})
    freqtrade.start()
    seen, took = until("the changed password is told", 45, lambda: (
        lambda seen: seen if "credentials" in seen[1] and seen[0] != "connected" else None)(beside.presence()), beside.presence)
    beside.write_credentials(OTHER_PASSWORD)
    beside.end_adapter()
    beside.start_adapter()
    beside.connected()
    passed("changed password", f"{seen[0]}: {seen[1][:140]!r}; connected once the file was right")


def flatten(beside):
    freqtrade = beside.freqtrade
    beside.settled(3)
    open_pairs = sorted(trade["pair"] for trade in freqtrade.get("status"))
    status, predicted = beside.control("flatten", dry_run=True)
    assert status == 200 and sorted(predicted["exposure"]["positions_closing"]) == open_pairs, (status, predicted)
    assert len(freqtrade.get("status")) == 3, "a dry run closed something"
    status, done = beside.control("flatten", key="flatten-1")
    if status != 200:
        # More than the 8 s that a sender waits: botops follows the command and says how it ended.
        until("it ended as done", 60, lambda: [event for event in beside.events() if event["kind"] == "control"
                                              and event["data"].get("outcome") == "done" and event["data"]["verb"] == "flatten"])
        status, done = beside.control("flatten", key="flatten-1")
    assert status == 200 and done["outcome"] == "done" and done["exposure"]["positions_left"] == 0, (status, done)
    assert freqtrade.get("status") == [] and freqtrade.get("show_config")["state"] == "paused"
    state = beside.told()
    assert state["positions"] == [] and state["phase"] == "paused", state
    reasons = {trade["exit_reason"] for trade in freqtrade.get("trades?limit=10&order_by_id=false")["trades"]}
    assert "force_exit" in reasons, reasons
    again = beside.control("flatten", key="flatten-1")[1]
    assert again["replayed"] is True, again
    passed("flatten", f"{done['message']!r}, {', '.join(open_pairs)}")


def no_secret(*places):
    """No canary in anything that botops or the adapter wrote or answered."""
    words = [*CANARIES.values(), OTHER_PASSWORD, KEY]
    searched = 0
    for word in words:
        for answer in ANSWERS:
            assert word not in answer, f"an answer has {word!r}: {answer[:300]}"
    for place in places:
        for path in pathlib.Path(place).rglob("*"):
            if not path.is_file() or path.name == "credentials":
                continue
            searched += 1
            content = path.read_bytes()
            for word in words:
                assert word.encode() not in content, f"{path} has {word!r}"
    assert searched > 5 and len(ANSWERS) > 50, (searched, len(ANSWERS))
    passed("no secret", f"{len(words)} secrets in none of {len(ANSWERS)} answers and {searched} files")


# ---- the cases of a long run


def fills_and_partial_exits(beside, exchange):
    freqtrade = beside.freqtrade
    beside.control("resume")
    for trade in freqtrade.get("status"):
        freqtrade.post("forceexit", {"tradeid": str(trade["trade_id"]), "ordertype": "market"})
    until("nothing is open", 30, lambda: freqtrade.get("status") == [])
    status, entered = freqtrade.post("forceenter", {"pair": "BTC/USDT", "price": 50000, "ordertype": "limit", "side": "long"})
    assert status == 200, entered
    order = entered["orders"][0]["order_id"]
    until("the resting entry is an order and no position", 30, lambda: (
        lambda state: any(one["id"] == order and one["status"] == "PENDING" for one in state["orders"])
        and not [one for one in state["positions"] if one["symbol"] == "BTC/USDT"])(beside.get("state")))
    exchange.set_price("BTC/USDT", "49999")
    until("its fill is a position", 30, lambda: [one for one in beside.get("state")["positions"] if one["symbol"] == "BTC/USDT"])
    until("its fill is an event", 30, lambda: [event for event in beside.events() if event["kind"] == "fill"])
    exchange.set_price("BTC/USDT", "60000")
    trade = next(one for one in freqtrade.get("status") if one["pair"] == "BTC/USDT")
    status, said = freqtrade.post("forceexit", {"tradeid": str(trade["trade_id"]), "ordertype": "market", "amount": trade["amount"] / 2})
    assert status == 200, said

    def after_part():
        theirs = next(one for one in exact(freqtrade.text("status")) if one["pair"] == "BTC/USDT")
        ours = next(one for one in beside.get("state")["positions"] if one["symbol"] == "BTC/USDT")
        return theirs["amount"] < D(str(trade["amount"])) and D(ours["quantity"]) == theirs["amount"] and theirs

    theirs, _ = until("what is left after a partial exit", 30, after_part)
    # What the entry of what is still held has cost is paid already.
    def held_fees(one):
        entered = sum(order["filled"] for order in one["orders"] if order["ft_order_side"] == "buy")
        return one["fee_open_cost"] * one["amount"] / entered

    closed = exact(freqtrade.text("trades?limit=500&order_by_id=false"))["trades"]
    realized = sum(one["close_profit_abs"] for one in closed if not one["is_open"]) + sum(
        one["realized_profit"] - held_fees(one) for one in exact(freqtrade.text("status")))
    total, _ = until("what was realized", 45, lambda: (lambda ours: ours if ours is not None and D(ours) == realized else None)(
        beside.get("state")["performance"]["total_realized_pl"]),
        lambda: (beside.get("state")["performance"]["total_realized_pl"], realized))
    passed("fills and partial exits", f"half of {trade['amount']} left {theirs['amount']}; realized {total}")


def resting_orders_are_cancelled(beside, exchange):
    freqtrade = beside.freqtrade
    beside.control("resume")
    for trade in freqtrade.get("status"):
        freqtrade.post("forceexit", {"tradeid": str(trade["trade_id"]), "ordertype": "market"})
    until("nothing is open", 30, lambda: freqtrade.get("status") == [])
    beside.control("pause")
    freqtrade.post("start")
    status, entered = freqtrade.post("forceenter", {"pair": "ETH/USDT", "price": 1000, "ordertype": "limit", "side": "long"})
    assert status == 200, entered
    until("the order rests", 30, lambda: [one for one in beside.get("state")["orders"] if one["status"] == "PENDING"])
    status, predicted = beside.control("cancel-orders", dry_run=True)
    assert status == 200 and "ETH/USDT" in predicted["message"], predicted
    status, done = beside.control("cancel-orders")
    assert status == 200 and done["exposure"]["orders_cancelled"] == 1, (status, done)
    assert not [trade for trade in freqtrade.get("status") if trade["pair"] == "ETH/USDT"], "its trade is there"
    passed("a resting entry is cancelled", f"{done['message']!r}, although freqtrade answers 502 to it")


def durable_pause(beside):
    freqtrade = beside.freqtrade
    beside.control("flatten")
    until("nothing is open", 60, lambda: freqtrade.get("status") == [])
    status, foreign = freqtrade.post("locks", [{"pair": "ETH/USDT", "until": "2099-01-01T00:00:00Z", "side": "*", "reason": "of somebody else"}])
    assert status == 200, foreign
    status, done = beside.control("pause", args={"durable": True})
    assert status == 200 and done["outcome"] == "done", (status, done)
    freqtrade.post("reload_config")
    until("the reload is over", 30, lambda: freqtrade.get("show_config")["state"] == "running")
    until("botops says that no entry is possible", 30, lambda: (lambda state: state["phase"] == "running" and state["trading_enabled"] is False)(
        beside.get("state")), lambda: beside.get("state")["trading_enabled"])
    freqtrade.kill()
    freqtrade.start()
    beside.connected()
    until("no entry after a restart either", 30, lambda: beside.get("state")["trading_enabled"] is False)
    time.sleep(8)
    assert freqtrade.get("status") == [], "it entered in spite of the lock"
    status, done = beside.control("resume")
    assert status == 200, (status, done)
    left = [lock["reason"] for lock in freqtrade.get("locks")["locks"] if lock["reason"] != "Auto lock"]
    assert left == ["of somebody else"], left
    until("it enters again", 90, lambda: freqtrade.get("status"))
    passed("durable pause", "held over a reload and a restart; resume removed botops' lock and no other")


def api_disabled(beside, home, folder, exchange):
    freqtrade = beside.freqtrade
    config = folder / "no-api.json"
    config.write_text(json.dumps(freqtrade.settings | {"api_server": freqtrade.settings["api_server"] | {"enabled": False}}))
    run = subprocess.run([BOTOPS, "freqtrade", "init", "--config", str(config), "--output", str(folder / "no-api")],
                         capture_output=True, text=True, env=beside.env())
    said = run.stdout + run.stderr
    ANSWERS.append(said)
    assert run.returncode != 0 and '"enabled": true' in said, said
    freqtrade.kill()
    freqtrade.write_config(api_server={"enabled": False})
    with open(freqtrade.log, "a") as log:
        silent = subprocess.Popen([str(home / "bin/freqtrade"), "trade", "-c", str(freqtrade.config), "--userdir",
                                   str(freqtrade.folder / "user_data"), "--db-url", f"sqlite:///{freqtrade.folder}/trades.sqlite"],
                                  cwd=freqtrade.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        (presence, reason), _ = until("a freqtrade without API is told", 30, lambda: (
            lambda seen: seen if seen[0] != "connected" else None)(beside.presence()))
    finally:
        end(silent)
    freqtrade.write_config(api_server={"enabled": True})
    freqtrade.start()
    beside.connected()
    passed("API disabled", f"{presence}: {reason[:100]!r}; init says the lines to add")


def another_version(beside, folder):
    """A version that nobody here has seen, in front of the real one."""
    import http.server
    import threading
    freqtrade = beside.freqtrade

    class Front(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            request = urllib.request.Request(f"http://127.0.0.1:{freqtrade.port}{self.path}")
            if self.headers.get("Authorization"):
                request.add_header("Authorization", self.headers["Authorization"])
            try:
                answer = urllib.request.urlopen(request, timeout=10)
            except urllib.error.HTTPError as error:
                answer = error
            except OSError:
                return self.close()
            body = answer.read()
            if self.path.endswith("/show_config") and answer.status == 200:
                told = json.loads(body) | {"version": "2031.4-dev-9f8e7d", "strategy_version": None, "new_field": [1]}
                told.pop("bot_name"), told.pop("timeframe_min", None)
                body = json.dumps(told).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def close(self):
            self.close_connection = True

        def log_message(self, *_):
            pass

    front = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    other = Beside(folder / "version", freqtrade, bot_id="later")
    other.start_adapter(f"http://127.0.0.1:{front.server_address[1]}")
    other.start_botops()
    try:
        other.connected()
        hello = json.loads(ipc(other.socket, "hello")[1])
        assert "2031.4-dev-9f8e7d" in hello["version"], hello
        assert other.get("state")["unreadable"] in (None, []), other.get("state")["unreadable"]
    finally:
        other.end()
        front.shutdown()
    passed("another version", f"version {hello['version']!r} is served as it is")


def two_of_one_name(beside, home, folder, exchange):
    second = Freqtrade(home, folder / "second", exchange, max_open_trades=1)
    other = Beside(folder / "beside-second", second, bot_id="second")
    try:
        second.start()
        other.start_adapter()
        other.start_botops()
        other.connected()
        names = [json.loads(ipc(one.socket, "hello")[1]) for one in (beside, other)]
        assert names[0]["bot_id"] == "freqtrade" and names[1]["bot_id"] == "second", names
        until("the second has its own trades", 30, lambda: len(other.get("state")["positions"]) == 1)
        before = beside.freqtrade.get("show_config")["state"]
        status, done = other.control("pause")
        assert status == 200 and second.get("show_config")["state"] == "paused", (status, done)
        assert beside.freqtrade.get("show_config")["state"] == before, "the other one was paused"
    finally:
        other.end()
        second.end()
    passed("two of one name", f"both are {names[0]['name']!r}, told apart as {names[0]['bot_id']!r} and {names[1]['bot_id']!r}; "
           "a command reached one of them")


def main():
    try:
        home = install(pathlib.Path(sys.argv[1]).resolve())
    except subprocess.CalledProcessError as error:
        home = None
        print(f"the install ended with {error.returncode}")
    if home is None:
        print("skipped: freqtrade cannot be installed here")
        return
    print(f"freqtrade is installed after {time.monotonic() - BEGAN:.0f} s", flush=True)
    with temporary_folder() as name, contextlib.ExitStack() as ends:
        folder = pathlib.Path(name)
        exchange = Exchange()
        ends.callback(exchange.end)
        freqtrade = Freqtrade(home, folder / "freqtrade", exchange)
        ends.callback(freqtrade.end)
        beside = Beside(folder / "beside", freqtrade, password="not-the-password-of-this-freqtrade")
        ends.callback(beside.end)
        beside.start_adapter()
        print(f"freqtrade answers after {freqtrade.start():.1f} s", flush=True)
        beside.start_botops()
        wrong_password(beside)
        state_to_the_digit(beside)
        pause_and_reload(beside)
        stopped_with_open_trades(beside)
        hung(beside)
        killed_and_password_changed(beside)
        flatten(beside)
        if os.environ.get("BOTOPS_LONG"):
            fills_and_partial_exits(beside, exchange)
            resting_orders_are_cancelled(beside, exchange)
            durable_pause(beside)
            another_version(beside, folder)
            two_of_one_name(beside, home, folder, exchange)
            api_disabled(beside, home, folder, exchange)
        beside.end()
        no_secret(folder / "beside", folder / "version", folder / "beside-second")
    print(f"freqtrade: {len(PASSED)} cases passed in {time.monotonic() - BEGAN:.0f} s: {', '.join(PASSED)}")


if __name__ == "__main__":
    main()
