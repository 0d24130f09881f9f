"""The executor `dask`: Tasks run on the workers of a Dask cluster.

Promises what `executors.contract` says, also when workers are lost; a Task is published once.
Never in it: an import of it for those that use no cluster.
"""
