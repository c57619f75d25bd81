"""One area per source: whether its tool is installed, whether zenwatch gets its findings, and how old the last ones are."""
