"""The door for authors of plugins: hooks, records, errors, flavors, orchestrators, helpers.

`__init__.pyi` lists the names.
"""

from trackyard.system.doors import open_door

__getattr__, __dir__ = open_door(__name__)
