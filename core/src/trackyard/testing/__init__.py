"""How does the author of a plugin prove that it is right?

The suites run under pytest, which `pip install 'trackyard[testing]'` brings; `MemoryTracker`
works without it. Nothing else of Trackyard imports this package but
`trackyard experiment-tracker flavor check`. `__init__.pyi` lists the names.
"""

from trackyard.system.doors import open_door

__getattr__, __dir__ = open_door(__name__)
