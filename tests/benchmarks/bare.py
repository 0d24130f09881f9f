"""The bare references, each a whole process with the same work and no state, log or retry.

Only modules that all of them need are imported at the top, so that none pays for another's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

SCRIPT = "echo hi > {}"


def pool(folder: str, count: int) -> None:
    """`count` trivial programs, two at a time, and one that reads all their outputs."""
    from concurrent.futures import ThreadPoolExecutor

    def one(number: int) -> None:
        subprocess.run(["sh", "-c", SCRIPT.format(f"{folder}/{number}")], check=True)

    cpu = time.process_time()
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(one, range(count)))
    made = [f"{folder}/{number}" for number in range(count)]
    subprocess.run(["sh", "-c", 'cat "$@" > ' + f"{folder}/joined", "join", *made], check=True)
    _tell_cpu(cpu)


def row(folder: str, count: int) -> None:
    """`count` trivial programs, one after the other."""
    cpu = time.process_time()
    for number in range(count):
        subprocess.run(["sh", "-c", SCRIPT.format(f"{folder}/{number}")], check=True)
    _tell_cpu(cpu)


def cluster(folder: str, count: int, address: str) -> None:
    """`count` trivial programs, each submitted alone to a Dask cluster. Prints the seconds."""
    from distributed import Client

    def one(path: str) -> int:
        return subprocess.run(["sh", "-c", SCRIPT.format(path)], check=True).returncode

    with Client(address) as client:
        client.gather(
            [client.submit(one, f"{folder}/warm-{number}", pure=False) for number in range(10)]
        )
        began = time.perf_counter()
        client.gather(
            [client.submit(one, f"{folder}/{number}", pure=False) for number in range(count)]
        )
        seconds = time.perf_counter() - began
    print(json.dumps({"run_s": seconds}))


def containers(folder: str, count: int, image: str, workers: int) -> None:
    """`count` trivial containers by the Docker SDK, create to remove. Prints the seconds."""
    from concurrent.futures import ThreadPoolExecutor

    import docker

    began = time.perf_counter()
    client = docker.from_env(max_pool_size=workers)

    def one(number: int) -> None:
        place = f"{folder}/{number}"
        os.mkdir(place)
        container = client.containers.create(
            image,
            ["sh", "-c", SCRIPT.format("/out/x")],
            volumes={place: {"bind": "/out", "mode": "rw"}},
            user=f"{os.getuid()}:{os.getgid()}",
        )
        container.start()
        if (code := container.wait()["StatusCode"]) != 0:
            raise RuntimeError(f"the container ended with exit code {code}")
        container.logs()
        container.remove()

    with ThreadPoolExecutor(workers) as executor:
        list(executor.map(one, range(count)))
    client.close()
    print(json.dumps({"seconds": time.perf_counter() - began}))


def one_container(folder: str, image: str, script: str, prints: bool) -> None:
    """A container that writes much into /out or, if it `prints`, a log. Prints the seconds."""
    import docker

    began = time.perf_counter()
    client = docker.from_env()
    container = client.containers.create(
        image,
        ["sh", "-c", script],
        volumes={folder: {"bind": "/out", "mode": "rw"}},
        user=f"{os.getuid()}:{os.getgid()}",
    )
    container.start()
    container.wait()
    ended = time.perf_counter()
    with open(f"{folder}/log", "wb") as log:
        if prints:
            subprocess.run(["docker", "logs", str(container.id)], stdout=log, check=True)
        else:
            log.write(container.logs())
    logs_s = time.perf_counter() - ended
    container.remove()
    for directory, _, names in os.walk(folder):
        for name in names:
            with open(f"{directory}/{name}", "rb") as file:
                os.fsync(file.fileno())
    client.close()
    print(json.dumps({"seconds": time.perf_counter() - began, "logs_s": logs_s}))


def _tell_cpu(began: float) -> None:
    """Print the CPU time of this process since `began`, and that of its children."""
    import resource

    took = resource.getrusage(resource.RUSAGE_CHILDREN)
    children = took.ru_utime + took.ru_stime
    print(json.dumps({"cpu_s": time.process_time() - began, "children_s": children}))


REFERENCES: dict[str, Callable[..., None]] = {
    "pool": pool,
    "row": row,
    "cluster": cluster,
    "containers": containers,
    "one_container": one_container,
}

if __name__ == "__main__":
    REFERENCES[sys.argv[1]](**json.loads(sys.argv[2]))
