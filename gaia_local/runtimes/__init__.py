"""Runtimes run the command of one Task: their contract, and the choice of one.

Promises that a run ends when it is cancelled, and leaves no process and no container behind.
Never in it: the choice of Tasks to run, or the publishing of their outputs.
"""
