"""What the rooms promise each other. The author of a watcher needs Watcher and ApiResource, or PushWatcher and Verdict (tools.py), besides
model/finding.py and BadInput of errors.py.

A watcher yields findings; a source hands them to an Intake; the Intake decides against the Index and submits
envelopes to a RecordWriter; the writer calls the Store; the receipt comes back through the envelope. Where a tool pushes, a Hook
takes the body and a PushIntake the findings, with an Inbox in it; a Destination stands behind the store where records are delivered.
Each of these has one suite in tests/contract that every implementation passes.
"""

from zenwatch.contract.intake import Answer, DeadLetters, FindsOwners, Hook, Inbox, Intake, PushIntake, TellsFates
from zenwatch.contract.store import Clock, Destination, Gone, HasRoom, Index, Put, RecordWriter, Store, Synced
from zenwatch.contract.tools import RECENT_ENTRIES, ApiResource, Circumstances, PushWatcher, Verdict, Watcher

__all__ = [
    "RECENT_ENTRIES",
    "Answer",
    "ApiResource",
    "Circumstances",
    "Clock",
    "DeadLetters",
    "Destination",
    "FindsOwners",
    "Gone",
    "HasRoom",
    "Hook",
    "Inbox",
    "Index",
    "Intake",
    "PushIntake",
    "PushWatcher",
    "Put",
    "RecordWriter",
    "Store",
    "Synced",
    "TellsFates",
    "Verdict",
    "Watcher",
]
