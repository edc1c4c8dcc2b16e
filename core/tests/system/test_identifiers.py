"""Are runs identified so that no two are mixed up?"""

from __future__ import annotations

import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from trackyard.system.identifiers import new_id, new_name


def test_id_is_a_uuid_of_version_7():
    parsed = uuid.UUID(new_id())

    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert re.fullmatch("[0-9a-f]{32}", new_id())


def test_id_holds_the_moment_of_its_making():
    before = time.time_ns() // 1_000_000
    milliseconds = uuid.UUID(new_id()).int >> 80

    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_ids_sort_by_the_time_of_their_making(monkeypatch):
    moments = iter(range(10**18, 10**18 + 100 * 10**6, 10**6))
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    ids = [new_id() for _ in range(100)]

    assert ids == sorted(ids)


def test_ids_are_unique_also_from_many_threads():
    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda _: [new_id() for _ in range(2000)], range(8))
        ids = [made for part in parts for made in part]

    assert len(set(ids)) == len(ids) == 16_000


def test_name_is_readable_and_of_ones_own():
    names = {new_name("training") for _ in range(20)}

    assert len(names) > 15
    assert all(re.fullmatch(r"training-\d{8}-\d{6}-[0-9a-f]{4}", name) for name in names)
