"""A server of zenwatch/web in a process of its own, on uvloop as in production: `python -m tests.support.web.child_server DESCRIPTORS`.

Settings are environment variables. It prints its URL, and ends with its standard input.
"""

import asyncio
import os
import resource
import sys

import uvloop
from structlog.testing import capture_logs

from tests.support.web.server import config_of, routes_of, url_in
from zenwatch.runtime.supervise import Supervisor
from zenwatch.web.server import Server

SETTINGS = ("HEADERS_TIMEOUT", "IDLE_TIMEOUT", "MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS", "TLS_CERT_FILE", "TLS_KEY_FILE")


async def serve(environment: dict[str, str]) -> None:
    server = Server(routes_of(), config_of(environment), Supervisor())
    with capture_logs() as logged:
        await server.start()
    print(url_in(logged), flush=True)  # noqa: T201  for the test
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


if __name__ == "__main__":
    descriptors = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    uvloop.run(serve({name: os.environ[name] for name in SETTINGS if name in os.environ}))
