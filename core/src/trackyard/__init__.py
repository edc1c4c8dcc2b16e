"""Trackyard: one set of hooks for experiment tracking, every tracker a plugin.

`__init__.pyi` lists the names for users. Authors of plugins find theirs in `trackyard.contract`.
"""

from trackyard.system.doors import open_door

__version__ = "0.1.0"

__getattr__, __dir__ = open_door(
    __name__, unlisted="trackyard.contract", spare="trackyard.tracking.standing_in"
)
