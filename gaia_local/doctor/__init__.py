"""Looks after the machine and the root: what works here, and what dead engines left running.

Promises that an examination changes nothing, and that only what is nobody's is removed.
Never in it: Steps that run, or how a report is printed.
"""
