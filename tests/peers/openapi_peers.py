"""A validator, schemathesis and a generated client against a demo."""
import importlib
import json
import pathlib
import shutil
import subprocess
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from demo import demo

from openapi_spec_validator import validate

HOME = pathlib.Path(sys.argv[1]).resolve()
# What would end the demo's bot or botops' own work is tried by other tests; long polls would only wait.
LEFT_OUT = r"^/(api/v1/control/shutdown|api/v1/stream|api/v1/workflows/.*/execute|mcp|api/docs.*|api/(v1|trading-engine)/health/(test|check|monitoring/stop|recovery/.*))$"


def read(address):
    return json.load(urllib.request.urlopen(address))


def valid(base):
    """The document and its parts are what the OpenAPI Initiative's schema says."""
    whole = read(base + "/api/openapi.json")
    validate(whole)
    for tag in whole["tags"]:
        validate(read(f"{base}/api/openapi.json?tag={tag['name']}"))
    print("the document and its parts are valid")


def at_length(base):
    """The parts by tag, put together: they say with which statuses each call is refused."""
    document = read(base + "/api/openapi.json")
    document |= {"paths": {}, "components": {}}
    for tag in document["tags"]:
        part = read(f"{base}/api/openapi.json?tag={tag['name']}")
        for path, item in part["paths"].items():
            document["paths"].setdefault(path, {}).update(item)
        for kind, members in part["components"].items():
            document["components"].setdefault(kind, {}).update(members)
    return document


def strict(base):
    """The document without the parameters that ask for a part of an answer: what is left must be whole."""
    document = at_length(base)
    for item in document["paths"].values():
        for operation in item.values():
            if "x-shapes" not in operation:
                continue
            shaping = {"budget_tokens", "detail", "fields"}
            name = lambda one: one.get("name") or one["$ref"].rsplit("/", 1)[-1]
            operation["parameters"] = [one for one in operation["parameters"] if name(one) not in shaping]
            for content in operation["responses"]["200"]["content"].values():
                if "anyOf" in content["schema"]:
                    content["schema"] = content["schema"]["anyOf"][0]
    path = HOME / "strict.json"
    path.write_text(json.dumps(document))
    return path


def schemathesis(base, key):
    done = subprocess.run(
        ["schemathesis", "run", strict(base), "--url", base, "--header", f"X-API-Key: {key}", "--exclude-path-regex", LEFT_OUT,
         "--checks", "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance",
         "--phases", "examples,fuzzing", "--max-examples", "12", "--seed", "20260302", "--request-timeout", "40",
         "--workers", "4", "--no-color"],
        text=True, timeout=540, capture_output=True, cwd=HOME)
    report = HOME / "report.txt"
    report.write_text(done.stdout)
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stderr[-2000:]


def generated(base, key):
    document = HOME / "openapi.json"
    document.write_bytes(urllib.request.urlopen(base + "/api/openapi.json").read())
    out = HOME / "client"
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(["openapi-python-client", "generate", "--path", document, "--output-path", out, "--meta", "none"],
                   check=True, timeout=120, capture_output=True)
    sys.path.insert(0, str(HOME))
    client = importlib.import_module("client.client").AuthenticatedClient(
        base_url=base, token=key, prefix="", auth_header_name="X-API-Key")
    summary = importlib.import_module("client.api.state.get_summary").sync_detailed(client=client)
    assert summary.status_code == 200 and json.loads(summary.content)["mode"] == "paper", summary
    print("a generated client reads the summary")


with demo() as (base, key):
    valid(base)
    generated(base, key)
    schemathesis(base, key)
