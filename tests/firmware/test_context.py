"""Stages of a build: made once, when asked for, in whichever thread; and what their failures do."""

import threading

import pytest

from axo.errors import UserError
from axo.firmware.context import BuildOptions, Context, Journal
from axo.firmware.models import Model
from axo.firmware.tools.run import ToolError


@pytest.fixture
def context(tmp_path):
    said: list[str] = []
    model = Model("none", None, tmp_path / "none.json", None)  # type: ignore[arg-type]
    return Context(model, BuildOptions(tmp_path), tmp_path, Journal(said.append))


def test_a_stage_is_made_once_however_many_threads_ask(context):
    begun, calls = threading.Event(), []

    def stage(given):
        calls.append(given)
        assert begun.wait(60)
        return object()

    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(context.get(stage))) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join(60)
    assert calls == [context]
    assert len(found) == 8 and len(set(map(id, found))) == 1


def test_a_stage_may_stand_on_another(context):
    def first(given):
        return 20

    assert context.get(lambda given: given.get(first) + 1) == 21


def test_only_what_was_asked_for_has_been_made(context):
    def number(given):
        return 7

    assert context.made(number) is None
    context.get(number)
    assert context.made(number) == 7


def test_a_failure_is_kept_and_is_a_reason_unless_a_tool_failed(context):
    tries = []

    def refused(given):
        tries.append(1)
        raise UserError("cannot be made")

    def broken(given):
        raise ToolError("exit status 1")

    assert context.why_not(refused) == "cannot be made"
    assert context.why_not(refused) == "cannot be made"
    assert tries == [1] and context.made(refused) is None
    with pytest.raises(UserError, match="cannot be made"):
        context.get(refused)
    with pytest.raises(ToolError, match="exit status 1"):
        context.why_not(broken)
    assert context.why_not(lambda given: 1) is None


def test_an_interrupt_is_no_reason(context):
    def interrupted(given):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        context.why_not(interrupted)


def test_a_step_is_said_as_it_begins_and_timed(tmp_path):
    said: list[str] = []
    journal = Journal(said.append)
    with journal.step("thinking") as step:
        assert said[0].endswith("s] thinking") and step.wall_s == 0
    assert step.wall_s > 0 and set(journal.wall_s) == {"thinking"}
