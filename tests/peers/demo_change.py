"""What `check-demo-change` does. What the bot really did is read from its own ledger, not from botops."""
import datetime
import decimal
import json
import subprocess
import time

from demo import BOTOPS, House, fold, until

D = decimal.Decimal
CANARY = "canary-4b1d6f0a9c"
# The bot trades ten times faster than it would, so that there is something to see; a bad day does not stop it.
ROOMY = {"risk_management": {"daily_loss_limit": "-50000", "max_daily_loss_pct": 10, "max_consecutive_losses": 50},
         "circuit_breaker_thresholds": {"daily_loss": -0.5, "max_drawdown": -0.9}}


def say(text):
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


def ledger():
    """The bot's ledger: every entry with its life."""
    text = (house.folder / "paperbot/ledger.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [line["entry"] | {"n": line["n"], "boot_epoch": line["boot_epoch"]} for line in lines]


def entries_under(sha256):
    """Orders that opened a position while this config ran."""
    return [entry for entry in ledger() if entry["type"] == "placed" and entry["purpose"] == "entry"
            and entry["config_sha256"] == sha256]


def config():
    return house.get("config")


def in_sync():
    now = config()
    return now["sync"] == "in_sync" and now["trial"] is None and now


def apply(patch, reason, **more):
    body = {"merge_patch": patch, "reason": reason, "confirm_within_s": 15} | more
    status, answer, _ = house.send("PUT", "config/apply", body, If_Match=config()["etag"])
    return status, answer


def begin(patch, reason, **more):
    status, txn = apply(patch, reason, **more)
    assert (status, txn.get("state")) == (202, "trial"), (status, txn)
    return txn["txn"]


def ended(txn, limit=40):
    look = lambda: (view := house.get(f"config/txns/{txn}"))["terminal"] and view
    return until(f"transaction {txn} ends", limit, look)


def audit(txn):
    items = house.get("config/audit?limit=500")["items"]
    return [item["event"] for item in items if item.get("txn") == txn]


def running_sha():
    """What the bot runs, by its own word."""
    return house.get("config")["running"]["sha256"]


def run(workflow, params):
    status, view, headers = house.send("POST", f"workflows/{workflow}/execute", {"params": params})
    assert status == 202 and headers["Location"].endswith(view["run_id"]), (status, view)
    return view["run_id"]


def run_ended(id, limit=120):
    look = lambda: (view := house.get(f"workflows/runs/{id}?wait=2s"))["terminal"] and view
    return until(f"run {id} ends", limit, look)


def connected():
    bot = house.get("state")["bot"]
    return bot["presence"] == "connected" and bot


def invalid_changes():
    before = config()
    patch = {"risk_management": {"risk_per_trade": 0.5, "max_position_sise": 1}, "trading": {"hours": {"start_time": "25:00"}}}
    status, problem = apply(patch, "must be refused")
    places = {error["pointer"] for error in problem["errors"]}
    assert status == 422 and problem["error_code"] == "CFG_001" and problem["effect"] == "none", problem
    wanted = {"/risk_management/risk_per_trade", "/risk_management/max_position_sise", "/trading/hours/start_time"}
    assert places == wanted, places
    say(f"refused with {problem['error_code']} at {sorted(places)}")
    targets = [*before["config"]["targets"], {"symbol": "NOSUCH", "weight": 0.01}]
    status, problem = apply({"targets": targets}, "the bot must refuse it")
    assert status == 422 and problem["error_code"] == "CFG_003", problem
    assert problem["errors"][0]["pointer"] == f"/targets/{len(targets) - 1}/symbol", problem["errors"]
    say(f"refused by the bot itself: {problem['errors'][0]['expected']}")
    after = config()
    assert after["version"] == before["version"] and after["running"]["sha256"] == before["running"]["sha256"]


def visible_change():
    txn = begin(ROOMY, "room for a fast market")
    done = ended(txn)
    assert done["state"] == "committed" and done["settled_by"] is None, done
    steps = audit(txn)
    assert steps == ["prepared", "checked", "activating", "trial", "confirming", "committed"], steps
    say(f"version {done['version']}: {done['outcome']}; audit: {' '.join(steps)}")
    until("the bot holds something else than MSFT", 60, lambda: set(fold(ledger())[0]) - {"MSFT"})
    targets = [target | {"weight": 0.05 if target["symbol"] == "MSFT" else 0} for target in config()["config"]["targets"]]
    txn = begin({"targets": targets}, "only MSFT")
    done = ended(txn)
    assert done["state"] == "committed", done
    until("every other position is left", 60, lambda: not set(fold(ledger())[0]) - {"MSFT"})
    until("MSFT is bought under it", 120, lambda: entries_under(done["candidate"]["sha256"]))
    symbols = {entry["symbol"] for entry in entries_under(done["candidate"]["sha256"])}
    assert symbols == {"MSFT"}, symbols
    say("targets: the bot left all else and bought MSFT alone")

    status, answer, _ = house.send("POST", "control/flatten", {"reason": "limits below what is held"})
    assert status == 200 and answer["outcome"] == "done", answer
    until("nothing is held", 30, lambda: not fold(ledger())[0])
    # A config is checked against what botops knows, which is up to an interval old.
    until("botops sees it", 30, lambda: house.get("summary")["position_count"] == 0)
    limits = {"risk_management": {"max_position_size": 1000}, "targets": FIRST["targets"]}
    done = ended(begin(limits, "small positions"))
    assert done["state"] == "committed", done
    status, answer, _ = house.send("POST", "control/resume", {"reason": "go on with small positions"})
    assert status == 200, answer
    sha256 = done["candidate"]["sha256"]
    until("five entries under the limit", 120, lambda: len(entries_under(sha256)) >= 5)
    most = max(D(entry["quantity"]) * D(entry["limit_price"]) for entry in entries_under(sha256))
    before = max(D(entry["quantity"]) * D(entry["limit_price"]) for entry in ledger()
                 if entry["type"] == "placed" and entry["purpose"] == "entry" and entry["config_sha256"] != sha256)
    assert most <= 1000 < before, (most, before)
    say(f"limits: the largest entry was {before} before and is {most} now")


def change_that_hurts():
    head = config()
    # An entry is priced 15 bps off: no more than 10 allowed means that every entry is refused.
    txn = begin({"order_management": {"max_slippage_pct": 0.1}}, "raises rejects", confirm_within_s=120)
    done = ended(txn, 120)
    assert (done["state"], done["by"]) == ("rolled_back", "criteria"), done
    assert "orders refused" in done["outcome"], done
    now = until("in sync again", 20, in_sync)
    assert now["running"]["sha256"] == head["committed"]["sha256"] == now["committed"]["sha256"]
    say(f"undone by itself: {done['outcome']}")


def change_read_at_the_start():
    bot, before = connected(), config()
    patch = {"order_management": {"poll_interval_seconds": 20}}
    status, problem = apply(patch, "must be asked for")
    assert (status, problem["error_code"]) == (409, "CFG_008"), problem
    status, txn = apply(patch, "tried by a start", restart=True, confirm_within_s=30)
    assert status == 202 and txn["boot_once"], txn
    done = ended(txn["txn"], 150)
    assert done["state"] == "committed", done
    after = connected()
    assert after["boot_epoch"] != bot["boot_epoch"] and after["pid"] != bot["pid"], after
    now = until("in sync", 30, in_sync)
    assert now["version"] == done["version"] > before["version"] and not now["running"]["pending_restart"], now["running"]
    say(f"read at the start: pid {bot['pid']} became {after['pid']} to try it; {done['outcome']}")


def killed_bot_during_a_trial():
    head = config()["committed"]["sha256"]
    txn = begin({"trading": {"max_trades_per_day": 99}}, "the bot dies in it", confirm="manual", confirm_within_s=60)
    assert running_sha() != head
    pid = house.kill_bot()
    done = ended(txn, 60)
    assert (done["state"], done["by"]) == ("rolled_back", "bot_crash"), done
    say(f"bot {pid} killed during a trial: {done['outcome']}")
    view = run_ended(run("restart-bot", {"reason": "it was killed in a trial"}))
    assert view["state"] == "succeeded", view
    now = until("in sync again", 30, in_sync)
    assert now["running"]["sha256"] == head == now["committed"]["sha256"]
    say("started again by restart-bot, it runs HEAD's config")


def killed_botops_during_a_trial():
    head = config()["committed"]["sha256"]
    txn = begin({"trading": {"max_trades_per_day": 98}}, "botops dies in it", confirm="manual")
    bot = connected()
    house.kill()
    house.start()
    until("botops sees the bot", 30, connected)
    done = ended(txn, 60)
    assert done["state"] == "rolled_back" and done["by"] in ("deadline", "bot_timer"), done
    now = until("in sync again", 30, in_sync)
    assert now["running"]["sha256"] == head == now["committed"]["sha256"]
    assert connected()["boot_epoch"] == bot["boot_epoch"], "the bot was not touched"
    say(f"botops killed during a trial: {done['outcome']} ({done['by']})")


def lives():
    return [entry["boot_epoch"] for entry in ledger() if entry["type"] == "started"]


def same_account(before):
    """The new life began with exactly what the ledger held, and what it shows now is what the ledger holds."""
    entries = ledger()
    began = [entry["type"] == "started" and entry["boot_epoch"] == lives()[-1] for entry in entries].index(True)
    positions, resting = fold(entries[:began])
    assert positions and resting, "there was nothing that could have been lost"
    assert lives()[:-1] == before, (lives(), before)

    def shown():
        state, (held, rest) = house.get("state"), fold(ledger())
        orders = {order["id"] for order in state["orders"] if order["status"] in ("PENDING", "PARTIALLY_FILLED")}
        return held == {one["symbol"]: D(one["quantity"]) for one in state["positions"]} and rest == orders
    until("the state shows the ledger's positions and orders", 60, shown)
    return f"{len(positions)} positions and {len(resting)} orders kept"


def something_held():
    until("positions and resting orders", 120, lambda: all(map(lambda part: len(part) >= 2, fold(ledger()))))


def restart_bot():
    something_held()
    bot, before = connected(), lives()
    params = {"reason": "a new build is out", "cancel_resting": False}
    view = run_ended(run("restart-bot", params))
    assert view["state"] == "succeeded", view
    assert view["outputs"]["old_epoch"] == bot["boot_epoch"] != view["outputs"]["new_epoch"], view["outputs"]
    after = connected()
    assert after["boot_epoch"] == view["outputs"]["new_epoch"] and after["pid"] != bot["pid"], after
    say(f"restart-bot: pid {bot['pid']} became {after['pid']}; {same_account(before)}")

    something_held()
    bot, before = connected(), lives()
    id = run("restart-bot", params)
    until("the restart is under way", 60, lambda: house.get(f"workflows/runs/{id}")["progress"]["current_step"]
          in ("restart", "healthy"))
    house.kill()
    house.start()
    view = run_ended(id)
    assert view["state"] == "succeeded" and view["recoveries"] == 1, view
    assert len(lives()) == len(before) + 1, "restarted once"
    after = until("botops sees the bot", 30, connected)
    assert after["pid"] != bot["pid"], after
    until("it trades again", 30, lambda: house.get("state")["trading_enabled"])
    say(f"restart-bot with botops killed in it: one new life; {same_account(before)}")


def update_targets():
    before = config()
    targets = [target | {"weight": 0.03} for target in before["config"]["targets"]]
    id = run("update-targets", {"reason": "less of everything", "targets": targets, "trial_s": 60})
    txn = until("the trial", 30, lambda: (config()["trial"] or {}).get("txn"))
    live = house.get(f"config/txns/{txn}")
    assert live["run_id"] == id and live["confirm"] == "manual", live
    view = run_ended(id)
    done = house.get(f"config/txns/{txn}")
    assert view["state"] == "succeeded" and done["state"] == "committed", (view, done)
    assert config()["config"]["targets"] == targets and view["outputs"]["version"] == done["version"]
    until("an entry under it", 120, lambda: entries_under(done["candidate"]["sha256"]))
    say(f"update-targets: version {done['version']} by way of trial {txn}")


def export_logs():
    now = datetime.datetime.now(datetime.timezone.utc)
    lines = [{"timestamp": now.isoformat(), "message": f"sent {house.key} to the broker", "access_token": CANARY},
             {"timestamp": now.isoformat(), "message": f"Authorization: Bearer {CANARY}.x.y", "password": CANARY}]
    with open(house.folder / "logs" / "errors-planted.jsonl", "w") as log:
        log.writelines(json.dumps(line) + "\n" for line in lines)
        log.write(f"{now.isoformat()} retry with api_key={CANARY}\n")
    hour = datetime.timedelta(hours=1)
    params = {"from": (now - hour).isoformat(), "to": (now + hour).isoformat(),
              "sources": ["trades", "errors", "health", "api", "workflows"]}
    view = run_ended(run("export-logs", params))
    assert view["state"] == "succeeded", view
    status, bundle, _ = house.send("GET", f"artifacts/{view['outputs']['artifact']}")
    assert status == 200 and len(bundle) == view["outputs"]["bytes"], status
    text = subprocess.run(["zstd", "-dc"], input=bundle, stdout=subprocess.PIPE, check=True).stdout
    for wanted in (b"errors-planted.jsonl", b"trades-", b"manifest.json"):
        assert wanted in text, wanted
    for secret in (CANARY, house.key):
        assert secret.encode() not in text, f"{secret} is in the bundle"
    say(f"export-logs: {view['outputs']['lines']} lines, {len(bundle)} bytes, no canary")


def check_health():
    # The health feature would mend the bot meanwhile.
    assert house.send("POST", "health/monitoring/stop", {})[0] == 200
    house.kill_bot()
    until("the bot is seen to be gone", 30, lambda: house.get("state")["bot"]["presence"] == "exited")
    view = run_ended(run("check-health", {"samples": 1}))
    assert view["state"] == "succeeded" and view["outputs"]["status"] == "offline", view
    say(f"check-health of a dead bot succeeded: {view['outputs']['status']}, {view['outputs']['reasons'][0]}")
    view = run_ended(run("restart-bot", {"reason": "it was killed to see that"}))
    assert view["state"] == "succeeded", view


def flipped_byte():
    verdict = house.get("config/audit/verify")
    assert verdict["valid"], verdict
    file = house.folder / "botops/config/config_history.jsonl"
    offline = lambda: subprocess.run([BOTOPS, "audit", "verify", file], capture_output=True, text=True)
    assert offline().returncode == 0, offline()
    content = bytearray(file.read_bytes())
    lines = content.split(b"\n")
    number = len(lines) // 2
    at = sum(len(line) + 1 for line in lines[:number - 1]) + len(lines[number - 1]) // 2
    content[at] ^= 1
    file.write_bytes(content)
    found = house.get("config/audit/verify")
    assert (found["valid"], found["first_bad_seq"]) == (False, number), found
    done = offline()
    assert done.returncode != 0 and str(number) in done.stdout + done.stderr, done
    status, problem = apply({"trading": {"max_trades_per_day": 97}}, "must wait for a person")
    assert (status, problem["error_code"]) == (503, "CFG_015"), problem
    say(f"audit: {verdict['records']} records hold; a byte flipped in line {number} is found in line {found['first_bad_seq']}")
    acceptance = {"first_bad_seq": number, "reason": "flipped on purpose"}
    status, head, _ = house.send("POST", "config/audit/accept", acceptance)
    assert status == 200 and house.get("config/audit/verify")["valid"], head
    txn = begin({"trading": {"max_trades_per_day": 97}}, "a person accepted it", confirm="manual")
    assert house.send("POST", f"config/txns/{txn}/confirm", {})[0] == 200
    assert ended(txn)["state"] == "committed"


BEGAN = time.monotonic()
with House("--tick", "25ms", BOT_API_AUTH_TOKEN="a-key-of-the-demo-check-77") as house:
    until("the bot runs version 1", 30, in_sync)
    FIRST = config()["config"]
    invalid_changes()
    visible_change()
    change_that_hurts()
    change_read_at_the_start()
    killed_bot_during_a_trial()
    killed_botops_during_a_trial()
    restart_bot()
    update_targets()
    export_logs()
    check_health()
    flipped_byte()
    say("all of it was seen")
