"""The C library's memory allocator, told to keep what PyTorch gives back.

A training step on a CPU allocates the same few hundred megabytes again and again. By default glibc returns each freed
piece at the top of its heap to the system, and every piece of more than 32 MB, which hands it out anew page by page:
thousands of page faults a step of the small world, and half the time of an update over a vocabulary of 32,000. Kept,
the memory of a process stays at the peak that it reaches anyway; with pieces that large between gaps for others, at
1.4 times that peak.
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
KEPT = 2**31 - 1  # bytes free at the top of the heap before any are returned: the most that can be said
LARGEST_KEPT = 2**28  # a larger piece is mapped by itself and returned at once: gaps of its size would cost too much


def keep_freed_memory(largest: int = LARGEST_KEPT) -> None:
    """Have this process keep freed pieces up to `largest` bytes for its next allocations; nothing without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, largest) or mallopt(M_MMAP_THRESHOLD, 2**25)  # the most before glibc 2.35
        mallopt(M_ARENA_MAX, 1)  # one heap for all threads: each thread's own would keep its own
