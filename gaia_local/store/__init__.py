"""The files of a root: where keys lie, private directories of Tasks, fingerprints, watching, locks.

Promises that what is published is whole, and was renamed into its place.
Never in it: what a file means for a workflow, a database, or a program that is run.
"""
