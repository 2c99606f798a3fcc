"""A demo, or botops beside a bot of one's own, on a free port, for the checks. Ended by its pid.

`with demo() as (base, key): …` is enough for most. `House` is a demo in a folder that outlives it: botops can be killed
and started again there, and the bot trades on meanwhile. `serve` starts botops beside a bot that the check has started."""
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


def bare_environment():
    """The environment without settings of botops."""
    return {name: value for name, value in os.environ.items() if not name.startswith("BOT_")}


def begin(cwd, *arguments, **settings):
    """Starts a demo and reads its address and key: (process, base, key)."""
    env = bare_environment() | {"BOT_API_RATE_LIMIT": "1000000", "TMPDIR": PLACE} | settings
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


def send(base, key, method, path, body=None, **headers):
    """Any call below `/api/v1`, whatever its status: (status, body, headers)."""
    headers = {"X-API-Key": key, "Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{base}/api/v1/{path}", method=method, headers=headers,
                                     data=None if body is None else json.dumps(body).encode())
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    content = answer.read()
    is_json = "json" in answer.headers.get("Content-Type", "")
    return answer.status, json.loads(content) if is_json else content, answer.headers


def until(what, limit, look, otherwise=lambda: "", ignored=(), is_told=True):
    """What `look` returns once it is true; fails the check when that takes longer than `limit` seconds.

    `ignored` are errors that mean no more than "not yet"."""
    began = time.monotonic()
    while time.monotonic() < began + limit:
        with contextlib.suppress(*ignored):
            seen = look()
            if seen:
                if is_told:
                    print(f"seen after {time.monotonic() - began:.1f} s: {what}", flush=True)
                return seen
        time.sleep(0.1)
    raise AssertionError(f"not seen within {limit} s: {what} {otherwise()}")


def serve(folder, key, settings, program=BOTOPS, **process):
    """Starts botops in a folder that it has its data and its log in, beside a bot: (process, base).

    `settings` have their whole names and may be others of the environment; `process` is how the process is made."""
    env = bare_environment() | {
        "BOT_API_AUTH_TOKEN": key, "BOT_API_PORT": "0", "BOT_API_RATE_LIMIT": "100000", "BOT_POLL_INTERVAL": "500ms",
        "BOT_DATA_DIR": str(folder / "botops"), "BOT_LOG_DIR": str(folder / "botops-logs"), "TMPDIR": PLACE, **settings}
    log = pathlib.Path(folder, env["BOT_LOG_DIR"], "botops.log")
    log.unlink(missing_ok=True)
    server = subprocess.Popen([program, "serve"], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **process)

    def address():
        assert server.poll() is None, f"botops ended with {server.returncode}; its log: {log}"
        lines = log.read_text().splitlines() if log.exists() else []
        found = [json.loads(line).get("net.address") for line in lines if '"net.address"' in line]
        return found and found[-1]

    try:
        return server, f"http://{until('botops serves', 60, address, is_told=False)}"
    except AssertionError:
        server.kill()
        server.wait()
        raise


def kill_processes_of(folder):
    """Ends every process whose command line names a folder of the check: what botops or a bot started there."""
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int(entry.name) != os.getpid() and os.fsencode(folder) in (
                    entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


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
        return send(self.base, self.key, method, path, body, **headers)

    def get(self, path):
        status, body, _ = self.send("GET", path)
        assert status == 200, (path, status, body)
        return body
