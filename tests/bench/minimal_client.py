"""A client that only creates N records, as a baseline. It prints creates per second.

It is a process of its own, as zenwatch is: python -m tests.bench.minimal_client SERVER CA_FILE TOKEN_FILE NAMESPACE COUNT CONNECTIONS
"""

import asyncio
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
import orjson
import uvloop

from tests.bench.reports import record_like_ours


@dataclass(frozen=True)
class Target:
    server: str
    ca_file: str
    token: str
    namespace: str


async def create_all(target: Target, *, count: int, connections: int) -> float:
    url = f"{target.server}/apis/zen.kube-zen.io/v1/namespaces/{target.namespace}/zenagentevents"
    headers = {"Authorization": f"Bearer {target.token}", "Content-Type": "application/json", "Accept-Encoding": "identity"}
    bodies = iter([orjson.dumps(record_like_ours(f"baseline-{uuid4().hex[:20]}", target.namespace)) for _ in range(count)])
    connector = aiohttp.TCPConnector(limit=connections, ssl=ssl.create_default_context(cafile=target.ca_file))
    async with aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False) as session:

        async def work() -> None:
            for body in bodies:
                async with session.post(url, data=body) as answer:
                    if answer.status != 201:
                        raise RuntimeError(f"{answer.status}: {await answer.text()}")
                    await answer.read()

        started = time.perf_counter()
        async with asyncio.TaskGroup() as workers:
            for _ in range(connections):
                workers.create_task(work())
        return count / (time.perf_counter() - started)


if __name__ == "__main__":
    _server, _ca_file, _token_file, _namespace, _count, _connections = sys.argv[1:]
    _target = Target(_server, _ca_file, Path(_token_file).read_text().strip(), _namespace)
    print(uvloop.run(create_all(_target, count=int(_count), connections=int(_connections))))
