"""Load for the fault tests: what is sent, and the comparison of what is stored with it."""
