"""The runtime `docker`: commands in containers, and their files in and out.

Promises what `runtimes.contract` says, and that a container which outlives its engine is found
again.
Never in it: local processes, or the decision whether a container is wanted.
"""
