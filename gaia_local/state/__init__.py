"""The rows of a root: the state file in SQLite, its reads and writes.

Promises that the changes of one decision are written all together, or not at all.
Never in it: a decision, a thread, or SQL for any other wing to run.
"""
