"""What proves that a fresh clone installs what constraints.txt pins, whatever the index offers besides."""
