"""`run merge` of sites that name the combinations that can occur, and the values of nothing."""

from pathlib import Path

import pytest

from dcfm_node.config.run import RunFile
from dcfm_node.config.template import merged_runs
from dcfm_node.config.toml import Document, parsed
from dcfm_node.errors import ConfigError
from dcfm_node.files import shipped_text

LIST = '[["0", "0"], ["0", "1"], ["1", "0"]]'
CHEST = shipped_text("runs/chest-xray.toml")


def site(
    name: str, *, feasible: str = LIST, mass: str = '["0", "1"]', absent: str = '"0"'
) -> Document:
    top = f"feasible = {feasible}\n" if feasible else ""
    nothing = f"absent = {absent}\n" if absent else ""
    text = f'name = "chest"\nsample_shape = [1, 8, 8]\n{top}\n'
    for attribute, values in (("edema", '["0", "1"]'), ("mass", mass)):
        text += f'[[attribute]]\nname = "{attribute}"\nvalues = {values}\n{nothing}\n'
    return parsed(Path(f"{name}.toml"), text + "[method]\n")


def refused(*sites: Document) -> str:
    with pytest.raises(ConfigError) as error:
        merged_runs(sites)
    return "\n".join(error.value.lines)


def test_what_sites_have_in_common_is_kept() -> None:
    other = site("south", feasible='[["1", "0"], ["0", "0"], ["0", "1"]]')
    run = parsed(Path("run.toml"), merged_runs([site("north"), other]).text)
    assert run.values["feasible"] == (("0", "0"), ("0", "1"), ("1", "0"))
    assert [one["absent"] for one in run.values["attribute"]] == ["0", "0"]


def test_the_shipped_radiographs_merge_with_themselves() -> None:
    text = merged_runs([parsed(Path(f"{name}.toml"), CHEST) for name in ("north", "south")]).text
    assert parsed(Path("run.toml"), text).parse(RunFile) == parsed(Path(), CHEST).parse(RunFile)


def test_joined_values_keep_the_one_of_nothing() -> None:
    """A site may know an attribute only as present."""
    merged = merged_runs([site("north", feasible="", mass='["1"]'), site("south", feasible="")])
    mass = parsed(Path("run.toml"), merged.text).values["attribute"][1]
    assert mass == {"name": "mass", "values": ("0", "1"), "absent": "0"}


def test_attributes_in_another_order_are_the_same_combinations() -> None:
    turned = site("south", feasible='[["0", "0"], ["1", "0"], ["0", "1"]]')
    turned = parsed(
        turned.path,
        turned.text.replace("edema", "x").replace("mass", "edema").replace('"x"', '"mass"'),
    )
    merged_runs([site("north"), turned])
    lone = site("south", feasible='[["0", "0"], ["0", "1"]]')
    told = refused(site("north"), lone)
    assert "edema = 1, mass = 0 can occur in north.toml alone" in told
    assert "south.toml:3: feasible" in told and "agree on one list" in told


def test_a_list_at_one_site_alone_is_refused() -> None:
    told = refused(site("north"), site("south", feasible=""))
    assert "north.toml lists the combinations that can occur, and south.toml has no list" in told


@pytest.mark.parametrize(
    ("absent", "line", "said"), [("", 5, "no absent"), ('"1"', 8, 'absent = "1"')]
)
def test_another_value_of_nothing_is_refused(absent: str, line: int, said: str) -> None:
    told = refused(site("north"), site("south", absent=absent))
    assert f"'edema' has {said}, in north.toml absent = \"0\"" in told
    assert f"south.toml:{line}: attribute[0].absent" in told
    assert "in both files, or remove it from both" in told


def test_a_value_that_no_site_has_is_refused() -> None:
    sites = [site(name, absent='"none"', feasible="") for name in ("north", "south")]
    assert "no site has the value 'none' of 'edema'" in refused(*sites)
    sites = [site(name, feasible='[["0", "2"]]') for name in ("north", "south")]
    told = refused(*sites)
    assert "mass has no value '2'" in told and "north.toml:3: feasible[0]" in told
