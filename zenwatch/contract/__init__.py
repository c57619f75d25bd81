"""What the rooms promise each other. The author of a watcher needs Watcher and ApiResource, or PushWatcher and Verdict (tools.py), besides
model/finding.py and BadInput of errors.py.

A watcher yields findings; a source hands them to an Intake; the Intake decides against the Index and submits
envelopes to a RecordWriter; the writer calls the Store; the receipt comes back through the envelope. Where a tool pushes, a Hook
takes the body and a PushIntake the findings, with an Inbox in it; a Destination stands behind the store where records are delivered.
Each of these has one suite in tests/contract that every implementation passes.
"""

from zenwatch.contract.intake import DeadLetters, Hook, HookResponse, Inbox, Intake, OutcomeRecorder, OwnerResolver, PushIntake
from zenwatch.contract.store import Capacity, Clock, Destination, Gone, Index, Put, RecordWriter, Store, Synced

__all__ = [
    "Capacity",
    "Clock",
    "DeadLetters",
    "Destination",
    "Gone",
    "Hook",
    "HookResponse",
    "Inbox",
    "Index",
    "Intake",
    "OutcomeRecorder",
    "OwnerResolver",
    "PushIntake",
    "Put",
    "RecordWriter",
    "Store",
    "Synced",
]
