"""What a plugin's author reads: hooks, records, errors, flavors."""
