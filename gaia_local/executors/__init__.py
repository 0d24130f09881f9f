"""Where Tasks run, and what one Task does: the contract, the threads of this process, the worker.

Promises that each submitted Task ends exactly once, and that a cancellation wins.
Never in it: what is to run next, publishing, or rows; the scheduler hears of everything through an
`Observer`.
"""
