from trackyard.testing.memory import MemoryTracker as MemoryTracker
from trackyard.testing.stored import StoredRun as StoredRun
from trackyard.testing.suite import FlavorSuite as FlavorSuite
