"""Checks the machine and the root, and finds and removes the leftovers of dead engines.

Promises that checks change nothing, and that nothing is removed under a live engine.
Never in it: running Steps, or printing reports.
"""
