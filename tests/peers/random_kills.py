"""What `check-random-kills` does: kills, floods, locks and the asking at once, then a quiet time, then the invariants."""
import argparse
import contextlib
import decimal
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

from demo import BOTOPS, PLACE, temporary_folder, until
from random_kills_breaks import blind_invariants
from random_kills_driver import BROKEN, ROOMY, Answers, Client, Driver, JournalFollower, Peer, StreamFollower, open_stream
from random_kills_invariants import MORE, Evidence, account_of, faults_of, read_lines

D = decimal.Decimal
# Where the folder is copied to at the end, for a look at what was found.
KEEP = os.environ.get("KEEP_FOLDER")
KEY = "a-key-of-the-random-kills-77"
# Half a request, as a client sends that dies, or that means harm.
HALVES = [b"GET /api/v1/state HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-",
          b"PUT /api/v1/config/apply HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4000\r\n\r\n{\"merge_patch\":",
          b"G", b""]
# Holds the store's write lock as another program would that looks into it, for less than the 5 s that botops waits for it.
LOCK = """
import sqlite3, sys, time
store = sqlite3.connect(f"file:{sys.argv[1]}?mode=rw", uri=True, isolation_level=None, timeout=5)
store.execute("BEGIN IMMEDIATE")
time.sleep(float(sys.argv[2]))
store.execute("ROLLBACK")
"""


def stable_port():
    """A free port below those that the system hands out, so that nobody gets it while botops is dead."""
    while True:
        port = random.SystemRandom().randint(15000, 30000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Watched:
    """A demo in a folder on one port, started again whenever it is gone until `rest`."""

    def __init__(self, folder, peer):
        self.folder, self.port = folder, stable_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("BOT_")} | {
            "BOT_API_RATE_LIMIT": "1000000", "TMPDIR": PLACE, "BOT_API_AUTH_TOKEN": KEY, "BOT_CONFIG_MIN_TRIAL": "1s",
            "BOT_CHECK_ALLOW": "127.0.0.1", "BOT_ALERT_WEBHOOK_URL": peer.url}
        self.output = open(folder / "output.txt", "ab")
        self.starts, self.process, self.over = 0, None, threading.Event()
        self.start()
        self.keeper = threading.Thread(target=self.keep, daemon=True)
        self.keeper.start()

    def start(self):
        command = [BOTOPS, "demo", "--port", str(self.port), "--data-dir", self.folder, "--", "--tick", "50ms"]
        self.starts += 1
        self.process = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=self.output, stderr=self.output)

    def keep(self):
        while not self.over.wait(0.05):
            if self.process.poll() is not None:
                self.start()

    def bot_pid(self):
        """The bot's process, where there is one; never a stranger that got its number."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = json.loads((self.folder / "paperbot/paperbot.pid").read_text())["pid"]
            if str(self.folder).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    def kill_bot(self):
        pid = self.bot_pid()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(pid)

    def rest(self):
        """Ends botops in order; the bot lives on."""
        self.over.set()
        self.keeper.join()
        self.process.terminate()
        return self.process.wait(60)

    def leave(self):
        self.over.set()
        self.keeper.join()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        self.kill_bot()
        self.output.close()

    def footprint(self):
        folder = pathlib.Path(f"/proc/{self.process.pid}")
        fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return {"KiB of memory": int(fields["VmRSS"].split()[0]), "threads": int(fields["Threads"]),
                "open files": len(os.listdir(folder / "fd"))}


class Trouble:
    """What happens to botops and its bot, each kind in a thread of its own."""

    # The shortest and the longest wait in seconds before each kind.
    PAUSES = {"kill_botops": (0.2, 9), "kill_bot": (1, 16), "flood": (2, 12), "lock_store": (4, 15)}

    def __init__(self, watched, client, seed, pauses=PAUSES):
        self.watched, self.client, self.seed = watched, client, seed
        self.over, self.counts, self.failures = threading.Event(), {}, []
        self.threads = [threading.Thread(target=self.repeat, args=(getattr(self, kind), *pause), daemon=True)
                        for kind, pause in pauses.items()]
        for thread in self.threads:
            thread.start()

    def repeat(self, act, least, most):
        chance = random.Random(f"{self.seed}-{act.__name__}")
        try:
            while not self.over.wait(chance.uniform(least, most)):
                if act(chance):
                    self.counts[act.__name__] = self.counts.get(act.__name__, 0) + 1
        except Exception as failure:
            self.failures.append(f"{act.__name__}: {failure!r}")

    def kill_botops(self, chance):
        if chance.random() < 0.15:
            self.watched.kill_bot()
        self.watched.process.kill()
        return True

    def kill_bot(self, _):
        return self.watched.kill_bot()

    def flood(self, chance):
        with flood(self.client, chance.randint(100, 400), chance.randint(1, 10)):
            self.over.wait(chance.uniform(0.2, 4))
        return True

    def lock_store(self, chance):
        store = self.watched.folder / "botops/ops.db"
        lock = [sys.executable, "-c", LOCK, store, str(chance.uniform(0.5, 12))]
        # One that finds the store locked, or not yet there, gives up.
        return subprocess.run(lock, stderr=subprocess.DEVNULL).returncode == 0

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


@contextlib.contextmanager
def flood(client, halves, readers):
    """So many sockets that sent half a request, and readers of the stream that read nothing."""
    port = int(client.base.rsplit(":", 1)[1])
    with contextlib.ExitStack() as open_ones:
        for number in range(halves):
            with contextlib.suppress(OSError):
                half = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                half.sendall(HALVES[number % len(HALVES)])
        for _ in range(readers):
            with contextlib.suppress(ValueError, *BROKEN):
                open_ones.enter_context(open_stream(client, 0, receive_buffer=4096))
        yield


def prepare(client, peer):
    until("the bot runs version 1", 120, lambda: client.get("config").get("sync") == "in_sync")
    calm = {"check_interval": 1, "timeout": 0.8, "confirm_interval": 0.1, "startup_grace": 0,
            "alerting": {"group_wait_ms": 0, "keep_firing_for_ms": 200, "change_gap_ms": 0, "for_critical_ms": 0}}
    until("health is hasty", 30, lambda: client.send("PUT", "health/monitoring/config", calm)[0] == 200)
    feed = {"checker_type": "external_api", "component_id": "feed", "criticality": "important",
            "config": {"api_url": peer.url}, "interval": 1, "timeout": 0.5}
    until("the feed is watched", 30, lambda: client.send("POST", "health/checkers", feed)[0] == 201)

    def roomy():
        body = {"merge_patch": ROOMY, "reason": "room for a fast market", "confirm": "manual", "confirm_within_s": 60}
        status, view = client.send("PUT", "config/apply", body, If_Match=client.get("config").get("etag", ""))
        return status == 202 and client.send("POST", f"config/txns/{view['txn']}/confirm", {})[0] == 200
    until("the bot has room", 60, roomy)


def bring_bot_back(client):
    if client.get("state").get("bot", {}).get("presence") == "connected":
        return True
    client.send("POST", "workflows/restart-bot/execute", {"params": {"reason": "the kills are over", "cancel_resting": False}})
    return False


def grow_quiet(watched, client, peer):
    """Until all that was begun has ended, and all is as healthy as it was."""
    peer.mood = 200
    until("botops answers", 120, lambda: client.get("whoami"))
    until("the bot is connected", 400, lambda: bring_bot_back(client))

    def nothing_silent():
        silences = client.get("health/silences").get("items")
        for silence in silences or []:
            client.send("DELETE", f"health/silences/{silence['id']}")
        return silences is not None
    until("no silence is left", 60, nothing_silent)
    until("every run and transaction has ended", 400, lambda: count_rows(watched, "ops WHERE live = 1") == 0)
    until("the bot runs what is committed", 120, lambda: client.get("config").get("sync") == "in_sync",
          lambda: client.get("config").get("sync_reason"))

    def open_alerts():
        items = client.get("health/alerts?limit=500").get("items")
        return None if items is None else [one["component_id"] for one in items
                                           if one["state"] != "resolved" and one["component_id"] in ("feed", "bot")]
    until("no alert of feed or bot is open", 300, lambda: open_alerts() == [], open_alerts)
    until("every notice was taken", 180, lambda: count_rows(watched, "health_outbox WHERE delivered_ms IS NULL AND dead_ms IS NULL") == 0)


def count_rows(watched, where):
    with contextlib.closing(sqlite3.connect(f"file:{watched.folder}/botops/ops.db?mode=ro", uri=True)) as store:
        return store.execute(f"SELECT count(*) FROM {where}").fetchone()[0]


def flood_at_rest(watched, client):
    """What botops holds before and after floods in one life. The first flood is what fills its caches."""
    seen = watched.footprint()

    def near(start):
        seen.update(watched.footprint())
        return all(seen[what] <= start[what] + MORE[what] for what in MORE)
    empty = dict(seen)
    with flood(client, 400, 30):
        client.get("state")
    until("the first flood is over", 120, lambda: near(empty | {"KiB of memory": seen["KiB of memory"]}), lambda: seen)
    before = dict(seen)
    for _ in range(6):
        with flood(client, 400, 30):
            client.get("state")
    # What is still held then is what the invariant names.
    with contextlib.suppress(SystemExit):
        until("the floods have left nothing", 120, lambda: near(before))
    return before, seen


def compare_account(watched, client):
    """Cash and positions by the bot's word beside its ledger, as soon as they are the same or else as they were last."""
    shown = {}

    def same():
        ledger = read_lines(watched.folder / "paperbot/ledger.jsonl")
        state = client.get("state")
        if state:
            shown.update(ledger=ledger, cash=state["account"]["cash_balance"],
                         positions={one["symbol"]: one["quantity"] for one in state["positions"]})
        return shown and account_of(ledger) == (D(shown["cash"]), {one: D(held) for one, held in shown["positions"].items()})
    with contextlib.suppress(SystemExit):
        until("the state shows what the ledger holds", 90, same)
    return shown


def caught_up(client, followers):
    """Whether both have read what the journal held when this began."""
    latest = client.get("events?limit=1").get("latest")
    return latest is not None and until("the followers have caught up", 120, lambda: all(one.cursor >= latest for one in followers),
                                        lambda: [one.cursor for one in followers])


def run(folder, seconds, seed):
    peer, answers, over, unfollow = Peer(), Answers(), threading.Event(), threading.Event()
    watched = Watched(folder, peer)
    client = Client(watched.base, KEY, answers)
    try:
        prepare(client, peer)
        followers = [JournalFollower(client, unfollow), StreamFollower(client, unfollow)]
        drivers = [Driver(f"driver{number}", seed, client, peer, over) for number in range(3)]
        for thread in [*followers, *drivers]:
            thread.start()
        trouble = Trouble(watched, client, seed)
        time.sleep(seconds)
        trouble.end()
        over.set()
        for driver in drivers:
            driver.join()
        print(f"{trouble.counts}, {watched.starts} starts of botops, {answers.counts.most_common()}", flush=True)
        grow_quiet(watched, client, peer)
        quiet_ms = time.time_ns() // 1_000_000
        before, after = flood_at_rest(watched, client)
        print(f"before the floods {before}, after them {after}", flush=True)
        shown = compare_account(watched, client)
        running, head = client.get("config")["running"], client.get("config/audit?limit=1")["head"]
        caught_up(client, followers)
        unfollow.set()
        for follower in followers:
            follower.join()
        code = watched.rest()
        seen = Evidence(folder, answers, followers, peer.notices, watched.starts)
        seen.quiet_ms, seen.running, seen.audit_head, seen.shown = quiet_ms, running, head, shown
        seen.before, seen.after = before, after
        faults = trouble.failures + [one.failure for one in [*drivers, *followers] if one.failure]
        faults += [f"botops ended with {code}"] if code else []
        faults += faults_of(seen)
        print(f"{len(seen.operations)} operations, {len(seen.commands)} commands, {len(seen.journal)} events, "
              f"{len(seen.ledger)} lines of the ledger, {len(seen.audit)} of the audit, {len(seen.alerts)} alerts; "
              f"told to be gone, from and to: {seen.told}", flush=True)
        return faults or list(blind_invariants(seen))
    finally:
        for event in (over, unfollow):
            event.set()
        watched.leave()
        if KEEP:
            shutil.copytree(folder, KEEP, symlinks=True, ignore=shutil.ignore_patterns("*.sock"), dirs_exist_ok=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=900 if os.environ.get("BOTOPS_LONG") else 90,
                         help="how long everything is killed; 30 at least, or too little happens")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10 ** 6),
                         help="what is done and when; how the machine takes it is not in it")
    options = options.parse_args()
    again = f"check-random-kills --seconds {options.seconds:g} --seed {options.seed}"
    print(f"seed {options.seed}; the same again: {again}", flush=True)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with temporary_folder() as folder:
            faults = run(pathlib.Path(folder), options.seconds, options.seed)
    except SystemExit as unseen:
        faults = [str(unseen)]
    for fault in faults:
        print(f"FAULT: {fault[:2000]}", flush=True)
    if faults:
        raise SystemExit(f"{len(faults)} faults with seed {options.seed}: {again}")
    print("every invariant holds, and each finds what was broken for it")


if __name__ == "__main__":
    main()
