"""From a finding to an event: normalise, score, merge."""
