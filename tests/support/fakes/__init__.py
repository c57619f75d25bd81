"""Stand-ins for what zenwatch talks to. They keep the promises of zenwatch/contract, and none of them patches anything."""
