"""How one Task's command runs: the contract, and the choice among those who keep it.

Promises that a run ends when it is cancelled, and leaves no process and no container behind.
Never in it: which Task runs, or when; what becomes of its outputs.
"""
