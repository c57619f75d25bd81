"""One suite per Protocol of zenwatch/contract.py, and the runs of each suite on its implementations."""

import pytest

# The suites are imported, not collected: without this a failing assert in them would only say AssertionError.
for _suite in ("clock", "destination", "inbox", "index", "intake", "store", "watcher"):
    pytest.register_assert_rewrite(f"tests.contract.{_suite}_suite")
