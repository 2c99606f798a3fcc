#!/usr/bin/env python3
"""An agent's first calls over MCP: who am I, how is the bot, and what would help if it is not well.

    python3 -m venv venv && venv/bin/pip install mcp==2.3.0
    BOTOPS_KEY=... venv/bin/python examples/agent.py [http://127.0.0.1:8000/mcp]
"""
import asyncio
import os
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/mcp"


async def main():
    async with httpx2.AsyncClient(headers={"X-API-Key": os.environ["BOTOPS_KEY"]}) as http:
        async with Client(streamable_http_client(URL, http_client=http)) as client:
            who = (await client.call_tool("explain", {"topic": "whoami"})).structured_content
            print("scopes:", ", ".join(who["scopes"]))
            summary = (await client.call_tool("get_summary", {})).structured_content
            print(f"{summary['health_status']} ({summary['mode']}): {summary['health_reason']}")
            failed = await client.call_tool("explain", {"topic": "BRK_000"})
            if failed.is_error:
                # Every failure names a call that helps, with the tool and its arguments.
                problem = failed.structured_content
                print(f"{problem['error_code']}: {problem['cause']}; next: {problem['next_actions'][0]}")


asyncio.run(main())
