"""What `journal` says of each record: what left, in words, on a line of bounded width."""

from dcfm_node.cli import journal
from dcfm_node.cli.journal import SAYS_WIDTH
from dcfm_node.daemon.facts import meaning
from dcfm_node.records.entries import Audit, Body, Delta, Endorse, Refuse, Verdict, Withdraw
from tests.unit.swarm.builders import Run, expert, join, snapshot, vote


def says(run: Run, body: Body) -> str:
    return journal.says(body, meaning(run.view(), body))


def test_a_join_says_how_many_samples_of_which_combinations() -> None:
    run = Run(3)
    held = join().model_copy(update={"counts": (((0, 0), 12), ((1, 0), 30))})
    names = [attribute.values for attribute in run.manifest.attributes]
    assert says(run, held) == (
        "42 samples of 2 combinations, counted:"
        f" 12 of {names[0][0]}/{names[1][0]}, 30 of {names[0][1]}/{names[1][0]}"
    )
    strange = join().model_copy(update={"counts": (((999,), 1),)})
    assert says(run, strange).endswith("1 of number 999")


def test_many_combinations_are_as_many_as_fit_and_the_number_of_the_rest() -> None:
    run = Run(3)
    held = join().model_copy(update={"counts": tuple(((0, 0), n) for n in range(1, 101))})
    text = says(run, held)
    assert len(text) <= SAYS_WIDTH
    shown = text.count(" of ") - 1
    assert text.startswith("5050 samples of 100 combinations, counted: 1 of ")
    assert text.endswith(f", and {100 - shown} more")


def test_an_expert_says_its_weights_and_figures() -> None:
    run = Run(3)
    body = expert(2, "mine", holdout_loss=0.123456, ci_gap=4.0)
    weights = f"weights {body.snapshot.digest.hex()[:12]}"
    text = says(run, body)
    assert text.startswith(f"round 2: {weights}, ")
    assert text.endswith("; ci_gap 4, holdout_loss 0.1235")
    coded = snapshot("coded").model_copy(update={"size": 1_500})
    delta = Delta(base=bytes(32), coded=coded)
    assert ", or 1.5 kB as what changed;" in says(run, body.model_copy(update={"delta": delta}))


def test_an_election_and_its_student_say_who_voted_leads_and_taught() -> None:
    run = Run(3, schedule="paper")
    run.publish_experts(0)
    made = run.distil(1, term=4)
    votes = [author.journal[-1].entry.body for author in run.authors]
    lease = run.authors[1].journal[-2].entry.body
    assert says(run, vote(4, 0, run.keys[1])) == "term 4, round 0: for silo-0001"
    assert says(run, lease) == "term 4, round 0: leads by the votes of silo-0000, silo-0001"
    assert votes[1] == made.entry.body
    text = says(run, made.entry.body)
    assert text.startswith("round 0, term 4, final: weights ")
    assert text.endswith("; distilled from silo-0000, silo-0001, silo-0002")


def test_what_a_silo_thinks_of_a_student_says_of_which_and_by_which_figures() -> None:
    run = Run(3)
    run.publish_experts(0)
    made = run.distil(1)
    digest = made.entry.body.snapshot.digest.hex()[:12]  # type: ignore[union-attr]
    figures = {"holdout_loss": 0.5, "reference_loss": 0.25}
    of = f"student {digest} of round 0 by silo-0001"
    good = Endorse(student=made.digest, metrics=figures)
    assert says(run, good) == f"{of}: endorsed; holdout_loss 0.5, reference_loss 0.25"
    bad = Refuse(student=made.digest, reason="it errs", metrics={"holdout_loss": 9.0})
    assert says(run, bad) == f"{of}: it errs; holdout_loss 9"
    assert says(run, Endorse(student=bytes(32), metrics={})) == (
        "a student that this node does not know: endorsed"
    )


def test_an_audit_says_who_was_scored_who_did_worst_and_who_is_refused() -> None:
    run = Run(4)
    heard = [author.say(expert(1, f"expert {n}")) for n, author in enumerate(run.authors)]
    places = ({"joint": 0.01}, {"joint": -0.02, "composed": 0.03}, {"joint": 4.0, "ci_gap": 9.0})
    pairs = zip(heard[1:], places, strict=True)
    audit = Audit(round=1, scores=tuple((sealed.digest, given) for sealed, given in pairs))
    assert says(run, audit) == (
        "round 1: 3 experts scored; worst is silo-0003: velocity error on full labels 4.00,"
        " from 0 (own expert) to 1 (knows nothing); refuses silo-0003"
    )
    unknown = ((heard[1].digest, {"ci_gap": 1.0}), (bytes(32), {"joint": 1.0}))
    assert says(run, Audit(round=2, scores=unknown)) == ("round 2: 1 expert scored; refuses nobody")


def test_a_verdict_says_on_whom_about_what_and_why() -> None:
    run = Run(3)
    heard = run.authors[2].say(expert(1))
    digest = heard.entry.body.snapshot.digest.hex()[:12]  # type: ignore[union-attr]
    judged = Verdict(subject=run.keys[2], cause="score", entry=heard.digest, reason="it errs")
    about = f"its expert {digest} of round 1"
    assert says(run, judged) == f"on silo-0002, {about}: score: it errs"
    flood = Verdict(subject=run.keys[2], cause="flood", entry=None, reason="too much")
    assert says(run, flood) == "on silo-0002: flood: too much"


def test_the_words_of_another_silo_stay_on_their_line() -> None:
    text = says(Run(3), Withdraw(reason="\x1b[2J\n" + "long " * 99))
    assert text.startswith("\\x1b[2J\\nlong long")
    assert len(text) == SAYS_WIDTH
    assert text.endswith("…")
