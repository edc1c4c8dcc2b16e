"""Which checks are there? One file for each part of the contract."""
