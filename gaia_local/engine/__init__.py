"""Keeps a root: decides in order, writes down, acts; answers the calls of this process and of
others.

Promises that a call is one decision and one transaction, and that no result is called complete that
isn't.
Never in it: how answers are shown, or a file that is looked at while the scheduler's lock is held.
"""
