"""A real freqtrade in dry run beside an exchange that trades nothing, for the checks. Ended by its pid.

freqtrade is a program of its own under another licence (GPL): it is installed from its package into a folder under
`target/` and only ever talked to over its API. The strategy it runs is written here, when it is started."""
import base64
import contextlib
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
PAIRS = {"BTC/USDT": "60000", "ETH/USDT": "3000", "SOL/USDT": "150"}
# Secrets that must appear nowhere; each is its own word, so that a search for it finds nothing else.
CANARIES = {
    "jwt_secret_key": "canary-jwt-3b1f2a9c7d5e4f60817263544536271809abcdef",
    "ws_token": "canary-ws-token-91c2d3e4f5a6",
    "password": "canary-password-7e6d5c4b3a29",
    "exchange_key": "canary-exchange-key-0a1b2c3d4e5f",
    "exchange_secret": "canary-exchange-secret-5f4e3d2c1b0a",
    "telegram_token": "canary-telegram-token-1029384756",
}
STRATEGY = '''
from freqtrade.strategy import IStrategy


class EnterAlways(IStrategy):
    """Enters at once on every pair, and leaves only by hand."""

    INTERFACE_VERSION = 3
    timeframe = "1m"
    can_short = False
    minimal_roi = {"0": 100}
    stoploss = -0.5
    process_only_new_candles = False
    startup_candle_count = 0

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe
'''


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def install(home):
    """The folder of an environment with freqtrade in it, made when it is missing; None where that is not possible."""
    home = pathlib.Path(home)
    program = home / "bin/freqtrade"
    if program.exists():
        return home
    python = next((name for name in ("python3.11", "python3.12", "python3.13") if _runs(name)), None)
    if python is None:
        return None
    subprocess.run([python, "-m", "venv", str(home)], check=True)
    subprocess.run([str(home / "bin/pip"), "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:",
                    "--no-binary", "sdnotify", "-c", str(HERE / "constraints.txt"), "freqtrade"], check=True)
    return home


def _runs(python):
    with contextlib.suppress(OSError):
        return subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
    return False


class Exchange:
    """The exchange that trades nothing, in a process of its own."""

    def __init__(self, port=0, swing=0.0):
        command = [sys.executable, str(HERE / "exchange_stand_in.py"), "--port", str(port), "--swing", str(swing)]
        command += [f"{pair}={price}" for pair, price in PAIRS.items()]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.base = self.process.stdout.readline().strip()

    def set_price(self, pair, price):
        symbol = pair.replace("/", "")
        urllib.request.urlopen(urllib.request.Request(f"{self.base}/price?symbol={symbol}&price={price}", method="POST"))

    def end(self):
        self.process.kill()
        self.process.wait(10)


class Freqtrade:
    """One freqtrade in a folder: its config, its process, its API."""

    def __init__(self, home, folder, exchange, port=None, **changes):
        self.home, self.folder = pathlib.Path(home), pathlib.Path(folder)
        self.port = port or free_port()
        self.base = f"http://127.0.0.1:{self.port}/api/v1"
        self.username, self.password = "operator", CANARIES["password"]
        self.process = None
        (self.folder / "user_data/strategies").mkdir(parents=True, exist_ok=True)
        (self.folder / "user_data/strategies/enter_always.py").write_text(STRATEGY)
        self.config = self.folder / "config.json"
        self.settings = merged(config(exchange.base, self.port), changes)
        self.write_config()

    def write_config(self, **changes):
        self.settings = merged(self.settings, changes)
        self.config.write_text(json.dumps(self.settings, indent=1))

    def start(self, limit=90):
        """Starts it and waits until its API answers; the time that took."""
        began = time.monotonic()
        self.log = self.folder / "freqtrade.log"
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [str(self.home / "bin/freqtrade"), "trade", "-c", str(self.config), "--userdir", str(self.folder / "user_data"),
                 "--db-url", f"sqlite:///{self.folder}/trades.sqlite"],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while time.monotonic() < began + limit:
            if self.process.poll() is not None:
                raise SystemExit(f"freqtrade ended: {self.log.read_text()[-2000:]}")
            with contextlib.suppress(OSError, ValueError):
                if self.get("show_config").get("state") and self.get("health").get("last_process"):
                    return time.monotonic() - began
            time.sleep(0.2)
        raise SystemExit(f"freqtrade does not answer within {limit} s: {self.log.read_text()[-2000:]}")

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        """SIGKILL; the database and the config stay."""
        self.process.kill()
        self.process.wait(20)
        self.process = None

    def end(self):
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self.process = None

    def send(self, method, path, body=None, password=None, timeout=15):
        """Any call: (status, JSON)."""
        word = base64.b64encode(f"{self.username}:{password or self.password}".encode()).decode()
        request = urllib.request.Request(f"{self.base}/{path}", method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": f"Basic {word}", "Content-Type": "application/json"})
        try:
            answer = urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            answer = error
        content = answer.read()
        return answer.status, json.loads(content) if content else None

    def text(self, path):
        """The body of a GET as it came."""
        word = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        request = urllib.request.Request(f"{self.base}/{path}", headers={"Authorization": f"Basic {word}"})
        return urllib.request.urlopen(request, timeout=15).read().decode()

    def get(self, path):
        status, body = self.send("GET", path)
        if status != 200:
            raise ValueError(f"{path}: {status} {body}")
        return body

    def post(self, path, body=None):
        return self.send("POST", path, {} if body is None else body)


def config(exchange, port):
    public = f"{exchange}/api/v3"
    return {
        "max_open_trades": 3, "stake_currency": "USDT", "stake_amount": 50, "tradable_balance_ratio": 0.99,
        "dry_run": True, "dry_run_wallet": 1000, "timeframe": "1m", "cancel_open_orders_on_exit": False,
        "order_types": {"entry": "market", "exit": "market", "emergency_exit": "market", "force_entry": "limit",
                        "force_exit": "market", "stoploss": "market", "stoploss_on_exchange": False},
        "entry_pricing": {"price_side": "other", "use_order_book": False, "order_book_top": 1},
        "exit_pricing": {"price_side": "other", "use_order_book": False, "order_book_top": 1},
        "exchange": {
            "name": "binance", "key": CANARIES["exchange_key"], "secret": CANARIES["exchange_secret"],
            "pair_whitelist": list(PAIRS), "pair_blacklist": [], "enable_ws": False,
            "ccxt_config": {
                "urls": {"api": {"public": public, "private": public, "v1": f"{exchange}/api/v1",
                                 "sapi": f"{exchange}/sapi/v1", "fapiPublic": f"{exchange}/fapi/v1",
                                 "dapiPublic": f"{exchange}/dapi/v1"}},
                "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}}},
        "pairlists": [{"method": "StaticPairList"}],
        "telegram": {"enabled": False, "token": CANARIES["telegram_token"], "chat_id": "0"},
        "api_server": {
            "enabled": True, "listen_ip_address": "127.0.0.1", "listen_port": port, "verbosity": "error",
            "enable_openapi": False, "jwt_secret_key": CANARIES["jwt_secret_key"], "ws_token": CANARIES["ws_token"],
            "CORS_origins": [], "username": "operator", "password": CANARIES["password"]},
        "bot_name": "lab", "initial_state": "running", "force_entry_enable": True,
        "internals": {"process_throttle_secs": 2}, "strategy": "EnterAlways",
    }


def merged(base, changes):
    """`base` with `changes` laid over it, object by object."""
    result = dict(base)
    for name, value in changes.items():
        result[name] = merged(result[name], value) if isinstance(value, dict) and isinstance(result.get(name), dict) else value
    return result


if __name__ == "__main__":
    # freqtrade_peer.py VENV FOLDER PORT: stays until it is ended, which ends both.
    exchange = Exchange(swing=0.01)
    freqtrade = Freqtrade(sys.argv[1], sys.argv[2], exchange, int(sys.argv[3]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        freqtrade.start()
        print(f"freqtrade answers at {freqtrade.base} as {freqtrade.username}:{freqtrade.password}, pid {freqtrade.pid}; "
              f"exchange {exchange.base}; config {freqtrade.config}", flush=True)
        freqtrade.process.wait()
    finally:
        freqtrade.end()
        exchange.end()
