"""Keeps a root: decides in order, writes down, acts; answers calls of this and other processes.

Promises that a call is one decision and one transaction, and that no result is called complete that
isn't.
Never in it: how answers are shown, or a file that is looked at while the scheduler's lock is held.
"""
