"""References are read from where the equations stand; every rule has one, and every layer that names a paper."""

from __future__ import annotations

import re

import pytest

import neuro
from neuro.citations import cite
from neuro.errors import InputError
from neuro.neurons import POPULATIONS
from neuro.synapses import SYNAPSES
from neuro.training.rules import RULES


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_reference(rule: str) -> None:
    references = cite(rule).references
    assert references
    assert all(reference.authors and reference.title and reference.year > 1900 for reference in references)
    assert len(references) == RULES[rule].about.paper.count("; ") + 1


@pytest.mark.parametrize("layer", [*POPULATIONS.values(), *SYNAPSES.values()], ids=lambda layer: layer.__name__)
def test_every_paper_named_with_a_title_is_found(layer: type) -> None:
    text = re.sub(r"\s+", " ", layer.__doc__ or "")
    named = re.findall(r'(?:19|20)\d\d, "[A-Z][^"]+"', text)
    assert len(cite(layer).references) >= len(set(named))


def test_bibtex_of_a_network_a_rule_and_a_loss() -> None:
    net = neuro.Sequential(
        neuro.DelayedLinear(4, 3, 5e-3), neuro.Recurrent(neuro.ALIF(3)), neuro.Linear(3, 2), neuro.LI(2)
    )
    text = str(cite(net, "eprop", "tet", neuro.rules.EProp()))
    assert text.startswith("@software{neuro,")
    assert text.count("@misc{bellec2020solution,") == 1  # the unit and the rule are of one paper
    assert "@misc{hammouamri2024learning," in text
    assert "author = {Hammouamri and others}" in text
    assert "  title = {{Temporal efficient training of spiking neural network via gradient re-weighting}}" in text
    assert text.count("{") == text.count("}")


def test_particles_equations_and_families_of_cells() -> None:
    (rossum,) = cite(neuro.losses.VanRossum).references
    assert (rossum.authors, rossum.key, rossum.venue) == (("van Rossum",), "vanrossum2001novel", "")
    assert [r.key for r in cite(neuro.LIF).references] == [
        "pedersen2024neuromorphic"
    ]  # named once, for the whole family
    assert cite(neuro.Linear(2, 2)).references == ()


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'sltt'"):
        cite("slt")
