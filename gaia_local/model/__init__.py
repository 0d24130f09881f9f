"""The terms of Gaia as frozen values: Commands, Steps, Tasks, events, keys; parsed and checked.

Promises that a parsed value is valid, and never changes.
Never in it: files (but reading a definition), databases, threads, or decisions.
"""
