"""What several test modules share. No test module imports another one: what two of them need is here.

What do I need?                                         It is in
-----------------------------------------------------  ---------------------------------------------------------------
a finding, an event, a stored record                    builders/findings.py, builders/records.py
a report of the Trivy Operator, a workload              builders/vulnerability_reports.py, builders/workloads.py
a body that Falco or the API server posts               builders/posted.py; a hostile one: builders/hostile.py
a payload for the schema drift detector                 builders/observed.py
a payload of another tool, an audit event               payloads.py, audit_events.py
real output of the tools, where there is some           corpus.py; what becomes of it in the store: stored_fields.py
a clock that the test moves                             fakes/clock.py
a store, a writer, an intake, an API server in memory   fakes/, one file per promise of zenwatch/contract
a pipeline over a store in memory                       pipelines/pull.py, pipelines/push.py
tasks beside the test, and a wait for what they do      tasks.py
a web server of zenwatch and requests to it             web/server.py
what a command printed                                  terminal.py
a cluster for `zenwatch doctor` without an API server   doctor_cluster.py
a real API server                                       controlplane/ (also behind `make run` and `make cluster`)
zenwatch on a real API server                           live/process.py; with a clock that the test moves: live/in_process.py
its answers, its commands, its records                  live/client.py, live/commands.py, live/objects.py
faults between zenwatch and the API server              live/fault_proxy.py; permissions that come and go: live/rights.py
load, and the comparison of what is stored with it      live/load/
a path in the checkout                                  paths.py

Each stays small: a file that two subjects share is two files, a folder with more than nine files is two folders.
"""
