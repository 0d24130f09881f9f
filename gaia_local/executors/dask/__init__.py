"""The executor `dask`: Tasks run on the workers of a Dask cluster.

Promises the contract in `executors.contract`, also when workers are lost; a Task is published once.
Never in it: imports that programs without a cluster would pay for.
"""
