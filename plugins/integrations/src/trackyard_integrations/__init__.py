"""One line for users of ML frameworks: each module is imported by name, with its framework."""
