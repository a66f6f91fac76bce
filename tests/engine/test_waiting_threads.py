"""Threads that wait take nothing from those that work, and only for as long as there are such."""

import os
import subprocess
import sys

import pytest

from rayal.engine import machine

MEASURED = """
import os, threading, time
from concurrent.futures import ThreadPoolExecutor
import torch
from rayal.engine.waiting_threads import SHARED, let_sleep

torch.set_num_threads(2)
numbers = torch.zeros(SHARED)

def others():
    "Nanoseconds of the processor that all threads but this one have had."
    tasks = set(os.listdir("/proc/self/task")) - {str(threading.get_native_id())}
    return sum(int(open(f"/proc/self/task/{task}/schedstat").read().split()[0]) for task in tasks)

def waited():
    before = others()
    for _ in range(10):
        numbers.add_(1)
        time.sleep(0.02)  # what comes between two operations
    return others() - before

print(waited())
with ThreadPoolExecutor(2) as threads:
    let_sleep(threads)
    print(waited())
time.sleep(0.2)  # the team ends with its first thread
print(waited())
"""


@pytest.mark.skipif(machine.cores() < 2, reason="on one core they sleep as it is")
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what threads have had")
def test_they_sleep_while_others_decode() -> None:
    """They spun between the operations of a model, on the cores that were to decode the next
    images; left like that afterwards, every training would be slower."""
    own = {name: value for name, value in os.environ.items() if "OMP" not in name}
    command = [sys.executable, "-c", MEASURED]
    said = subprocess.run(command, env=own, capture_output=True, text=True, check=True).stdout
    alone, beside, after = map(int, said.split())

    assert beside < alone / 4
    assert beside < after / 4
