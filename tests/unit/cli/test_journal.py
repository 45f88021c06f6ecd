"""What `journal` says of each record: what left, in words, on a line of bounded width."""

import csv
import io

import pytest

from dcfm_node.cli import journal, record_words
from dcfm_node.cli.record_words import SAYS_WIDTH
from dcfm_node.daemon.facts import journal_facts, meaning
from dcfm_node.errors import ConfigError
from dcfm_node.records.entries import Audit, Body, Delta, Endorse, Refuse, Verdict, Withdraw
from dcfm_node.words import FORMULA
from tests.unit.swarm.builders import Run, expert, join, journals, snapshot, vote


def says(run: Run, body: Body) -> str:
    return record_words.says(body, meaning(run.view(), body))


def test_a_join_says_how_many_samples_of_which_combinations() -> None:
    run = Run(3)
    held = join().model_copy(update={"counts": (((0, 0), 12), ((1, 0), 30))})
    names = [attribute.values for attribute in run.manifest.attributes]
    assert says(run, held) == (
        "takes part; told how many samples it has: 42 of 2 combinations:"
        f" 12 of {names[0][0]}/{names[1][0]}, 30 of {names[0][1]}/{names[1][0]}"
    )
    strange = join().model_copy(update={"counts": (((999,), 1),)})
    assert says(run, strange).endswith("1 of number 999")


def test_many_combinations_are_as_many_as_fit_and_the_number_of_the_rest() -> None:
    run = Run(3)
    held = join().model_copy(update={"counts": tuple(((0, 0), n) for n in range(1, 101))})
    text = says(run, held)
    assert len(text) <= SAYS_WIDTH
    shown = text.count(" of ") - 1  # one is that of all combinations
    begin = "takes part; told how many samples it has: 5050 of 100 combinations: 1 of "
    assert text.startswith(begin)
    assert text.endswith(f", and {100 - shown} more")


def test_an_expert_says_its_weights_and_figures() -> None:
    run = Run(3)
    body = expert(2, "mine", holdout_loss=0.123456, ci_gap=4.0)
    text = says(run, body)
    assert text.startswith("published its model of round 2: ")
    assert f"digest {body.snapshot.digest.hex()[:12]}" in text
    assert text.endswith("; error on its test samples 0.1235, dependence between attributes 4")
    gated = says(run, expert(2, "mine", membership_auc=0.61))
    assert "chance to tell its training samples from others (AUC; 0.5 is a guess) 0.61" in gated
    coded = snapshot("coded").model_copy(update={"size": 1_500})
    delta = Delta(base=bytes(32), coded=coded)
    assert ", or 1.5 kB as what changed;" in says(run, body.model_copy(update={"delta": delta}))


def test_an_election_and_its_student_say_who_voted_leads_and_taught() -> None:
    run = Run(3, schedule="paper")
    run.publish_experts(0)
    made = run.distil(1, term=4)
    votes = [author.journal[-1].entry.body for author in run.authors]
    lease = run.authors[1].journal[-2].entry.body
    led = "the making of student 0 (term 4)"
    assert says(run, vote(4, 0, run.keys[1])) == f"voted for silo-0001 to lead {led}"
    assert says(run, lease) == f"leads {led}, elected by silo-0000 and silo-0001"
    assert votes[1] == made.entry.body
    text = says(run, made.entry.body)
    models = "silo-0000, silo-0001 and silo-0002"
    assert text.startswith(f"published the final student, made from the models of {models}: ")


def test_what_a_silo_thinks_of_a_student_says_of_which_and_by_which_figures() -> None:
    run = Run(3)
    run.publish_experts(0)
    made = run.distil(1)
    digest = made.entry.body.snapshot.digest.hex()[:12]  # type: ignore[union-attr]
    figures = {"holdout_loss": 0.5, "reference_loss": 0.25}
    of = f"the student of round 0 that silo-0001 made (digest {digest})"
    good = Endorse(student=made.digest, metrics=figures)
    assert says(run, good) == (
        f"tried {of} on its own samples, and accepted it; error on its test samples 0.5,"
        " error of its own model on these 0.25"
    )
    bad = Refuse(student=made.digest, reason="it errs", metrics={"holdout_loss": 9.0})
    assert says(run, bad) == f"refused {of}: it errs; error on its test samples 9"
    assert says(run, Endorse(student=bytes(32), metrics={})) == (
        "tried a student that this node does not know on its own samples, and accepted it"
    )


def test_an_audit_says_who_was_scored_who_did_worst_and_who_is_refused() -> None:
    run = Run(4)
    heard = [author.say(expert(1, f"expert {n}")) for n, author in enumerate(run.authors)]
    places = ({"joint": 0.01}, {"joint": -0.02, "composed": 0.03}, {"joint": 4.0, "ci_gap": 9.0})
    pairs = zip(heard[1:], places, strict=True)
    audit = Audit(round=1, scores=tuple((sealed.digest, given) for sealed, given in pairs))
    assert says(run, audit) == (
        "tried the models of round 1 of silo-0001, silo-0002 and silo-0003 on its own samples; the"
        " worst is silo-0003: its error for whole combinations is 400 on a scale from 0 (as good as"
        " its own) to 100 (useless); refused silo-0003"
    )
    unknown = ((heard[1].digest, {"ci_gap": 1.0}), (bytes(32), {"joint": 1.0}))
    assert says(run, Audit(round=2, scores=unknown)) == (
        "tried the models of round 2 of silo-0001 on its own samples; refused nobody"
    )
    assert says(run, Audit(round=2, scores=())).startswith("could not try the models of round 2")


def test_a_verdict_says_on_whom_about_what_and_why() -> None:
    run = Run(3)
    heard = run.authors[2].say(expert(1))
    digest = heard.entry.body.snapshot.digest.hex()[:12]  # type: ignore[union-attr]
    judged = Verdict(subject=run.keys[2], cause="score", entry=heard.digest, reason="it errs")
    about = f"because of the model of round 1 (digest {digest})"
    bad = "its model is far worse than this silo's own; it errs"
    assert says(run, judged) == f"accused silo-0002 {about}: {bad}"
    flood = Verdict(subject=run.keys[2], cause="flood", entry=None, reason="too much")
    assert says(run, flood) == ("accused silo-0002: it sent far more than is allowed; too much")


def test_the_words_of_another_silo_stay_on_their_line() -> None:
    text = says(Run(3), Withdraw(reason="\x1b[2J\n" + "long " * 99))
    assert text.startswith("left the run for good: \\x1b[2J\\nlong long")
    assert len(text) == SAYS_WIDTH
    assert text.endswith("…")


NOW_MS = 1_800_000_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90min", 5_400), ("12h", 43_200), ("3d", 259_200), ("2 days", 172_800), ("1.5h", 5_400)],
)
def test_since_a_duration_ends_now(text: str, seconds: int) -> None:
    assert journal.since_ms(text, NOW_MS) == NOW_MS - 1_000 * seconds


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-02", 86_400_000),
        ("1970-01-01T00:01", 60_000),
        ("1970-01-01T01:01+01:00", 60_000),
        ("1970-01-01 00:01:00Z", 60_000),
    ],
)
def test_since_a_time_without_a_zone_is_utc(text: str, ms: int) -> None:
    assert journal.since_ms(text, NOW_MS) == ms


@pytest.mark.parametrize("text", ["yesterday", "3 fortnights", "2026-13-01", "-3d", "", "9" * 40])
def test_since_anything_else_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="not a date"):
        journal.since_ms(text, NOW_MS)


def test_a_journal_as_csv_has_a_row_for_each_record_and_no_formula() -> None:
    run = Run(3)
    author = run.authors[1]
    author.join()
    author.say(expert(0, "mine"))
    author.say(Withdraw(reason='=HYPERLINK("x"),\n"quoted"'))
    found = journal_facts(journals(run), run.view(), author.name)
    header, *rows = csv.reader(io.StringIO("\n".join(journal.csv_lines(found))))
    assert header == list(journal.HEADER)
    assert [row[4] for row in rows] == ["join", "expert", "withdraw"]
    assert [bool(row[7]) for row in rows] == [False, True, False]
    assert {row[0] for row in rows} == {run.id.hex()}
    assert rows[2][-1] == 'left the run for good: =HYPERLINK("x"),\\n"quoted"'
    assert not any(cell.startswith(FORMULA) for row in rows for cell in row)
    strange = found.model_copy(update={"silo": "=cmd()"})
    assert list(journal.csv_lines(strange))[1].split(",")[3] == "'=cmd()"


def test_no_record_is_cut_where_people_read_it() -> None:
    run = Run(3)
    many = {f"figure_{k}_of_many": float(k) for k in range(30)}
    run.authors[0].say(expert(0, **many))
    found = journal_facts(journals(run), run.view(), run.authors[0].name)
    assert "figure_29_of_many 29" in " ".join(journal.journal_text(found).split())
