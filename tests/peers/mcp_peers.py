"""Runs the MCP clients against a demo. A small proxy on loopback adds the key for the suite, which cannot send one."""
import asyncio
import json
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from demo import demo, temporary_folder

NODE, MODULES = sys.argv[1], pathlib.Path(sys.argv[2])
WHY = {"reason": "a check against real MCP clients"}
READER = "reader-key-0123456789-0123456789"
SCENARIOS = ["server-initialize", "server-stateless", "ping", "tools-list", "resources-list", "prompts-list",
             "dns-rebinding-protection", "caching", "http-header-validation", "sep-2164-resource-not-found"]
# Checks that call `test_missing_capability`, a tool of the suite's own sample server: no product has it.
NEEDS_SAMPLE_TOOL = {"sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400"}


def keys_file(folder):
    import hashlib
    path = pathlib.Path(folder) / "keys.json"
    digest = hashlib.sha256(READER.encode()).hexdigest()
    path.write_text(json.dumps({"keys": [{"id": "reader", "sha256": digest, "scopes": ["read"]}]}))
    return str(path)


class AddsKey:
    """Passes connections on and puts the key into each request's head; nothing else is touched."""

    def __init__(self, target, key):
        self.host, self.port = target.removeprefix("http://").split(":")
        self.key = key
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()
        self.ready.wait(10)

    def run(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.ready.set()
        self.loop.run_forever()

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.split(b"\r\n")
                length = next((int(l.split(b":")[1]) for l in lines if l.lower().startswith(b"content-length:")), 0)
                body = await reader.readexactly(length)
                kept = [l for l in lines[1:] if not l.lower().startswith((b"connection:", b"x-api-key:"))]
                out_reader, out = await asyncio.open_connection(self.host, int(self.port))
                extra = b"X-API-Key: " + self.key.encode() + b"\r\nConnection: close\r\n"
                out.write(lines[0] + b"\r\n" + extra + b"\r\n".join(kept) + body)
                await out.drain()
                answer = await out_reader.read(-1)
                out.close()
                writer.write(answer)
                await writer.drain()
                break  # the answer said `close`
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def sdk(base, key, mode):
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    def connect(key):
        http = httpx2.AsyncClient(headers={"X-API-Key": key}, timeout=40)
        return http, Client(streamable_http_client(base + "/mcp", http_client=http), mode=mode)

    http, client = connect(key)
    async with http, client:
        tools = (await client.list_tools()).tools
        assert len(tools) == 14, [tool.name for tool in tools]
        assert all(tool.output_schema for tool in tools)
        summary = await client.call_tool("get_summary", {})
        assert not summary.is_error and summary.structured_content["mode"] == "paper", summary
        resource = await client.read_resource("bot://summary")
        assert "health_status" in resource.contents[0].text
        before = await client.call_tool("get_state", {"fields": "bot"})
        dry = await client.call_tool("run_workflow", {"workflow_id": "restart-bot", "params": WHY, "dry_run": True})
        assert not dry.is_error, dry
        begun = await client.call_tool("run_workflow", {"workflow_id": "restart-bot", "params": WHY, "idempotency_key": f"peer-{mode}"})
        assert not begun.is_error, begun
        run = begun.structured_content
        for _ in range(30):
            if run["terminal"]:
                break
            run = (await client.call_tool("list_workflows", {"run_id": run["run_id"], "wait": "5s"})).structured_content
        assert run["terminal"] and run["state"] == "succeeded", run
        after = await client.call_tool("get_state", {"fields": "bot"})
        epochs = [state.structured_content["bot"]["boot_epoch"] for state in (before, after)]
        assert epochs[0] != epochs[1], epochs
        wrong = await client.call_tool("list_events", {"after": "yesterday"})
        assert wrong.is_error and wrong.structured_content["error_code"] == "API_007", wrong
    http, client = connect(READER)
    async with http, client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "run_workflow" not in names and "get_summary" in names, names
        refused = await client.call_tool("run_workflow", {"workflow_id": "restart-bot"})
        problem = refused.structured_content
        assert refused.is_error and problem["error_code"] == "AUTH_003" and problem["effect"] == "none", refused
        assert problem["next_actions"][0]["tool"] == "explain", problem
    print(f"python sdk, {mode}: summary, resource, restart-bot to the end, refusals: as they should be")


def conformance(address):
    suite = MODULES / "@modelcontextprotocol/conformance/dist/index.js"
    failed = []
    for scenario in SCENARIOS:
        done = subprocess.run([NODE, suite, "server", "--url", address + "/mcp", "--scenario", scenario],
                              capture_output=True, text=True, timeout=120)
        text = done.stdout + done.stderr
        wrong = set(re.findall(r"\[(\S+)\s*\] \S*FAILURE", text))
        if done.returncode == 0:
            print(f"conformance {scenario}: passed")
        elif wrong and wrong <= NEEDS_SAMPLE_TOOL:
            print(f"conformance {scenario}: passed but for {len(wrong)} checks that need the suite's sample tool")
        else:
            print(text[-3000:])
            failed.append(scenario)
    assert not failed, failed


def inspector(base):
    folder = MODULES / "@modelcontextprotocol/inspector"
    package = json.loads((folder / "package.json").read_text())
    entry = package["bin"] if isinstance(package["bin"], str) else next(iter(package["bin"].values()))
    for era in ("modern", "legacy"):
        done = subprocess.run([NODE, folder / entry, "--cli", base + "/mcp", "--transport", "http", "--protocol-era", era,
                               "--header", f"X-API-Key: {READER}", "--method", "tools/list", "--strict"],
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
        assert "unknown format" not in done.stderr, done.stderr
        assert '"get_summary"' in done.stdout, done.stdout[:500]
        print(f"inspector --strict, {era}: passed")


def ready(base, key):
    for _ in range(300):
        request = urllib.request.Request(base + "/api/v1/summary", headers={"X-API-Key": key})
        if json.load(urllib.request.urlopen(request, timeout=10))["health_status"] != "offline":
            return
        time.sleep(0.1)
    raise SystemExit("the demo's bot did not come up")


def main():
    with temporary_folder() as folder, demo(BOT_API_KEYS_FILE=keys_file(folder)) as (base, key):
        ready(base, key)
        for mode in ("auto", "legacy"):
            asyncio.run(sdk(base, key, mode))
            ready(base, key)
        conformance(AddsKey(base, key).address)
        inspector(base)


main()
