"""What `run continue` writes."""

from dcfm_node.cli.succession import _continued


def test_a_run_is_continued_again_and_again_and_its_file_stays_as_long() -> None:
    text = '# Ours.\nname = "r"\n\n[method.local]\nsteps = 1\n'
    first = _continued(text, ['run = "aa"', 'replaced = ["x"]'])
    assert first.startswith(text)
    second = _continued(first, ['run = "bb"'])
    assert second.replace("bb", "aa") == first.replace('replaced = ["x"]\n', "")
    assert _continued(second, ['run = "bb"']) == second
    assert second.count("goes on from") == 1


def test_what_stands_after_the_table_is_kept() -> None:
    again = _continued('name = "r"\n[continues]\nrun = "aa"\n[policy]\nstall_s = 1.0\n', [])
    assert "[policy]\nstall_s = 1.0" in again
    assert "aa" not in again
