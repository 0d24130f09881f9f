"""The files of a root: paths of keys, private directories of Tasks, fingerprints, watching, locks.

Promises that published files are complete, and were renamed into their places.
Never in it: a file's meaning for a workflow, a database, or the running of programs.
"""
