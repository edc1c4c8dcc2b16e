"""Is what trackers set process-wide given back as it was?"""

from __future__ import annotations

import os
import threading
import types

import pytest

from trackyard import KEEP, RetryLater, process_values
from trackyard.contract.process_state import ProcessValueTakenError, own_environment

NAME = "ANNS_SERVER"


@pytest.fixture(params=["mine", None], ids=["set", "unset"])
def before(request, monkeypatch):
    """The variable as the user has it, set or not."""
    monkeypatch.delenv(NAME, raising=False)
    if request.param is not None:
        monkeypatch.setenv(NAME, request.param)
    return request.param


def value():
    return os.environ.get(NAME)


def refused(environment):
    with pytest.raises(ProcessValueTakenError) as caught, process_values(environment):
        pytest.fail("entered")
    return caught.value


def test_variable_is_set_and_given_back(before):
    with process_values({NAME: "theirs"}):
        assert value() == "theirs"
    assert value() == before


def test_variable_is_unset_and_given_back(before):
    with process_values({NAME: None}):
        assert value() is None
    assert value() == before


def test_variable_is_given_back_after_an_error(before):
    with pytest.raises(ZeroDivisionError), process_values({NAME: "theirs"}):
        1 / 0
    assert value() == before


def test_equal_values_are_shared_and_given_back_by_the_last(before):
    first, second = process_values({NAME: "theirs"}), process_values({NAME: "theirs"})
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert value() == "theirs"
    second.__exit__(None, None, None)
    assert value() == before


def test_another_value_is_refused_while_one_is_held(before):
    with process_values({NAME: "theirs"}):
        error = refused({NAME: "others"})
        assert str(error) == f"{NAME} is held at another value by an overlapping run"
        assert value() == "theirs"
    with process_values({NAME: "others"}):
        assert value() == "others"
    assert value() == before


def test_refusal_says_try_again():
    assert issubclass(ProcessValueTakenError, RetryLater)


def test_refusal_leaves_nothing_behind(before, monkeypatch):
    monkeypatch.delenv("ANNS_TOKEN", raising=False)
    with process_values({NAME: "theirs"}):
        refused({"ANNS_TOKEN": "a", NAME: "others"})
        assert "ANNS_TOKEN" not in os.environ
    assert value() == before


def test_keep_is_the_users_own_value(before):
    with process_values({NAME: KEEP}):
        assert value() == before
        refused({NAME: "others"})
    assert value() == before
    assert repr(KEEP) == "KEEP"


def test_keep_is_refused_while_another_value_is_held(before):
    with process_values({NAME: "theirs"}):
        assert NAME in str(refused({NAME: KEEP}))
        assert value() == "theirs"
    assert value() == before


def test_keep_is_shared_with_the_users_own_value(before):
    with process_values({NAME: before}), process_values({NAME: KEEP}):
        assert value() == before
    assert value() == before


def test_change_by_the_user_is_kept(before):
    with process_values({NAME: "theirs"}):
        os.environ[NAME] = "changed"
    assert value() == "changed"


def test_removal_by_the_user_is_kept(before):
    with process_values({NAME: "theirs"}):
        del os.environ[NAME]
    assert value() is None


def test_attributes_are_set_and_given_back():
    module = types.SimpleNamespace(a=1)
    with process_values(attributes=[(module, "a", 2), (module, "b", 3)]):
        assert (module.a, module.b) == (2, 3)
    assert vars(module) == {"a": 1}


def test_attributes_of_two_objects_are_kept_apart():
    first, second = types.SimpleNamespace(a=1), types.SimpleNamespace(a=1)
    with (
        process_values(attributes=[(first, "a", 2)]),
        process_values(attributes=[(second, "a", 3)]),
    ):
        assert (first.a, second.a) == (2, 3)
    assert (first.a, second.a) == (1, 1)


def test_attribute_that_the_user_deleted_stays_deleted():
    module = types.SimpleNamespace(a=1)
    with process_values(attributes=[(module, "a", 2)]):
        del module.a
    assert vars(module) == {}


def test_variable_that_cannot_be_set_leaves_nothing_behind(before):
    with pytest.raises(ValueError), process_values({NAME: "theirs", "A": "nul\0"}):
        pytest.fail("entered")
    assert value() == before


def test_block_may_wait_for_another_to_end(before):
    held, entered = threading.Event(), threading.Event()

    def hold():
        with process_values({NAME: "theirs"}):
            held.set()
            entered.wait(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    with process_values({NAME: "others"}, patience=10):
        entered.set()
        assert value() == "others"
    thread.join()

    assert value() == before


def test_process_of_ones_own_sees_the_users_environment(before):
    with process_values({NAME: "theirs", "ANNS_TOKEN": "secret"}):
        assert own_environment().get(NAME) == before
        assert "ANNS_TOKEN" not in own_environment()
        os.environ[NAME] = "changed"
        assert own_environment()[NAME] == "changed"


def test_many_threads_share_and_refuse_in_order(before):
    seen = []

    def hold(wanted):
        for _ in range(200):
            try:
                with process_values({NAME: wanted}):
                    seen.append(value() == wanted)
            except ProcessValueTakenError:
                continue

    threads = [threading.Thread(target=hold, args=(name,)) for name in "aabb"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen
    assert all(seen)
    assert value() == before


def test_variable_that_is_claimed_is_not_set_and_nobody_holds_it_at_another_value(monkeypatch):
    monkeypatch.setenv("CLAIMED", "the user's")
    monkeypatch.delenv("ABSENT", raising=False)
    with process_values(claimed={"CLAIMED": "a token", "ABSENT": "a token"}):
        assert os.environ["CLAIMED"] == "the user's"
        assert "ABSENT" not in os.environ
        with pytest.raises(ProcessValueTakenError), process_values({"CLAIMED": "another"}):
            pytest.fail("the block was run")
        with pytest.raises(ProcessValueTakenError), process_values({"CLAIMED": KEEP}):
            pytest.fail("the block was run")
        with process_values({"CLAIMED": "a token"}):
            assert os.environ["CLAIMED"] == "a token"
            assert own_environment()["CLAIMED"] == "the user's"
    assert os.environ["CLAIMED"] == "the user's"
    with process_values({"CLAIMED": "another"}):
        assert os.environ["CLAIMED"] == "another"
