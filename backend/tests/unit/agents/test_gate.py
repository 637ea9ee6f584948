"""C and X: a person's yes, on every kind of store."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from backend.agents import history
from backend.agents.agent import Agent
from backend.agents.budget import RunBudget
from backend.agents.confirmations import StateChange
from backend.agents.errors import (
    AlreadyDecidedError,
    ConfirmationChangedError,
    ConfirmationExpiredError,
    ConfirmationNotFoundError,
    ConfirmationRevokedError,
    ConfirmationStaleError,
    InvalidEditedArgumentsError,
    UnknownOutcomeError,
)
from backend.agents.events import confirmation_to_json
from backend.agents.runs import Run
from backend.agents.seals import PlainHashSigner
from backend.agents.steps import AnswerStep, JudgedToolCall, OpeningStep
from backend.agents.tools import tool
from backend.database.audit import AuditTrail
from backend.keys.errors import MasterKeyError
from backend.keys.master_keys import EnvironmentMasterKeys, MasterKey, MasterKeyFile
from backend.keys.signing import ConfirmationSigner
from backend.tests.fakes.agents import ANN, BOB, CAT, World, asked, deletes, end, error_of, wants, whole

if TYPE_CHECKING:
    from pathlib import Path

    from backend.agents.confirmations import Confirmation

    from .conftest import MakeWorld, Stores


OLD, NEW = MasterKey.generate().to_text(), MasterKey.generate().to_text()
KEYED = ConfirmationSigner(EnvironmentMasterKeys(SecretStr(OLD)))
ROTATED = ConfirmationSigner(EnvironmentMasterKeys(SecretStr(f"{NEW},{OLD}")))


async def asks(world: World) -> Confirmation:
    """Say something, and return what it leads to asking for."""
    await world.say()
    (one,) = await world.pending()
    return one


async def test_a_gated_call_is_not_made_and_the_run_waits(world: MakeWorld) -> None:
    app = world([deletes()])

    events = await app.say()

    (one,) = await app.pending()
    assert (end(events).state, app.effects.done, len(app.model.calls)) == ("awaiting", [], 1)
    assert [shown.id for shown in asked(events)] == [one.id]
    assert confirmation_to_json(one)["arguments"] == [
        {"name": "number", "text": "7", "left_out": 0, "is_hiding": False}
    ]
    assert one.expires_at - app.now == 600_000_000


async def test_what_was_approved_runs_once_with_what_was_stored_and_the_run_goes_on(world: MakeWorld) -> None:
    app = world([deletes(), "It is gone."])
    one = await asks(app)

    events = await app.approve(one)

    assert (end(events).state, end(events).text) == ("done", "It is gone.")
    assert (app.effects.done, app.effects.keys, app.results()) == ([("delete", 7)], [one.id], ["deleted 7"])
    assert (len(app.model.calls), await app.pending()) == (2, [])


async def test_five_answers_span_five_pauses(world: MakeWorld) -> None:
    app = world([deletes(number) for number in range(9)])

    events = await app.say()
    while end(events).state == "awaiting":
        (one,) = await app.pending()
        events = await app.approve(one)

    assert (len(app.model.calls), len(app.effects.done), end(events).reason) == (5, 5, "turns")


async def test_nothing_is_remembered_while_something_is_pending(world: MakeWorld) -> None:
    app = world([deletes(), "Gone.", "Hm."])
    one = await asks(app)

    before = await app.runs.list_exchanges(ANN, "clerk", "c", 9)
    await app.approve(one)
    after = await app.runs.list_exchanges(ANN, "clerk", "c", 9)

    assert (before, after) == ([], [("Do it.", "Gone.")])


async def test_what_was_rejected_is_not_done_and_the_model_is_told_why(world: MakeWorld) -> None:
    app = world([deletes(), "As you wish."])
    one = await asks(app)

    events = await app.reject(one, "It is the wrong one.")

    assert (end(events).text, app.effects.done, error_of(app.results()[0])) == (
        "As you wish.",
        [],
        "Declined",
    )
    assert "It is the wrong one." in app.results()[0]
    assert await app.runs.list_exchanges(ANN, "clerk", "c", 9) == []


async def test_a_yes_in_a_message_confirms_nothing_and_withdraws_what_was_asked(world: MakeWorld) -> None:
    app = world([deletes(), "What do you mean?"])
    one = await asks(app)

    events = await app.say("yes")

    assert (end(events).state, app.effects.done, await app.pending()) == ("done", [], [])
    assert [kind for kind, _ in app.told()] == ["human", "ai", "tool", "human"]
    assert error_of(app.results()[0]) == "Superseded"
    with pytest.raises(AlreadyDecidedError, match="superseded"):
        await app.approve(one)


async def test_who_confirms_twice_is_told_that_it_was_done(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)
    await app.approve(one)

    with pytest.raises(AlreadyDecidedError) as refused:
        await app.approve(one)

    assert (refused.value.http_status, len(app.effects.done)) == (409, 1)


async def test_of_many_who_confirm_at_once_one_does(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    outcomes = await asyncio.gather(*(app.approve(one) for _ in range(20)), return_exceptions=True)

    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert ([type(error) for error in refused], len(app.effects.done)) == ([AlreadyDecidedError] * 19, 1)


@pytest.mark.parametrize("other", [BOB, CAT], ids=["user", "tenant"])
async def test_another_user_is_told_what_is_told_of_an_id_that_is_none(world: MakeWorld, other: Any) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    for wanted in (one, one._replace(id="0" * 32)):
        with pytest.raises(ConfirmationNotFoundError, match="There is no such confirmation"):
            await app.approve(wanted, other)
        with pytest.raises(ConfirmationNotFoundError):
            await app.reject(wanted, owner=other)

    assert (await app.pending(other), [kept.state for kept in await app.pending()]) == ([], ["pending"])


async def test_what_nobody_answers_within_ten_minutes_is_not_done_and_not_listed(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    app.pass_by(601)

    assert await app.pending() == []
    with pytest.raises(ConfirmationExpiredError) as refused:
        await app.approve(one)
    assert (refused.value.http_status, app.effects.done) == (410, [])


async def test_one_second_before_its_time_is_over_it_can_be_answered(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    app.pass_by(599)
    await app.approve(one)

    assert len(app.effects.done) == 1


async def test_the_run_of_what_expired_is_over(world: MakeWorld) -> None:
    app = world([deletes()])
    one = await asks(app)

    app.pass_by(601)
    await app.runner.end_expired_runs()
    await app.runner.end_expired_runs()

    assert (await app.runner.get_run(ANN, one.run)).state == "expired"


async def test_arguments_are_changed_by_an_edit_of_the_person_alone(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    events = await app.approve(one, arguments={"number": 8})

    kept = await app.gate.get_confirmation(ANN, one.id)
    assert (app.effects.done, end(events).state) == ([("delete", 8)], "done")
    assert (kept.edited_from, kept.digest == one.digest) == (one.digest, False)


@pytest.mark.parametrize("arguments", [{"number": "eight"}, {}, {"number": 8, "tool": "note"}])
async def test_an_edit_that_does_not_fit_can_be_made_again(
    world: MakeWorld, arguments: dict[str, Any]
) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    with pytest.raises(InvalidEditedArgumentsError) as refused:
        await app.approve(one, arguments=arguments)
    await app.approve(one)

    assert (refused.value.http_status, app.effects.done) == (422, [("delete", 7)])


@pytest.mark.parametrize("deep", [99, 150, 900, 5_000])
async def test_an_edit_that_is_nested_too_deep_can_be_made_again(deep: int) -> None:
    nested: dict[str, Any] = {}
    for _ in range(deep):
        nested = {"a": nested}

    async def put(data: dict[str, Any]) -> str:
        """Put it somewhere."""
        return str(len(data))

    app = World([wants(("put", {"data": {}})), "Done."], tools=[tool(put)])
    one = await asks(app)

    with pytest.raises(InvalidEditedArgumentsError):
        await app.approve(one, arguments={"data": nested})

    (waiting,) = await app.pending()
    assert waiting.arguments == '{"data":{}}'


async def test_what_is_not_what_was_shown_is_not_done(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    with pytest.raises(ConfirmationChangedError) as refused:
        await app.approve(one._replace(digest="0" * 64))

    assert (refused.value.http_status, app.effects.done) == (409, [])


async def test_what_is_asked_again_takes_no_yes_to_what_was_shown_before(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    again = await app.gate.reissue_confirmation(one, one.digest)
    same = await app.gate.reissue_confirmation(one, one.digest)
    with pytest.raises(ConfirmationChangedError):
        await app.approve(one)
    before = list(app.effects.done)
    await app.approve(again)

    assert (again.id, again.number, same) == (one.id, 1, again)
    assert (before, app.effects.done) == ([], [("delete", 7)])


async def test_stored_arguments_that_were_changed_are_not_run(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)
    forged = {"arguments": '{"number":666}'}
    await app.confirmations.apply_change(
        ANN, one.id, StateChange("pending", "pending", app.now, "agent.asked", "mallory", forged)
    )

    with pytest.raises(ConfirmationChangedError):
        await app.approve(one)

    assert app.effects.done == []


async def test_what_somebody_wrote_into_the_store_is_not_run_though_its_digest_fits(world: MakeWorld) -> None:
    """X13."""
    app = world([deletes(), "Gone."])
    app.put_in_force(app.agent, seals=KEYED)
    one = await asks(app)
    arguments = '{"number":666}'
    forged = one._replace(id="f" * 32, number=1, arguments=arguments)
    forged = forged._replace(digest=PlainHashSigner().sign(forged.encode_for_digest(arguments)))
    await app.confirmations.add(forged)
    moved = one._replace(id="e" * 32, number=2)  # the seal of another row
    await app.confirmations.add(moved)

    for other in (forged, moved):
        with pytest.raises(ConfirmationChangedError):
            await app.approve(other)

    assert app.effects.done == []
    await app.approve(one)
    assert app.effects.done == [("delete", 7)]


async def test_what_was_asked_before_a_new_master_key_can_be_answered_after_it() -> None:
    app = World([deletes(), "Gone."])
    app.put_in_force(app.agent, seals=KEYED)
    one = await asks(app)
    app.put_in_force(app.agent, seals=ROTATED)

    await app.approve(one, arguments={"number": 8})

    assert app.effects.done == [("delete", 8)]


@pytest.mark.parametrize("fault", ["key_missing", "forged"])
async def test_the_log_tells_a_master_key_that_is_not_here_from_a_seal_that_does_not_fit(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = World([deletes()])
    app.put_in_force(app.agent, seals=KEYED)
    one = await asks(app)
    if fault == "key_missing":
        app.put_in_force(app.agent, seals=ConfirmationSigner(EnvironmentMasterKeys(SecretStr(NEW))))
    else:
        forged = {"arguments": '{"number":666}'}
        change = StateChange("pending", "pending", app.now, "agent.asked", "mallory", forged)
        await app.confirmations.apply_change(ANN, one.id, change)

    with pytest.raises(ConfirmationChangedError):
        await app.approve(one)

    assert [line.split(" ")[0] for line in caplog.messages] == [f"agents.confirmation_{fault}"]
    assert app.effects.done == []


async def test_nobody_is_asked_without_a_key_to_seal_with(tmp_path: Path) -> None:
    app = World([deletes(), "Gone."])
    app.put_in_force(app.agent, seals=ConfirmationSigner(MasterKeyFile(tmp_path / "none")))

    with pytest.raises(MasterKeyError):
        await app.say()

    assert (app.effects.done, await app.pending()) == ([], [])


@pytest.mark.parametrize("verdict", ["run", "record"])
async def test_a_step_that_somebody_wrote_into_the_store_makes_no_gated_call(verdict: Any) -> None:
    app = World(["I could not."])
    delete = app.agent.tools[1]
    facts = {
        "definition": delete.definition_hash,
        "terms": delete.risk_and_policy,
        "arguments": '{"number":7}',
    }
    call = JudgedToolCall(key="1.0", id="call_0", name="delete", verdict=verdict, **facts)
    run = Run("forged", "clerk", ANN, "Hello.", RunBudget(), app.now)
    await app.runs.add_run(run, OpeningStep(messages=(history.user_message_to_json("Hello."),)))
    said = history.message_to_json(deletes())
    await app.runs.append_steps(run, 1, [AnswerStep(message=said, text="", calls=(call,))], app.now)

    await whole(app.runner.resume_run(ANN, run.id))

    assert app.effects.done == []


async def test_a_tool_that_has_changed_since_is_asked_for_anew(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)
    newer = tool(app.effects.delete, risk="dangerous", version="2")
    app.put_in_force(Agent("clerk", "chat_agent", "You help.", (newer,)))

    with pytest.raises(ConfirmationStaleError) as refused:
        await app.approve(one)
    (anew,) = await app.pending()
    nothing = list(app.effects.done)
    await app.approve(anew)

    assert (refused.value.http_status, refused.value.new, nothing) == (409, anew.id, [])
    assert (app.effects.done, len(app.model.calls)) == ([("delete", 7)], 2)


async def test_a_tool_that_was_taken_away_since_is_not_run(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    for tools in ((), (tool(app.effects.delete, policy="deny"),)):
        app.put_in_force(Agent("clerk", "chat_agent", "You help.", tools))
        with pytest.raises(ConfirmationRevokedError) as refused:
            await app.approve(one)
        assert refused.value.http_status == 403

    assert app.effects.done == []


async def test_who_may_not_any_more_is_refused_when_it_would_run(world: MakeWorld) -> None:
    async def suspended(_: Confirmation) -> str:
        return "the tenant is suspended."

    app = world([deletes(), "Gone."])
    one = await asks(app)
    app.put_in_force(app.agent, authorize=suspended)

    with pytest.raises(ConfirmationRevokedError, match="suspended"):
        await app.approve(one)

    assert (app.effects.done, len(await app.pending())) == ([], 1)


async def test_safe_calls_run_at_once_and_the_model_waits_for_all(world: MakeWorld) -> None:
    three = wants(("search", {"words": "a"}), ("delete", {"number": 7}), ("search", {"words": "b"}))
    app = world([three, "Done."])

    events = await app.say()
    (one,) = await app.pending()
    early = sorted(app.effects.done)
    await app.approve(one)

    assert (end(events).state, early) == ("awaiting", [("search", "a"), ("search", "b")])
    assert (app.results(), len(app.effects.done)) == (["found a", "deleted 7", "found b"], 3)


async def test_gated_calls_are_answered_one_by_one_in_any_order(world: MakeWorld) -> None:
    app = world([wants(("delete", {"number": 1}), ("delete", {"number": 2})), "Done."])
    await app.say()
    by_arguments = {confirmation.arguments: confirmation for confirmation in await app.pending()}

    first = await app.reject(by_arguments['{"number":2}'], "Not that one.")
    asked_once = len(app.model.calls)
    second = await app.approve(by_arguments['{"number":1}'])

    assert (end(first).state, asked_once, end(second).state) == ("awaiting", 1, "done")
    assert (app.effects.done, app.results()[0]) == ([("delete", 1)], "deleted 1")
    assert error_of(app.results()[1]) == "Declined"


async def test_two_gated_calls_approved_at_once_run_once_each_and_the_run_ends(world: MakeWorld) -> None:
    app = world([wants(("delete", {"number": 1}), ("delete", {"number": 2})), "Done."])
    await app.say()

    await asyncio.gather(*(app.approve(confirmation) for confirmation in await app.pending()))

    (run,) = await app.runner.list_recent_runs(ANN)
    assert (sorted(app.effects.done), run.state, len(app.model.calls)) == (
        [("delete", 1), ("delete", 2)],
        "done",
        2,
    )


async def test_what_was_begun_by_a_process_that_has_ended_is_for_a_person_to_decide(world: MakeWorld) -> None:
    app = world([deletes(), "I see."])
    one = await asks(app)
    await app.gate.claim_confirmation(decision_of(one))  # and then the process ends

    app.pass_by(60)
    await app.runner.end_expired_runs()

    (left,) = await app.pending()
    with pytest.raises(UnknownOutcomeError):
        await app.approve(left)
    events = await app.reject(left, "It is gone, I looked.")
    assert (left.state, app.effects.done, end(events).state) == ("unknown", [], "done")
    assert error_of(app.results()[0]) == "Unknown"


async def test_a_person_may_have_it_run_again_which_the_tool_can_tell_by_its_key(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)
    await app.gate.claim_confirmation(decision_of(one))

    app.pass_by(60)
    (left,) = await app.pending()
    events = await app.approve(left, again=True)

    assert (app.effects.done, app.effects.keys, end(events).state) == ([("delete", 7)], [one.id], "done")


async def test_a_late_outcome_is_not_taken_for_that_of_whoever_runs_it_again(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)
    first, made = await app.gate.claim_confirmation(decision_of(one))

    app.pass_by(60)
    (left,) = await app.pending()
    await app.gate.claim_confirmation(decision_of(left)._replace(again=True))
    await app.gate.start_claimed_call(first, made)

    assert (await app.gate.get_confirmation(one.owner, one.id)).state == "executing"


async def test_while_it_may_still_run_it_is_neither_listed_nor_answered(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)
    await app.gate.claim_confirmation(decision_of(one))

    assert await app.pending() == []
    with pytest.raises(AlreadyDecidedError):
        await app.approve(one, again=True)


async def test_a_gated_tool_that_does_not_answer_in_time_may_have_done_it(world: MakeWorld) -> None:
    async def send() -> str:
        """Sends something."""
        await asyncio.Event().wait()
        return "sent"

    app = world([wants(("send", {})), "Sent."], tools=[tool(send, seconds=0.01)])
    one = await asks(app)

    events = await app.approve(one)

    assert (end(events).state, [left.state for left in await app.pending()]) == ("awaiting", ["unknown"])


async def test_what_nobody_has_to_be_asked_for_is_not_done_again_either(world: MakeWorld) -> None:
    async def send() -> str:
        """Sends something."""
        await asyncio.Event().wait()
        return "sent"

    app = world([wants(("send", {})), "Sent."], tools=[tool(send, policy="allow", seconds=0.01)])

    events = await app.say()

    (left,) = await app.pending()
    assert (end(events).state, left.state, left.decided_by) == ("awaiting", "unknown", None)


async def test_what_was_approved_is_done_though_nobody_waits_for_it_and_the_run_can_be_gone_on_with(
    world: MakeWorld,
) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    async with aclosing(app.runner.approve(decision_of(one))) as events:
        await anext(events)  # and then the client goes away
    await app.gate.wait_for_running_calls(5)
    run = await app.runner.get_run(ANN, one.run)
    state = await app.runner.current_state(run)
    resumed = await whole(app.runner.resume_run(ANN, one.run))

    assert (app.effects.done, state, end(resumed).text) == ([("delete", 7)], "interrupted", "Gone.")
    assert app.results() == ["deleted 7"]


async def test_one_users_confirmations_are_bounded(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.agents.gate.MOST_PENDING", 2)
    app = world([wants(*(("delete", {"number": number}) for number in range(3))), "Too much."])

    await app.say()

    assert len(await app.pending()) == 2


async def test_a_conversation_that_was_removed_takes_what_was_asked_in_it_along(world: MakeWorld) -> None:
    app = world([deletes(), "Gone."])
    one = await asks(app)

    assert await app.runner.delete_conversation_runs(ANN, "clerk", "c") == 1

    with pytest.raises(ConfirmationNotFoundError):
        await app.approve(one)
    assert app.effects.done == []


async def test_the_trail_has_every_question_decision_answer_and_result(
    stores: Stores, world: MakeWorld
) -> None:
    if stores.sessions is None:
        pytest.skip("memory keeps no trail")
    app = world([wants(("search", {"words": "a"}), ("delete", {"number": 7})), "Gone."])
    one = await asks(app)
    with pytest.raises(ConfirmationNotFoundError):
        await app.approve(one, BOB)
    await app.approve(one)

    entries = await AuditTrail(stores.sessions).list_entries(limit=99, kind="agent")
    told = [(entry.kind, entry.actor) for entry in sorted(entries, key=lambda entry: entry.sequence)]
    assert told == [
        ("agent.answered", "system"),
        ("agent.asked", "ann"),
        ("agent.tool", "system"),
        ("agent.denied", "bob"),
        ("agent.approved", "ann"),
        ("agent.executed", "system"),
        ("agent.answered", "system"),
    ]


def decision_of(one: Confirmation) -> Any:
    from backend.agents.gate import ApprovalDecision

    return ApprovalDecision(ANN, one.id, one.digest)
