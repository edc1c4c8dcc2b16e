"""The door for authors of flavors and other plugins: hooks, records, errors, helpers.

`__init__.pyi` lists the names.
"""

from trackyard.system.doors import open_door

__getattr__, __dir__ = open_door(__name__)
