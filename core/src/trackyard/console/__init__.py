"""What a run prints: kept beside its journal with times, read, and read live."""
