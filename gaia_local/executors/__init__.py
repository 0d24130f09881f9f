"""Executors run Tasks: their contract, the threads of this process, Dask, and one Task's worker.

Promises that each submitted Task ends exactly once, and that a cancellation wins.
Never in it: the choice of the next Task, publishing, or rows; all events go to the scheduler
through an `Observer`.
"""
