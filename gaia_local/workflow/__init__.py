"""One workflow in memory: its expanded Steps, their graph, and every decision about it.

Promises that equal observations lead to equal decisions, and that a workflow reloaded from its rows
is the live one.
Never in it: a file, a database, a thread or a program.
"""
