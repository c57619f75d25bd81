"""zenwatch/buffer: what waits is bounded, and what was acknowledged is kept."""
