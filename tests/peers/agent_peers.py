"""What an agent does on its first day, beside a demo."""
import asyncio
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request
from typing import Any, ClassVar, Literal

import httpx2
from mcp import Client
from mcp.client.extension import ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Request, RequestParams, Result

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from demo import BOTOPS, demo, temporary_folder

READER = "reader-key-0123456789-0123456789"
WHY = {"reason": "the first day of an agent"}
LIMIT = 90


class Begun(Result):
    """A tool call that goes on as a task."""
    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    poll_interval_ms: int | None = None


class Task(Result):
    task_id: str
    status: str
    status_message: str | None = None
    result: dict[str, Any] | None = None


class TaskParams(RequestParams):
    task_id: str


class GetTask(Request[TaskParams, Literal["tasks/get"]]):
    name_param: ClassVar[str | None] = "taskId"
    method: Literal["tasks/get"] = "tasks/get"
    params: TaskParams


class Tasks(ClientExtension):
    """The tasks extension: what the SDK does not bring itself. Follows a task to its end and hands on its result."""
    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self):
        self.seen = []

    def claims(self):
        return (ResultClaim(result_type="task", model=Begun, resolve=self.follow),)

    async def follow(self, begun, context):
        self.seen.append(begun.status)
        until = time.monotonic() + LIMIT
        while time.monotonic() < until:
            request = GetTask(params=TaskParams(task_id=begun.task_id))
            task = await context.session.send_request(request, Task)
            self.seen.append(f"{task.status}: {task.status_message}")
            if task.status == "completed":
                return CallToolResult.model_validate(task.result)
            assert task.status == "working", task
            await asyncio.sleep((begun.poll_interval_ms or 1000) / 1000)
        raise AssertionError(f"the task did not end: {self.seen[-1]}")


def connect(base, key, mode, extensions=()):
    http = httpx2.AsyncClient(headers={"X-API-Key": key}, timeout=60)
    return http, Client(streamable_http_client(base + "/mcp", http_client=http), mode=mode, extensions=list(extensions))


async def epoch(client):
    state = await client.call_tool("get_state", {"fields": "bot"})
    return state.structured_content["bot"]["boot_epoch"]


async def restarts(base, key, mode):
    """Reads the summary, restarts the bot, sees the end of it."""
    tasks = Tasks()
    http, client = connect(base, key, mode, [tasks] if mode == "auto" else [])
    async with http, client:
        summary = (await client.call_tool("get_summary", {})).structured_content
        assert summary["mode"] == "paper" and summary["health_status"], summary
        before = await epoch(client)
        arguments = {"workflow_id": "restart-bot", "params": WHY, "idempotency_key": f"first-day-{mode}"}
        dry = await client.call_tool("run_workflow", arguments | {"dry_run": True})
        assert not dry.is_error and await epoch(client) == before, dry
        done = await client.call_tool("run_workflow", arguments)
        run, until = done.structured_content, time.monotonic() + LIMIT
        while not run["terminal"] and time.monotonic() < until:
            following = {"run_id": run["run_id"], "wait": "5s", "budget_tokens": 400}
            run = (await client.call_tool("list_workflows", following)).structured_content
        assert not done.is_error and run["state"] == "succeeded", run
        assert await epoch(client) != before, "the bot is the old one"
        how = "as a task" if tasks.seen else "by status"
        assert bool(tasks.seen) == (mode == "auto"), tasks.seen
        print(f"{mode}: restart-bot ran to `{run['state']}` {how}; the bot has a new epoch")
        again = await client.call_tool("run_workflow", arguments)
        assert again.structured_content["run_id"] == run["run_id"], "the same key ran it twice"


async def is_refused(base):
    http, client = connect(base, READER, "auto")
    async with http, client:
        refused = await client.call_tool("run_workflow", {"workflow_id": "restart-bot", "params": WHY})
        problem = refused.structured_content
        assert refused.is_error and problem["error_code"] == "AUTH_003" and problem["effect"] == "none", problem
        assert "operate" in json.dumps([problem["cause"], problem["context"], problem["errors"]]), problem
        action = problem["next_actions"][0]
        helped = await client.call_tool(action["tool"], action["arguments"])
        assert not helped.is_error and helped.structured_content["scopes"] == ["read"], helped
        print(f"reader: {problem['cause']}; next action {action['tool']} {action['arguments']} works")


def ask(base, key, text, code=0):
    env = os.environ | {"BOT_API_AUTH_TOKEN": key}
    done = subprocess.run([BOTOPS, "ask", "--url", base, text], capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == code, (text, done.returncode, done.stdout, done.stderr)
    return done.stdout


def call(base, key, method, path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-API-Key": key, "Content-Type": "application/json"} | headers
    request = urllib.request.Request(base + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer), answer.headers


def until(what, seen, seconds=LIMIT):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if seen():
            return
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


def asks(base, key):
    first = ask(base, key, "how are we doing").splitlines()[0]
    assert first.startswith("The bot is") and "(paper)" in first, first
    print("ask:", first)
    call(base, key, "POST", "/api/v1/control/pause", WHY)
    until("the pause is seen", lambda: call(base, key, "GET", "/api/v1/state?fields=phase")[0]["phase"] == "paused")
    why = ask(base, key, "why did it stop trading").splitlines()[0]
    assert WHY["reason"] in why, why
    print("ask:", why)
    call(base, key, "POST", "/api/v1/control/resume", WHY)
    # A change of config to undo; the shortest trial, confirmed by hand.
    before = call(base, key, "GET", "/api/v1/config")[0]
    patch = {"merge_patch": {"risk_management": {"max_position_size": 4_321}}, "confirm": "manual"} | WHY
    txn = call(base, key, "PUT", "/api/v1/config/apply", patch, **{"If-Match": before["etag"]})[0]["txn"]
    seen = lambda: call(base, key, "GET", f"/api/v1/config/txns/{txn}")[0]
    until("the trial runs", lambda: seen()["state"] == "trial", 30)
    call(base, key, "POST", f"/api/v1/config/txns/{txn}/confirm")
    until("the change is committed", lambda: seen()["terminal"])
    committed = call(base, key, "GET", "/api/v1/config")[0]["version"]
    assert committed == before["version"] + 1, seen()
    undo = ask(base, key, "undo the last config change")
    assert "Nothing was changed. This would do it:" in undo and "/api/v1/config/rollback" in undo, undo
    assert call(base, key, "GET", "/api/v1/config")[0]["version"] == committed, "a question changed the config"
    # The command it shows does what it says.
    command = undo[undo.rindex("curl"):]
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60,
                          env=os.environ | {"BOT_API_AUTH_TOKEN": key})
    assert '"txn"' in done.stdout, (command, done.stdout, done.stderr)
    print("ask: undoing the last config change is shown as its dry run, and the command it shows does it")
    refused = ask(base, key, "buy 100 AAPL", 4)
    assert "places no orders" in refused, refused


def main():
    with temporary_folder() as folder:
        keys = pathlib.Path(folder) / "keys.json"
        digest = hashlib.sha256(READER.encode()).hexdigest()
        keys.write_text(json.dumps({"keys": [{"id": "reader", "sha256": digest, "scopes": ["read"]}]}))
        with demo(BOT_API_KEYS_FILE=str(keys), BOT_CONFIG_MIN_TRIAL="1s") as (base, key):
            summary = lambda: call(base, key, "GET", "/api/v1/summary")[0]
            up = lambda: until("the bot is up", lambda: summary()["health_status"] != "offline")
            up()
            for mode in ("auto", "legacy"):
                asyncio.run(restarts(base, key, mode))
                up()
            asyncio.run(is_refused(base))
            asks(base, key)


main()
