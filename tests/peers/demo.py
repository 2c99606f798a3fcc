"""A demo on a free port, for the checks. Ended by its pid.

`with demo() as (base, key): …` is enough for most. `House` is a demo in a folder that outlives it: botops can be killed
and started again there, and the bot trades on meanwhile."""
import contextlib
import decimal
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOTOPS = os.environ.get("BOTOPS", str(ROOT / "target/release/botops"))
# In memory where there is room: a disk that stalls under another's load would break promises about time.
PLACE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"


def temporary_folder():
    """A short folder of one's own, with a path a socket's name has room in."""
    return tempfile.TemporaryDirectory(dir=PLACE, ignore_cleanup_errors=True)


def free_port():
    """A port of this machine that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def begin(cwd, *arguments, **settings):
    """Starts a demo and reads its address and key: (process, base, key)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("BOT_")}
    env |= {"BOT_API_RATE_LIMIT": "1000000", "TMPDIR": PLACE} | settings
    process = subprocess.Popen([BOTOPS, "demo", "--port", "0", *arguments], cwd=cwd, env=env,
                               stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    base = key = None
    for line in process.stdout:
        base = base or next(iter(re.findall(r"http://[0-9.:]+", line)), None)
        key = key or next(iter(re.findall(r"^Key: (\S+)", line)), None)
        if base and key:
            break
    else:
        raise SystemExit("the demo ended before it printed its key")
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return process, base, key


@contextlib.contextmanager
def demo(*arguments, **settings):
    with temporary_folder() as cwd:
        process, base, key = begin(cwd, *arguments, **settings)
        try:
            yield base, key
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def call(url, key=None, method="GET", body=None):
    """One request with the key; the JSON that came back."""
    headers = {"X-API-Key": key, "Content-Type": "application/json"} if key else {}
    request = urllib.request.Request(url, headers=headers, method=method, data=body and json.dumps(body).encode())
    return json.loads(urllib.request.urlopen(request, timeout=30).read())


def until(what, limit, look, otherwise=lambda: ""):
    """What `look` returns once it is true; ends the check when that takes longer than `limit` seconds."""
    began = time.monotonic()
    while time.monotonic() < began + limit:
        seen = look()
        if seen:
            print(f"seen after {time.monotonic() - began:.1f} s: {what}", flush=True)
            return seen
        time.sleep(0.2)
    raise SystemExit(f"not seen within {limit} s: {what} {otherwise()}")


def fold(entries):
    """Positions and resting orders after these entries of a bot's ledger."""
    D = decimal.Decimal
    positions, resting = {}, {}
    for entry in entries:
        id = entry.get("order_id")
        if entry["type"] == "placed":
            resting[id] = D(entry["quantity"])
        elif entry["type"] == "filled":
            sign = 1 if entry["side"] == "BUY" else -1
            positions[entry["symbol"]] = positions.get(entry["symbol"], D(0)) + sign * D(entry["quantity"])
            resting[id] -= D(entry["quantity"])
        elif entry["type"] == "cancelled":
            resting.pop(id, None)
    return ({symbol: held for symbol, held in positions.items() if held},
            {id for id, rest in resting.items() if rest})


class House:
    """A demo in a named folder. Its `bot` arguments go to the bot; leaving the house ends both processes."""

    def __init__(self, *bot, **settings):
        self.home = temporary_folder()
        self.folder = pathlib.Path(self.home.name)
        self.arguments = ["--data-dir", str(self.folder), "--", *bot]
        self.settings = settings
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.kill(self.bot_pid(), signal.SIGKILL)
        self.home.cleanup()

    def start(self):
        self.process, self.base, self.key = begin(self.folder, *self.arguments, **self.settings)

    def kill(self):
        """SIGKILL of botops; the bot lives on."""
        self.process.kill()
        self.process.wait(30)
        self.process = None

    def bot_pid(self):
        return json.loads((self.folder / "paperbot/paperbot.pid").read_text())["pid"]

    def kill_bot(self):
        pid = self.bot_pid()
        os.kill(pid, signal.SIGKILL)
        return pid

    def send(self, method, path, body=None, **headers):
        """Any call: (status, body, headers)."""
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.base}/api/v1/{path}", method=method, headers=headers,
                                         data=None if body is None else json.dumps(body).encode())
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        content = answer.read()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, json.loads(content) if is_json else content, answer.headers

    def get(self, path):
        status, body, _ = self.send("GET", path)
        assert status == 200, (path, status, body)
        return body
