"""Keeps a root: decides in order, writes down, acts; answers calls of this and other processes.

Promises that a call is one decision and one transaction, and that no incomplete result is called
complete.
Never in it: showing answers, or looking at files while the scheduler's lock is held.
"""
