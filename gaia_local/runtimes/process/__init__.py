"""The runtime `process`: commands as local processes, each under a supervisor where the system
allows it.

Promises what `runtimes.contract` says, whatever a program does to its session and environment.
Never in it: containers, or anything that a supervisor would have to import beside Python's own
modules.
"""
