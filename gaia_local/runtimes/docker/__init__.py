"""The runtime `docker`: commands in containers, and their files in and out.

Promises the contract in `runtimes.contract`, and that a container which outlives its engine is
found again.
Never in it: local processes, or the choice between them and containers.
"""
