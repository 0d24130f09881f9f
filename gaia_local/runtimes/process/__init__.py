"""The runtime `process`: local processes, each under a supervisor where the system allows it.

Promises what `runtimes.contract` says, whatever a program does to its session and environment.
Never in it: containers, or, in a supervisor, imports of other modules than Python's own.
"""
