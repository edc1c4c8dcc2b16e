"""Is a folder on a file system where a memory map is safe?"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

# There a map is not coherent between machines, or a lost server ends the process with SIGBUS.
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "fuse",
    "gluster",
    "gpfs",
    "lustre",
    "beegfs",
)


def can_be_mapped(folder: Path) -> bool:
    """Tell whether files in a folder may be preallocated and mapped."""
    return hasattr(os, "posix_fallocate") and not file_system_of(folder).startswith(_NETWORK)


@lru_cache(maxsize=256)
def file_system_of(folder: Path) -> str:
    """Name the type of a folder's file system, such as `ext4`; an empty text where unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    best, kind = "", ""
    resolved = str(folder.resolve())
    for line in mounts.splitlines():
        _, place, type_, *_ = line.split(" ")
        place = place.replace("\\040", " ")
        inside = resolved == place or resolved.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, type_
    return kind
