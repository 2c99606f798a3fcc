"""What must hold after any number of kills, looked up in the files of botops and of the bot.

Each invariant gets the evidence and says every fault that it finds in one sentence. `random_kills_breaks.py` breaks each:
a run ends with it, in copies of its own evidence, so that an invariant that finds nothing any more is itself found."""
import collections
import contextlib
import decimal
import hashlib
import json
import pathlib
import sqlite3
import subprocess
import tempfile

from demo import BOTOPS

D = decimal.Decimal
ENDS = {"config": {"committed", "rejected", "rolled_back", "failed_attention"},
        "workflow": {"succeeded", "failed", "rolled_back", "failed_after_pivot", "cancelled", "needs_attention"}}
# A life of botops says early that it serves.
EARLY = 100
# How much more a process may hold after the floods than before them. The floods are some thousand sockets, so what is
# held of one in fifty is seen.
MORE = {"open files": 24, "threads": 24, "KiB of memory": 32 * 1024}


class Evidence:
    """Plain data, read once nothing moves any more."""

    def __init__(self, folder, answers, followers, notices, starts):
        self.config_folder = folder / "botops/config"
        self.audit_key = folder / "botops/audit.key"
        self.admitted = dict(answers.admitted)
        self.commands = dict(answers.commands)
        self.internal = answers.internal
        self.followed = {one.name: one.received for one in followers}
        self.told = {one.name: one.told for one in followers}
        self.cursors = {one.name: one.cursor for one in followers}
        self.notices, self.starts = notices, starts
        self.head = json.loads((self.config_folder / "HEAD").read_text())
        self.head_file_sha256 = hashlib.sha256((self.config_folder / self.head["file"]).read_bytes()).hexdigest()
        self.audit_lines = (self.config_folder / "config_history.jsonl").read_bytes()
        self.audit = [json.loads(line) for line in self.audit_lines.splitlines()]
        self.ledger = read_lines(folder / "paperbot/ledger.jsonl")
        self.effects = read_lines(folder / "paperbot/effects.jsonl")
        self.output = (folder / "output.txt").read_text(errors="replace")
        # Filled by the check: what was said while both ran, and what botops held before and after the floods.
        self.quiet_ms = self.running = self.audit_head = self.shown = self.before = self.after = None
        with contextlib.closing(sqlite3.connect(f"file:{folder}/botops/ops.db?mode=ro", uri=True)) as store:
            self.operations = {row[0]: row[1:] for row in store.execute("SELECT op_id, kind, name, state, live FROM ops")}
            self.facts = collections.defaultdict(list)
            for id, seq, type in store.execute("SELECT op_id, seq, type FROM op_events ORDER BY op_id, seq"):
                self.facts[id].append((seq, type))
            self.journal = {seq: json.loads(body) for seq, body in store.execute("SELECT seq, body FROM events ORDER BY seq")}
            self.alerts = [(json.loads(body), closed) for body, closed in
                           store.execute("SELECT body, closed_ms FROM health_alerts")]


def read_lines(file):
    """The JSON lines of a file whose last line may have been torn by a kill."""
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n") and line.strip()]


def twice(items):
    return sorted(item for item, times in collections.Counter(items).items() if times > 1)


# What runs is what is committed.

def committed_runs(seen):
    if seen.head["sha256"] != seen.head_file_sha256:
        yield f"HEAD names {seen.head['file']}, whose content has another hash than HEAD says"
    if seen.running["sha256"] != seen.head["sha256"]:
        yield f"the bot runs the config {seen.running['sha256'][:8]}, and HEAD names version {seen.head['version']}, {seen.head['sha256'][:8]}"


# The audit.

def audit_holds(seen):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "config_history.jsonl")
        file.write_bytes(seen.audit_lines)
        head = f"{seen.audit_head['seq']}:{seen.audit_head['mac']}"
        verify = [BOTOPS, "audit", "verify", "--key-file", seen.audit_key, "--head", head, file]
        done = subprocess.run(verify, capture_output=True, text=True)
    if done.returncode:
        yield f"the audit does not hold: {(done.stdout + done.stderr).strip()}"


def audit_tells_each_end_once(seen):
    ends = collections.defaultdict(list)
    for record in seen.audit:
        if record["event"] in ENDS["config"]:
            ends[record["txn"]].append(record["event"])
    for id, (kind, _, state, _) in seen.operations.items():
        if kind == "config" and ends[id] != [state]:
            yield f"transaction {id} is {state}, and the audit tells these ends of it: {ends[id]}"


# Runs and transactions.

def operations_end_once(seen):
    for id, (kind, name, state, live) in seen.operations.items():
        numbers, types = zip(*seen.facts[id])
        ends = [type for type in types if type == "finished" or kind == "config" and type in ENDS["config"]]
        if live or state not in ENDS[kind]:
            yield f"{kind} {name} {id} was admitted and never ended: it is {state}"
        elif len(ends) != 1 or types[-1] != ends[0]:
            yield f"{kind} {name} {id} is {state} and ended {len(ends)} times; its facts: {types}"
        if numbers != tuple(range(1, len(numbers) + 1)):
            yield f"the facts of {kind} {name} {id} are not numbered from 1 without a gap: {numbers}"


def admitted_is_stored(seen):
    for key, ids in seen.admitted.items():
        if len(ids) > 1:
            yield f"the idempotency key {key} began more than one operation: {sorted(ids)}"
        for id in ids - seen.operations.keys():
            yield f"{id} was answered as admitted, and the store does not know it"


# The bot's account.

def ledger_is_whole(seen):
    numbers = [line["n"] for line in seen.ledger]
    if numbers != list(range(1, len(numbers) + 1)):
        yield "the lines of the ledger are not numbered from 1 without a gap"
    entries = [line["entry"] for line in seen.ledger]
    fills = [entry for entry in entries if entry["type"] == "filled"]
    for id in twice(fill["fill_id"] for fill in fills):
        yield f"the fill {id} counts twice in the ledger"
    ordered = {entry["order_id"]: D(entry["quantity"]) for entry in entries if entry["type"] == "placed"}
    filled = collections.Counter()
    for fill in fills:
        filled[fill["order_id"]] += D(fill["quantity"])
    for id, quantity in filled.items():
        if quantity > ordered.get(id, 0):
            yield f"{quantity} of order {id} were filled, and {ordered.get(id, 0)} ordered"


def account_of(ledger):
    """Cash and positions as the fills add up to them."""
    cash, held = D(0), collections.Counter()
    for entry in (line["entry"] for line in ledger):
        if entry["type"] == "opened":
            cash = D(entry["cash"])
        elif entry["type"] == "filled":
            signed = D(entry["quantity"]) * (1 if entry["side"] == "BUY" else -1)
            held[entry["symbol"]] += signed
            cash -= signed * D(entry["price"]) + D(entry["commission"])
    return cash, {symbol: quantity for symbol, quantity in held.items() if quantity}


def account_is_the_sum_of_its_fills(seen):
    wanted = account_of(seen.shown["ledger"])
    shown = D(seen.shown["cash"]), {symbol: D(quantity) for symbol, quantity in seen.shown["positions"].items()}
    if shown != wanted:
        yield f"the state shows cash and positions {shown}, and the fills of the ledger add up to {wanted}"


# Commands.

def commands_act_once(seen):
    done = [line["entry"]["result"]["command_id"] for line in seen.ledger
            if line["entry"]["type"] == "command" and line["entry"]["result"]["outcome"] == "done"]
    for id in twice(done):
        yield f"the command {id} was carried out more than once, by the ledger"
    for id in twice(effect["command_id"] for effect in seen.effects if effect["effect"] == "command"):
        yield f"the command {id} was carried out more than once, by the bot's effects"
    for key, words in seen.commands.items():
        recorded = f"operator/{key}" in done
        if "done" in words and words.count("done") > 1:
            yield f"the command {key} was answered as done anew {words.count('done')} times: {words}"
        if {"done", "replayed"} & set(words) and not recorded:
            yield f"the command {key} was answered as done, and the ledger does not know it: {words}"
        if set(words) == {"none"} and recorded:
            yield f"the command {key} was answered each time as without effect, and the bot carried it out: {words}"


# The journal, and those who follow it.

def numbers_mean_one_event(seen):
    known = dict(seen.journal)
    for follower, received in seen.followed.items():
        for event in received:
            if known.setdefault(event["seq"], event) != event:
                yield f"number {event['seq']} is one event for the {follower} follower and another elsewhere: {event} and {known[event['seq']]}"
    for follower, received in seen.followed.items():
        numbers = [event["seq"] for event in received]
        for before, after in zip(numbers, numbers[1:]):
            if after <= before:
                yield f"the {follower} follower got number {after} after {before}"


def no_cursor_is_refused(seen):
    for follower, told in seen.told.items():
        for cursor, goes_on in told:
            if goes_on < cursor:
                yield f"the {follower} follower was refused its own cursor {cursor}: the journal says it ends at {goes_on}"


def followers_miss_nothing(seen):
    for follower, received in seen.followed.items():
        got = {event["seq"] for event in received}
        told = [range(after + 1, to + 1) for after, to in seen.told[follower]]
        missed = [seq for seq in seen.journal if seq <= seen.cursors[follower] and seq not in got
                  and not any(seq in part for part in told)]
        if missed:
            yield f"the {follower} follower did not get {len(missed)} events that the journal holds, and was not told: {missed[:10]}"


def gaps_begin_lives(seen):
    """A kill leaves numbers that were reserved and never stored. In one life of botops there is no gap."""
    numbers = list(seen.journal)
    begins = [0, *(at for at in range(1, len(numbers)) if numbers[at] != numbers[at - 1] + 1)]
    if len(begins) > seen.starts:
        yield f"the journal has {len(begins) - 1} gaps after {seen.starts} starts of botops"
    for begin, end in zip(begins, [*begins[1:], len(numbers)]):
        early = [seen.journal[number]["message"] for number in numbers[begin:min(begin + EARLY, end)]]
        if not any(message.startswith("botops serves on") for message in early) and end - begin >= EARLY:
            yield f"number {numbers[begin]} comes after a gap, and no life of botops begins there"


# Alerts.

def alerts_begin_and_end_once(seen):
    told = collections.defaultdict(lambda: collections.defaultdict(set))
    for notice in seen.notices:
        told[notice["alert_id"]][notice["notice"]].add(notice["key"])
    stored = {alert["id"]: (alert, closed) for alert, closed in seen.alerts}
    for id in told.keys() - stored.keys():
        yield f"a receiver was told of alert {id}, and the store does not know it"
    for id, (alert, closed) in stored.items():
        if alert["starts_at"] >= seen.quiet_ms:
            # What began in the floods after the quiet time may still be under way.
            continue
        about = f"alert {id} of {alert['labels']['component']}"
        begun, ended = len(told[id]["firing"]), len(told[id]["resolved"])
        if begun > 1 or ended > begun:
            yield f"{about} was told to begin {begun} times and to end {ended} times"
        if closed and begun != ended:
            yield f"{about} is over, and was told to begin {begun} times and to end {ended} times"
        if bool(closed) != (alert["state"] == "resolved"):
            yield f"{about} is {alert['state']} and {'over' if closed else 'open'} at once"
        if not closed and alert["labels"]["component"] in ("feed", "bot"):
            yield f"{about} did not end, though what it is about is healthy"
    for fingerprint in twice(alert["fingerprint"] for alert, closed in seen.alerts if not closed):
        yield f"the same problem is open as two alerts: {fingerprint}"


# The process.

def nothing_is_held_after_the_floods(seen):
    for what, more in MORE.items():
        if seen.after[what] > seen.before[what] + more:
            yield f"botops had {seen.before[what]} {what} before the floods and has {seen.after[what]} after them"


def nothing_is_a_defect(seen):
    for answer in seen.internal:
        yield f"a call was answered with an internal failure: {answer}"
    for line in seen.output.splitlines():
        if "panicked at" in line:
            yield f"a process panicked: {line}"


INVARIANTS = [committed_runs, audit_holds, audit_tells_each_end_once, operations_end_once, admitted_is_stored,
              ledger_is_whole, account_is_the_sum_of_its_fills, commands_act_once, numbers_mean_one_event,
              no_cursor_is_refused, followers_miss_nothing, gaps_begin_lives, alerts_begin_and_end_once,
              nothing_is_held_after_the_floods, nothing_is_a_defect]


def faults_of(seen):
    return [f"{holds.__name__}: {fault}" for holds in INVARIANTS for fault in holds(seen)]
