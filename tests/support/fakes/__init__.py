"""Stand-ins for what zenwatch talks to, and builders of what flows through it. None of them patches anything."""
