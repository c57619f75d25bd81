"""Senders for the fault tests: they post as Falco and as the API server do, and remember what was acknowledged."""

import asyncio
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.support.builders.posted import a_numbered_alert, an_event_list
from tests.support.live.process import eventually

# The API server tries again after so long.
AGAIN_SECS = 0.2
# A few rules fire again and again; the others once.
STORMS, STORM_SHARE = 10, 0.33
EVENTS_PER_BATCH = 5
# This share of the batches is posted twice at the same time.
TWICE_SHARE = 0.3
GIVE_UP_SECS = 60.0
Json = dict[str, Any]


@dataclass
class SentAlerts:
    """The alerts of one rule. unknown: how many were posted on a connection that broke before the answer."""

    acknowledged: int = 0
    unknown: int = 0
    samples: set[str] = field(default_factory=set)


@dataclass
class Sent:
    """alerts: by rule. audit_ids: of batches that were acknowledged. unknown_audit_ids: of batches that may be stored.

    lost: how many alerts were answered with 503, and so are lost. answers: how often each answer came.
    """

    alerts: dict[str, SentAlerts] = field(default_factory=dict)
    audit_ids: set[str] = field(default_factory=set)
    unknown_audit_ids: set[str] = field(default_factory=set)
    lost: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    @property
    def acknowledged(self) -> int:
        return sum(of_rule.acknowledged for of_rule in self.alerts.values())

    @property
    def unknown(self) -> int:
        return sum(of_rule.unknown for of_rule in self.alerts.values())

    def __str__(self) -> str:
        answers = ", ".join(f"{count} {answer}" for answer, count in sorted(self.answers.items()))
        return f"{self.acknowledged} alerts of {len(self.alerts)} rules acknowledged, {self.unknown} unknown; answers: {answers}"


class Load:
    """Post alerts, and batches of audit events, from a thread until the block ends; go on while nobody listens.

    Falco sends nothing twice. The API server sends a batch until it is acknowledged, and sometimes once more.
    """

    def __init__(self, url: str, namespace: str, *, alerts_per_sec: float, batches_per_sec: float = 0.0, seed: int = 1) -> None:
        self.sent = Sent()
        self._url = url
        self._namespace = namespace
        self._alerts_per_sec = alerts_per_sec
        self._batches_per_sec = batches_per_sec
        self._chance = random.Random(seed)  # noqa: S311  the same load again
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join(GIVE_UP_SECS)
        if raised is None:
            assert not self._thread.is_alive(), "the sender did not end"
            assert self._failure is None, repr(self._failure)

    def wait_for(self, acknowledged: int) -> None:
        eventually(lambda: self._failure or self.sent.acknowledged >= acknowledged)

    def wait_for_refusals(self, *, alerts: int, batches: int) -> None:
        """Wait until so many more alerts and batches were refused."""
        lost, refused = self.sent.lost + alerts, self.sent.answers["audit 429"] + batches
        eventually(lambda: self._failure or (self.sent.lost >= lost and self.sent.answers["audit 429"] >= refused))

    def _work(self) -> None:
        try:
            asyncio.run(self._send_all())
        except BaseException as exc:  # noqa: BLE001  raised in the test's own thread
            self._failure = exc

    async def _send_all(self) -> None:
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=GIVE_UP_SECS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session, asyncio.TaskGroup() as group:
            group.create_task(self._keep_pace(group, self._alerts_per_sec, self._post_alert))
            group.create_task(self._keep_pace(group, self._batches_per_sec, self._post_batch))

    async def _keep_pace(self, group: asyncio.TaskGroup, per_sec: float, post: Any) -> None:
        if not per_sec:
            return
        began = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number / per_sec - time.monotonic()))
            if self._ending.is_set():
                return
            group.create_task(post(number))

    # ------------------------------------------------------------ Falco

    async def _post_alert(self, number: int) -> None:
        kind = f"storm {self._chance.randrange(STORMS)}" if self._chance.random() < STORM_SHARE else f"rule {number}"
        # A key names no namespace, and another test's records may still be there.
        rule = f"{kind} of {self._namespace}"
        alert = a_numbered_alert(self._namespace, rule, number)
        status, text = await self._post("/falco/webhook", alert)
        self.sent.answers[f"falco {status if status > 0 else text}"] += 1
        of_rule = self.sent.alerts.get(rule) or SentAlerts()
        match status:
            case 200:
                of_rule.acknowledged += 1
            case 0:
                of_rule.unknown += 1
            case 503 if "lost" in text:
                self.sent.lost += 1
                return
            case 503:
                # Too many bodies at once: it was not read.
                return
            case -1:
                return
            case _:
                raise AssertionError(f"{status}: {text}")
        of_rule.samples.add(alert["output"])
        self.sent.alerts[rule] = of_rule

    # ------------------------------------------------------------ the API server

    async def _post_batch(self, number: int) -> None:
        ids = [f"{self._namespace}-{number}-{index}" for index in range(EVENTS_PER_BATCH)]
        # Now and then the same request is in two batches, and batches overtake each other.
        again = [f"{self._namespace}-{number - 1}-{index}" for index in range(2)] if number else []
        batch = an_event_list(self._namespace, [*ids, *again])
        copies = 2 if self._chance.random() < TWICE_SHARE else 1
        async with asyncio.TaskGroup() as group:
            for _ in range(copies):
                group.create_task(self._post_until_acknowledged(batch, [*ids, *again]))

    async def _post_until_acknowledged(self, batch: Json, ids: Sequence[str]) -> None:
        deadline = time.monotonic() + GIVE_UP_SECS
        while time.monotonic() < deadline:
            status, text = await self._post("/audit/webhook", batch)
            self.sent.answers[f"audit {status if status > 0 else text}"] += 1
            if status == 200:
                self.sent.audit_ids.update(ids)
                return
            if status == 0:
                self.sent.unknown_audit_ids.update(ids)
            elif status not in (-1, 429, 503):
                raise AssertionError(f"{status}: {text}")
            if self._ending.is_set() and status == -1:
                # No process will start again.
                return
            await asyncio.sleep(AGAIN_SECS)

    async def _post(self, path: str, body: Json) -> tuple[int, str]:
        """Return status and text. 0: the connection broke before the answer; -1: there was no connection."""
        try:
            async with self._session.post(self._url + path, json=body) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientConnectorError:
            return -1, "nobody there"
        except (aiohttp.ClientError, ConnectionError):
            return 0, "broken off"
