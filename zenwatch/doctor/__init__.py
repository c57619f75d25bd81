"""What is wrong, and how to mend it: looks at the cluster, the account and the process that runs, and changes nothing.

examine.py says in which order; each other room looks at one thing and tells it as checks.
"""
