"""Rules of the house that a machine can hold: they need no server and no event loop."""
