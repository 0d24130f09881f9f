"""Executors run Tasks: their contract, the threads of this process, Dask, and one Task's worker.

Promises that each submitted Task ends exactly once, and that a cancellation wins.
Never in it: the choice of the next Task, publishing, or rows; the scheduler hears of everything
through an `Observer`.
"""
