"""Where do the records of a run wait until every tracker has them?

This is the *transactional outbox* pattern: a log call appends an entry to the run's journal and
returns; each tracker's delivery reads from its own cursor, so that a slow one keeps nothing from
the others. The files are the buffer, the crash log and the source of a replay.
"""
