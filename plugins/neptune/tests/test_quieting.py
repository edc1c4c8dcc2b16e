"""Is Neptune's SDK quiet as long as anybody wants it to be, and no longer?"""

from __future__ import annotations

import logging

from trackyard_neptune.quieting import quiet


def test_blocks_that_overlap_are_quiet_until_the_last_one_ends():
    logger = logging.getLogger("neptune")
    before = logger.level
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logger.level == logging.CRITICAL
    second.__exit__(None, None, None)

    assert logger.level == before
