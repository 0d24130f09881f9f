"""The words of Gaia as frozen values: Commands, Steps, Tasks, events, keys, and how they are read
and checked.

Promises that a value which was parsed is valid, and never changes.
Never in it: files (but reading a definition), databases, threads, or anything that was decided.
"""
