"""What `check-full-disk` does. What the bot really did is read from its own files, not from botops."""
import contextlib
import decimal
import hashlib
import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.error
import urllib.request

from demo import BOTOPS, House, fold, until

D = decimal.Decimal
PAGE = 4096
# Reads that need neither the disk's room nor the bot.
READS = ["state", "summary", "metrics", "config", "config/versions", "config/audit", "config/schema", "events?after=0",
         "errors", "workflows", "health/current", "health/statistics"]


# A bad day of the simulated market does not stop the bot.
ROOMY = {"risk_management": {"daily_loss_limit": "-50000", "max_daily_loss_pct": 10, "max_consecutive_losses": 50},
         "circuit_breaker_thresholds": {"daily_loss": -0.5, "max_drawdown": -0.9}}


def slippage(bps):
    """A change that alters nothing of what the bot does here."""
    return {"order_management": {"max_slippage_pct": bps / 100}}


def say(text):
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


class SmallHouse(House):
    """A demo on a small disk of its own; on wish the bot has one of its own beside it."""

    def __init__(self, *bot, bots_own=False, **settings):
        super().__init__(*bot, **settings)
        mount("-t", "tmpfs", "-o", "size=24m,mode=700", "none", self.folder)
        self.mounts = [self.folder]
        if bots_own:
            own = self.folder / "paperbot"
            own.mkdir(mode=0o700)
            mount("-t", "tmpfs", "-o", "size=8m,mode=700", "none", own)
            self.mounts.insert(0, own)

    def __exit__(self, *failure):
        super().__exit__(*failure)
        for place in self.mounts:
            subprocess.run(["umount", "-l", place], check=False)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    # What is on disk.

    def ledger(self):
        text = (self.folder / "paperbot/ledger.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def head(self):
        """The hash that HEAD names, of a file that has it."""
        folder = self.folder / "botops/config"
        head = json.loads((folder / "HEAD").read_text())
        assert hashlib.sha256((folder / head["file"]).read_bytes()).hexdigest() == head["sha256"], head
        return head["sha256"]

    def outcome(self, txn):
        """How the transaction ended, by the bot's own file."""
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads((self.folder / "paperbot/config-outcomes.json").read_text())["endings"]).get(txn)

    # What is said.

    def ready(self):
        try:
            return urllib.request.urlopen(f"{self.base}/readyz", timeout=30).status == 200
        except urllib.error.HTTPError as refused:
            assert refused.status == 503, refused
            return False

    def running(self):
        return self.get("config")["running"]["sha256"]

    def in_sync(self):
        now = self.get("config")
        return now["sync"] == "in_sync" and now["trial"] is None and now

    def apply(self, patch, reason, seconds=20, **more):
        body = {"merge_patch": patch, "reason": reason, "confirm": "manual", "confirm_within_s": seconds} | more
        return self.send("PUT", "config/apply", body, If_Match=self.get("config")["etag"])[:2]

    def begin(self, bps, reason, seconds=20):
        status, txn = self.apply(slippage(bps), reason, seconds)
        assert (status, txn["state"]) == (202, "trial"), (status, txn)
        assert self.running() == txn["candidate"]["sha256"]
        return txn

    def gets_room(self):
        until("the bot runs version 1", 30, self.in_sync)
        status, txn = self.apply(ROOMY, "room for a fast market")
        assert status == 202 and self.settle(txn, "confirm")[1]["state"] == "committed", txn
        trades_on(self)

    def settle(self, txn, verb):
        return self.send("POST", f"config/txns/{txn['txn']}/{verb}", {})[:2]

    def ended(self, txn):
        look = lambda: (view := self.get(f"config/txns/{txn['txn']}"))["terminal"] and view
        return until(f"the end of {txn['plan']['reason'] if 'plan' in txn else txn['reason']!r}", 30, look)

    def reads_go_on(self):
        for path in READS:
            self.get(path)

    def tells_of_it(self):
        """The semantic errors of the summary, by code."""
        summary = self.get("summary")
        return {error["error_code"] for error in summary["recent_errors"]} | {
            "warned" for warning in summary["warnings"] if "SRV_002" in warning}

    def wait_until_told(self):
        until("not ready", 15, lambda: not self.ready())
        until("the summary says so", 15, lambda: {"SRV_002", "warned"} <= self.tells_of_it(), self.tells_of_it)
        error = next(error for error in self.get("summary")["recent_errors"] if error["error_code"] == "SRV_002")
        assert error["severity"] == "critical" and "BOT_DATA_DIR" in error["remediation"], error

    def wait_until_healed(self):
        until("ready again", 15, self.ready)
        until("the summary no longer warns", 15, lambda: "warned" not in self.tells_of_it())
        until("in sync", 30, self.in_sync)

    def assert_whole(self, what):
        """What must hold whenever nothing is under way."""
        assert self.in_sync()["running"]["sha256"] == self.head(), f"{what}: the bot runs HEAD"
        verdict = self.get("config/audit/verify")
        assert verdict["valid"], (what, verdict)
        file = self.folder / "botops/config/config_history.jsonl"
        offline = subprocess.run([BOTOPS, "audit", "verify", file], capture_output=True, text=True)
        assert offline.returncode == 0, (what, offline)
        lines = self.ledger()
        assert [line["n"] for line in lines] == list(range(1, len(lines) + 1)), f"{what}: the ledger is whole"
        fills = [line["entry"]["fill_id"] for line in lines if line["entry"]["type"] == "filled"]
        assert len(fills) == len(set(fills)), f"{what}: a fill came twice"

        def same():
            state = self.get("state")
            held, _ = fold([line["entry"] for line in self.ledger()])
            return held == {one["symbol"]: D(one["quantity"]) for one in state["positions"]}
        until("the state shows what the ledger holds", 30, same)


class Full:
    """Fills a disk and keeps it full, whatever is taken away from it meanwhile."""

    def __init__(self, *folders):
        self.ballasts = [pathlib.Path(folder, "ballast") for folder in folders]
        self.over = threading.Event()

    def top_up(self, file):
        with contextlib.suppress(OSError):
            while True:
                os.write(file, bytes(PAGE))

    def keep(self):
        while not self.over.wait(0.005):
            for file in self.files:
                self.top_up(file)

    def __enter__(self):
        self.files = [os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for ballast in self.ballasts]
        for file in self.files:
            self.top_up(file)
            assert os.fstatvfs(file).f_bavail == 0
        self.thread = threading.Thread(target=self.keep)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for file, ballast in zip(self.files, self.ballasts):
            os.close(file)
            ballast.unlink()


def trades_on(house):
    before = len(house.ledger())
    until("the bot trades on", 60, lambda: len(house.ledger()) > before + 3)


def nothing_is_traded(house):
    """What is not in the ledger did not happen: with a full disk, the account stands still."""
    until("the bot says that its ledger is full", 15, lambda: "BOT_012" in house.tells_of_it(), house.tells_of_it)
    until("it says why it opens nothing", 15, lambda: house.get("state")["no_entry_reasons"] == ["ledger_unwritable"])


def before_apply(house):
    head = house.head()
    with Full(house.folder):
        nothing_is_traded(house)
        for number in range(3):
            status, problem = house.apply(slippage(230 + number), "on a full disk")
            assert status == 503 and problem["error_code"] in ("SRV_002", "CFG_014"), (status, problem)
            assert problem["effect"] == "none", problem
            assert house.running() == head == house.head()
        house.wait_until_told()
        house.reads_go_on()
        # What takes risk out is done. A short line may still fit into the ledger's last page; otherwise it is in memory.
        status, answer, _ = house.send("POST", "control/pause", {"reason": "cannot be recorded"})
        assert (status, answer["outcome"]) == (200, "done"), (status, answer)
        is_paused = lambda: any(line["entry"]["type"] == "paused" for line in house.ledger())
        assert is_paused() or "in memory alone" in answer["message"], answer
        until("it is paused", 10, lambda: house.get("state")["phase"] == "paused")
        status, refused, _ = house.send("POST", "control/resume", {"reason": "cannot be recorded"})
        assert status == 409 and refused["effect"] == "none" or is_paused(), (status, refused)
        say(f"full before a change: refused ({problem['error_code']}), reads go on, a pause is done, not ready, told")
    house.wait_until_healed()
    until("the pause is in the ledger", 10, is_paused)
    house.send("POST", "control/resume", {"reason": "there is room"})
    trades_on(house)
    house.assert_whole("before apply")


def during_a_trial(house):
    head = house.head()
    txn = house.begin(240, "full during the trial", 3)
    with Full(house.folder):
        began = time.monotonic()
        until("the bot runs what is committed", 15, lambda: house.running() == head)
        took = time.monotonic() - began
        view = house.get(f"config/txns/{txn['txn']}")
        assert view["state"] != "committed", view
        house.reads_go_on()
    ended = house.ended(txn)
    assert ended["state"] == "rolled_back", ended
    house.wait_until_healed()
    house.assert_whole("during a trial")
    say(f"full during a trial of 3 s: undone after {took:.1f} s, and {ended['state']} ({ended['by']}) when there was room")


def at_the_confirmation(house):
    head = house.head()
    txn = house.begin(241, "full at the confirmation")
    with Full(house.folder):
        status, answer = house.settle(txn, "confirm")
        assert status == 409 and answer["error_code"] == "CFG_012", (status, answer)
        until("the bot runs what HEAD names", 15, lambda: house.running() == house.head())
    ended = house.ended(txn)
    assert (ended["state"], house.head()) == ("rolled_back", head), ended
    house.wait_until_healed()
    house.assert_whole("at the confirmation")
    say(f"full at the confirmation: answered {status} {answer.get('error_code') or answer.get('state')}; {ended['outcome']}")


def at_the_revert(house):
    head = house.head()
    txn = house.begin(242, "full at the revert")
    with Full(house.folder):
        status, answer = house.settle(txn, "cancel")
        until("the bot runs what is committed", 15, lambda: house.running() == head)
        assert house.get(f"config/txns/{txn['txn']}")["state"] != "committed"
    ended = house.ended(txn)
    assert ended["state"] == "rolled_back" and ended["by"] == "operator", ended
    house.wait_until_healed()
    until("the bot's own file knows how it ended", 15, lambda: house.outcome(txn["txn"]) == "reverted")
    house.assert_whole("at the revert")
    say(f"full at the revert: answered {status} {answer.get('error_code') or answer.get('state')}; undone at once")


def both_killed_in_it(house):
    """What was never on disk is not there after a death of both either."""
    head = house.head()
    txn = house.begin(243, "both die on the full disk")
    with Full(house.folder):
        house.settle(txn, "confirm")
        house.kill()
        house.kill_bot()
    house.start()
    ended = house.ended(txn)
    assert ended["state"] == "rolled_back" and house.head() == head, ended
    house.wait_until_healed()
    trades_on(house)
    house.assert_whole("both killed")
    say(f"both killed on the full disk: {ended['outcome']} ({ended['by']})")


def a_change_is_taken(house, bps):
    txn = house.begin(bps, "there is room again")
    status, view = house.settle(txn, "confirm")
    assert (status, view["state"]) == (200, "committed"), (status, view)
    assert house.head() == txn["candidate"]["sha256"]
    house.wait_until_healed()
    house.assert_whole("room again")


@contextlib.contextmanager
def read_only(folder):
    """A kernel refuses to turn a disk with open files read-only, so a read-only view of it goes on top: what is open
    may be written, nothing new can be."""
    mount("--bind", folder, folder)
    mount("-o", "remount,ro,bind", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def turned_read_only(house):
    head = house.head()
    txn = house.begin(245, "read-only during the trial")
    with read_only(house.folder):
        house.wait_until_told()
        house.reads_go_on()
        house.settle(txn, "confirm")
        until("the bot runs what is committed", 15, lambda: house.running() == head == house.head())
        until("the trial is over", 15, lambda: house.get("config")["trial"] is None)
        status, problem = house.apply(slippage(246), "on a read-only disk")
        assert status == 503 and problem["error_code"] in ("SRV_002", "CFG_014"), (status, problem)
        assert problem["effect"] == "none" and house.running() == head, problem
    house.wait_until_healed()
    assert house.ended(txn)["state"] == "rolled_back"
    house.assert_whole("read-only")
    a_change_is_taken(house, 248)
    say(f"read-only: refused ({problem['error_code']}), reads go on, not ready, told; healed")


def only_the_bots_disk(house):
    """What the bot cannot write down it refuses, although botops could."""
    own = house.folder / "paperbot"
    head = house.head()
    with Full(own):
        nothing_is_traded(house)
        assert house.ready(), "botops itself can write"
        status, problem = house.apply({"order_management": {"poll_interval_seconds": 20}}, "needs a file", restart=True)
        assert status >= 400 and problem["effect"] == "none", (status, problem)
        assert house.running() == head == house.head()
        status, txn = house.apply(slippage(247), "lives in memory", 4)
        if status == 202:
            status, answer = house.settle(txn, "confirm")
            view = house.ended(txn)
            assert (house.head() == txn["candidate"]["sha256"]) == (view["state"] == "committed"), view
            until("the bot runs what HEAD names", 15, lambda: house.running() == house.head())
            say(f"the bot's disk full: confirmed {status}, {view['state']}: {view['outcome']}")
        else:
            assert txn["effect"] == "none" and house.running() == head, txn
            say(f"the bot's disk full: a change is refused ({txn['error_code']})")
            txn = None
    until("in sync", 30, house.in_sync)
    if txn:
        wanted = {"committed": "committed"}.get(house.get(f"config/txns/{txn['txn']}")["state"])
        until("the bot's own file knows how it ended", 15, lambda: house.outcome(txn["txn"]) == wanted)
    trades_on(house)
    house.assert_whole("the bot's disk")


BEGAN = time.monotonic()
SETTINGS = dict(BOT_CONFIG_MIN_TRIAL="1s", BOT_API_AUTH_TOKEN="a-key-of-the-disk-check-77")
with SmallHouse("--tick", "25ms", **SETTINGS) as house:
    house.gets_room()
    before_apply(house)
    during_a_trial(house)
    at_the_confirmation(house)
    at_the_revert(house)
    both_killed_in_it(house)
    a_change_is_taken(house, 244)
    turned_read_only(house)
with SmallHouse("--tick", "25ms", bots_own=True, **SETTINGS) as house:
    house.gets_room()
    only_the_bots_disk(house)
say("all of it was seen")
