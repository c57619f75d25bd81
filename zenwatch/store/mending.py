"""Have the store restore, now and then, what it derives from its records."""

import asyncio

import structlog

from zenwatch.contract import Clock, Records, Store

log = structlog.get_logger(component="mending")

# As often as rounds by default: each is two requests whose answers are empty where nobody changed anything.
MEND_EVERY_SECS = 30.0


async def keep_mending(store: Store, records: Records, clock: Clock) -> None:
    """Without end. At the start everything is read first: what is wrong is found then."""
    await records.wait_until_synced()
    never = asyncio.Event()
    while True:
        if mended := await store.mend():
            log.info("records_mended", count=mended, reason="their labels had been changed")
        await clock.wait(never, timeout_secs=MEND_EVERY_SECS)
