"""The allocator keeps what PyTorch frees: a property of the process, so each case has its own."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, statistics, sys, torch
from hdpo.system.allocator import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "kept":
    keep_freed_memory()
rounds = []
for turn in range(21):
    before = faults()
    tensors = [torch.ones(int(sys.argv[2])) for _ in range(60_000_000 // int(sys.argv[2]))]  # 240 MB at a time
    del tensors
    rounds.append(faults() - before)
print(statistics.median(rounds))
"""


def page_faults(how: str, numbers: int) -> int:
    """The median over 21 rounds of the same allocations, tensors of so many `numbers`.

    The median leaves out the first round, where all memory is new, and a round in which a small piece in between moves
    the large ones to another place. glibc raises its thresholds as it goes, unless they are set: here to what they are
    at first.
    """
    first = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", FAULTS, how, str(numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | first)
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
@pytest.mark.parametrize("numbers", [1_000_000, 60_000_000])
def test_memory_that_was_freed_is_used_again_without_the_system(numbers):
    version = tuple(int(part) for part in platform.libc_ver()[1].split("."))
    if numbers > 2**23 and version < (2, 35):
        pytest.skip("before glibc 2.35 pieces over 32 MB cannot be kept")
    assert page_faults("kept", numbers) < 100
    assert page_faults("as it comes", numbers) > 10_000  # of 58,600 pages a round
