"""Where records live: the writer before the store, the store, and the index of what is in it."""
