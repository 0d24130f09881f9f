"""Asks a Gaia server how far a workflow is."""

import time

import gaia


def wait(name, interval=0.1):
    """Wait until a workflow has stopped; answers its state and the inputs that it waits for."""
    flow = gaia.Gaia()
    while (status := flow.status(name)["status"])["state"] == "running":
        time.sleep(interval)
    return status["state"], status["waiting-inputs"]
