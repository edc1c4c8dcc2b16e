"""How do a run's records, start and end reach one tracker, in the background and at least once?"""
