"""The allocator keeps what PyTorch frees: a property of the process, so each case has its own."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from hdpo.system.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(int(sys.argv[2])) for _ in range(60_000_000 // int(sys.argv[2]))]  # 240 MB at a time
    del tensors
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str, numbers: int) -> int:
    """Of ten rounds of the same allocations, tensors of so many `numbers`, after ten rounds that do not count.

    glibc raises its thresholds as it goes, unless they are set: here to what they are at first.
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
    assert page_faults("as it comes", numbers) > 100_000  # of 586,000 pages
