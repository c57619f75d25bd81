"""What components promise each other. Each Protocol has a suite in tests/contract that every implementation passes.

A source hands findings to an Intake, which compares them with Records and submits envelopes to a RecordWriter. The writer calls the Store,
settles the Accounts and appends to the ChangeFeed; the result returns through the envelope. Where a tool posts, a Hook takes the body and
a PushIntake the findings, with an Inbox behind it. A Destination reads the feed.
"""

from zenwatch.contract.accounts import Accounts
from zenwatch.contract.buffer import DeadLetters, Inbox
from zenwatch.contract.changes import ChangeFeed, Cursor, RecordChange
from zenwatch.contract.clock import Clock
from zenwatch.contract.component import Component, Group
from zenwatch.contract.destination import Destination
from zenwatch.contract.intake import Hook, HookResponse, Intake, OwnerResolver, PushIntake
from zenwatch.contract.store import Capacity, Gone, Put, RecordCache, RecordCounts, Records, RecordWriter, Store, Synced

__all__ = [
    "Accounts",
    "Capacity",
    "ChangeFeed",
    "Clock",
    "Component",
    "Cursor",
    "DeadLetters",
    "Destination",
    "Gone",
    "Group",
    "Hook",
    "HookResponse",
    "Inbox",
    "Intake",
    "OwnerResolver",
    "PushIntake",
    "Put",
    "RecordCache",
    "RecordChange",
    "RecordCounts",
    "RecordWriter",
    "Records",
    "Store",
    "Synced",
]
