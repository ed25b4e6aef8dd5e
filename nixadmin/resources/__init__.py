"""The kinds of thing nixadmin knows how to keep, one a file.

All are imported here, so that a receipt finds each kind that it names.
"""

from nixadmin.resources.block import Block
from nixadmin.resources.copy import Copy
from nixadmin.resources.directory import Directory
from nixadmin.resources.file import File
from nixadmin.resources.packages import Packages
from nixadmin.resources.pool import Pool
from nixadmin.resources.profile import Profile
from nixadmin.resources.service import Definition, Service
from nixadmin.resources.store_paths import StorePaths

__all__ = [
    "Block",
    "Copy",
    "Definition",
    "Directory",
    "File",
    "Packages",
    "Pool",
    "Profile",
    "Service",
    "StorePaths",
]
