"""The rows of a root: the state file in SQLite, and what is read from it and written into it.

Promises that what one decision changed is written whole, or not at all.
Never in it: a decision, a thread, or SQL for any other wing to run.
"""
