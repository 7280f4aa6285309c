from __future__ import annotations

import pytest

from tests.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.promise} {mutant.name}")
def test_a_mutant_is_of_today_s_source(mutant: Mutant) -> None:
    """Else `make mutants`, which is too long for every change, would find it out later."""
    for file, fragment, instead in mutant.changes:
        assert (ROOT / file).read_text().count(fragment) == 1
        assert fragment != instead
