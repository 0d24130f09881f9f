"""The runtime `process`: local processes, each under a supervisor if the system allows it.

Promises the contract in `runtimes.contract`, also if a program changes its session or environment.
Never in it: containers, or, in a supervisor, imports of other modules than Python's own.
"""
