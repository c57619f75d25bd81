"""`zenwatch doctor`: look for what is wrong with the cluster, the permissions and the running process, and print how to repair it.

Nothing is changed. examine.py lists what is examined, in order; every folder beside it examines one area and returns checks.
"""
