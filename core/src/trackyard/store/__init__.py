"""Where are pipeline runs, step runs and their outputs recorded, and how are they read again?

What is asked for is imported then; `__init__.pyi` lists the names.
"""

from trackyard.system.doors import open_door

__getattr__, __dir__ = open_door(__name__)
