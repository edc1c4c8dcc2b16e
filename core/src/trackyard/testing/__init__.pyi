from trackyard.testing.commands import CommandSuite as CommandSuite
from trackyard.testing.faulty_proxy import FaultyProxy as FaultyProxy
from trackyard.testing.faulty_relay import FaultyRelay as FaultyRelay
from trackyard.testing.faulty_rules import FAULTS as FAULTS, Fault as Fault
from trackyard.testing.materializers import MaterializerSuite as MaterializerSuite
from trackyard.testing.memory import MemoryTracker as MemoryTracker
from trackyard.testing.orchestrators import OrchestratorSuite as OrchestratorSuite
from trackyard.testing.plugins import PluginSuite as PluginSuite
from trackyard.testing.stored import StoredRun as StoredRun
from trackyard.testing.suite import FlavorSuite as FlavorSuite
