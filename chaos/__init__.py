"""Several hosts, hundreds of executions, and everything that can go wrong: does it balance?

A run makes a plan from its seed, lets the weather loose on real processes, waits until all is
quiet, and then compares what was recorded with what really happened in a database. See
docs/reliability.md.
"""
