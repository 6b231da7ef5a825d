"""Databases that speak OPTIMADE: what is asked, what comes back, what happens where nothing does."""

import socket

import pytest
from optimade_server import optimade_server

from nanoos.core.errors import (
    InvalidInputError,
    NanoosError,
    NotFoundError,
    StructureRefusedError,
    UnavailableError,
)
from nanoos.services.optimade import OWN_KEY, SHOWN, OptimadeService, optimade_filter


@pytest.fixture
def server():
    with optimade_server() as server:
        yield server


@pytest.fixture
def databases(server) -> OptimadeService:
    return OptimadeService(server.url)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("TiO2", 'chemical_formula_reduced="O2Ti"'),
        (" Ti2O4 ", 'chemical_formula_reduced="O2Ti"'),
        ("Ca(OH)2", 'chemical_formula_reduced="CaH2O2"'),
        ("O2", 'chemical_formula_reduced="O"'),
        ("Si", 'chemical_formula_reduced="Si"'),
        ("Li, O", 'elements HAS ALL "Li","O"'),
        ("li o li", 'elements HAS ALL "Li","O"'),
        ("mp-149", 'id="mp-149"'),
        ("dft_3d_JVASP-1002", 'id="dft_3d_JVASP-1002"'),
        ("agm003155423", 'id="agm003155423"'),
        ("9008460", 'id="9008460"'),
        ("nelements<3", "nelements<3"),
        ('elements HAS "Ti"', 'elements HAS "Ti"'),
    ],
)
def test_what_people_type_becomes_a_filter(text, asked):
    assert optimade_filter(text) == asked


@pytest.mark.parametrize("text", ["", "  ", "x" * 501, "Xx2", "Ti, Zz", "Ti(O"])
def test_what_means_nothing_is_refused(text):
    with pytest.raises(InvalidInputError) as refused:
        optimade_filter(text)
    assert refused.value.hint


def test_a_search_finds_structures_and_says_which_cannot_be_used(server, databases):
    found = databases.search(OWN_KEY, "TiO2")
    assert (found.total, found.filter) == (134, 'chemical_formula_reduced="O2Ti"')
    rutile, disordered = found.hits
    assert (rutile.id, rutile.formula, rutile.n_sites) == ("db-2657", "TiO2", 6)
    assert rutile.space_group == "P4_2/mnm (136)"
    assert rutile.problem is None
    assert "Ti/Nb" in disordered.problem
    path, query = server.seen[0]
    assert path == "/optimade/v1/structures"
    assert query["page_limit"] == [str(SHOWN)]
    assert "species_at_sites" in query["response_fields"][0]


def test_an_entry_is_the_structure(databases):
    structure = databases.structure(OWN_KEY, "db-2657")
    assert (structure.formula, structure.n_sites) == ("TiO2", 6)
    assert structure.lengths == pytest.approx((4.594, 4.594, 2.959))
    assert structure.label.startswith("Own database at 127.0.0.1")
    assert structure.label.endswith(", db-2657")
    with pytest.raises(StructureRefusedError, match="Ti/Nb"):
        databases.structure(OWN_KEY, "db-9/1")
    with pytest.raises(NotFoundError, match="db-0"):
        databases.structure(OWN_KEY, "db-0")


def test_an_empty_answer_is_no_error(databases):
    found = databases.search(OWN_KEY, "MgO")
    assert (list(found.hits), found.total) == ([], 0)


def test_the_reason_of_the_database_is_told(databases):
    with pytest.raises(InvalidInputError, match="No field in: wrong=1"):
        databases.search(OWN_KEY, "wrong=1")


@pytest.mark.parametrize(
    ("status", "document", "words"),
    [
        (500, b"oops", "HTTP 500"),
        (403, b"", "refuses"),
        (200, b"<html>", "cannot be reached"),
        (200, [], "not OPTIMADE's"),
        (200, {"data": [{"no": "id"}]}, "not OPTIMADE's"),
        (200, {"data": {"id": "x"}}, "not OPTIMADE's"),
    ],
    ids=["broken", "forbidden", "a page", "a list", "no entries", "one entry"],
)
def test_an_answer_that_cannot_be_used(server, databases, status, document, words):
    server.answers += [(status, document)] * 2
    with pytest.raises(UnavailableError, match=words) as refused:
        databases.search(OWN_KEY, "TiO2")
    assert refused.value.hint


def test_without_a_network_it_says_so():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="cannot be reached") as refused:
            OptimadeService(address).search(OWN_KEY, "TiO2")
    assert refused.value.error_code == "no_network"
    assert "upload" in refused.value.hint


def test_the_own_database_is_first_and_others_are_known(databases):
    assert [database.key for database in databases.databases][:2] == [OWN_KEY, "mp"]
    assert OWN_KEY not in [database.key for database in OptimadeService().databases]
    with pytest.raises(NanoosError, match="nothing"):
        databases.search("nothing", "TiO2")
