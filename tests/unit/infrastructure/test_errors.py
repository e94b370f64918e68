"""What every error of ours has."""

from traceback import format_exception_only

from infrastructure.errors import EventStoreError, own_copy


def test_a_traceback_shows_the_remedy_and_the_text_of_the_error_stays_short() -> None:
    error = EventStoreError("there is no group", remedy="eventstore groups")
    assert str(error) == "there is no group"
    assert "".join(format_exception_only(error)).endswith("there is no group\nremedy: eventstore groups\n")


def test_without_a_remedy_nothing_is_added() -> None:
    assert not hasattr(EventStoreError("it is broken"), "__notes__")


def test_what_is_noted_of_a_copy_is_not_noted_of_the_others() -> None:
    error = EventStoreError("it is broken", remedy="mend it")
    copy = own_copy(error)
    copy.add_note("seen by ada")
    assert error.__notes__ == ["remedy: mend it"]
