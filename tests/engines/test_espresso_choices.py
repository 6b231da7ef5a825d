"""The rules that choose, and the input and estimates they lead to, without pw.x."""

from dataclasses import replace

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.core.units import BOHR_A
from nanoos.engines import get_engine
from nanoos.engines.espresso.choices import (
    choose,
    choose_as_metal,
    may_be_metal,
)
from nanoos.engines.espresso.closed_shells import metal_or_insulator
from nanoos.engines.espresso.estimate import estimate, irreducible_points
from nanoos.engines.espresso.input_file import PwTask, pw_input, starting_magnetizations
from nanoos.engines.espresso.parameters import EspressoParameters, ScfParameters
from nanoos.engines.espresso.plan import Plan
from nanoos.engines.espresso.remedies import ladder
from nanoos.engines.espresso.workflows import dense_mesh
from nanoos.pseudopotentials import Cutoffs, FamilyInfo, Pseudopotential, PseudopotentialFamily
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt

VALENCE = {
    "Si": 4.0,
    "O": 6.0,
    "Mg": 10.0,
    "Fe": 16.0,
    "Na": 9.0,
    "Cl": 7.0,
    "Ti": 12.0,
    "Al": 3.0,
    "Ni": 18.0,
}


def silicon(offset=0.01) -> Structure:
    lattice = 0.5 * 5.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(
        lattice=lattice,
        species=("Si", "Si"),
        frac_coords=np.array([[0.0] * 3, [0.25 + offset, 0.25, 0.25]]),
    )


@pytest.fixture
def family(tmp_path):
    info = FamilyInfo(
        name="Test",
        version="1",
        functional="PBE",
        relativistic="scalar",
        license="MIT",
        citation="none",
        source="a test",
        verified=False,
        installed_at="2026-01-01T00:00:00+00:00",
    )
    pseudos = {
        element: Pseudopotential(
            element=element,
            file=f"{element}.upf",
            sha256="0" * 64,
            z_valence=z,
            kind="NC",
            cutoffs={"normal": Cutoffs(wfc_ry=10 + z, rho_ry=4 * (10 + z))},
        )
        for element, z in VALENCE.items()
    }
    return PseudopotentialFamily(info=info, folder=tmp_path, pseudos=pseudos)


def test_what_it_rests_on_are_the_pseudopotentials_in_use(family, monkeypatch):
    here = [family]
    monkeypatch.setattr("nanoos.engines.espresso.engine.get_family", lambda _: here[0])

    def fingerprint(structure):
        engine = get_engine("QE")()
        return engine.fingerprint(structure, engine.validate_parameters({"family": "Test"}))

    first = fingerprint(silicon())
    assert first == {"Si": "0" * 64, "cutoffs_ry": "14 56"}
    other = replace(family.pseudos["Si"], sha256="1" * 64)
    here[0] = replace(family, pseudos={**family.pseudos, "Si": other})
    assert fingerprint(silicon()) == first | {"Si": "1" * 64}
    assert "Si" not in fingerprint(rocksalt())
    cutoffs = {"normal": Cutoffs(wfc_ry=30, rho_ry=120)}
    here[0] = replace(family, pseudos={"Si": replace(family.pseudos["Si"], cutoffs=cutoffs)})
    assert fingerprint(silicon()) == first | {"cutoffs_ry": "30 120"}


@pytest.mark.parametrize(
    ("composition", "gap", "metal"),
    [
        ({"Na": 1, "Cl": 1}, None, False),
        ({"Mg": 1, "O": 1}, None, False),
        ({"Ti": 1, "O": 2}, None, False),
        ({"Si": 1}, None, False),
        ({"Al": 1}, None, True),
        ({"Ni": 1, "O": 1}, None, True),
        ({"Mg": 1, "Al": 1}, None, True),
        ({"Ti": 1, "O": 1}, None, True),
        ({"Al": 1}, 2.0, False),
        ({"Na": 1, "Cl": 1}, 0.1, True),
    ],
    ids=["NaCl", "MgO", "TiO2", "Si", "Al", "NiO", "MgAl", "TiO", "given gap", "given none"],
)
def test_metal_or_insulator(composition, gap, metal):
    found, why = metal_or_insulator(composition, gap)
    assert found is metal
    assert why


def test_what_has_no_gap_gets_the_choices_for_a_metal(family):
    parameters = ScfParameters()
    guessed = choose(rocksalt(4.2), parameters, family)
    assert may_be_metal(guessed, parameters)
    metal = choose_as_metal(rocksalt(4.2), parameters, family, "scf")
    assert (metal.smearing, metal.degauss_ry) == ("cold", 0.01)
    assert metal.kdist < guessed.kdist
    assert "careful end" in metal.reasons["mesh"]
    assert metal.reasons["metal"].startswith("scf found no gap")
    given = ScfParameters(kdist=0.3)
    assert choose_as_metal(rocksalt(4.2), given, family, "scf").kdist == 0.3


@pytest.mark.parametrize(
    "given",
    [
        {"expected_gap_ev": 1.0},
        {"smearing": "cold"},
        {"degauss_ry": 0.01},
        {"occupations": "fixed"},
    ],
)
def test_what_was_given_is_not_chosen_again(given, family):
    parameters = ScfParameters(**given)
    assert not may_be_metal(choose(rocksalt(4.2), parameters, family), parameters)


def test_rules_give_reasons_and_can_be_overridden(family):
    magnesia = rocksalt(4.2)
    chosen = choose(magnesia, ScfParameters(mesh_from="rule"), family)
    assert (chosen.ecutwfc_ry, chosen.ecutrho_ry) == (20.0, 80.0)
    assert (chosen.smearing, chosen.degauss_ry) == ("gaussian", 0.002)
    assert not chosen.polarised
    assert chosen.kdist == 0.25
    assert {"mesh", "smearing", "spin", "metal", "ecutwfc_ry"} <= set(chosen.reasons)
    other = choose(
        magnesia,
        ScfParameters(kmesh=(3, 3, 3), smearing="cold", degauss_ry=0.02, ecutwfc_ry=33),
        family,
    )
    assert other.mesh == (3, 3, 3)
    assert (other.smearing, other.degauss_ry, other.ecutwfc_ry) == ("cold", 0.02, 33)
    assert other.ecutrho_ry == 132
    aluminium = choose(rocksalt(4.0, "Al", "Al"), ScfParameters(mesh_from="rule"), family)
    assert aluminium.metal
    assert aluminium.smearing == "cold"


def test_the_mesh_comes_from_the_k_point_model(family):
    from nanoos.kpoints import kpoint_model

    magnesia = rocksalt(4.2)
    chosen = choose(magnesia, ScfParameters(), family)
    (predicted,) = kpoint_model().predict([magnesia], confidence=0.95)
    assert chosen.mesh == predicted.mesh_median.divisions
    assert chosen.kdist == predicted.kdist
    assert "likely one of the k-point model RF" in chosen.reasons["mesh"]
    careful = choose(magnesia, ScfParameters(kpoint_confidence=0.95), family)
    assert careful.mesh == predicted.mesh.divisions
    assert careful.kdist == predicted.kdist_lower
    assert "careful end at 0.95" in careful.reasons["mesh"]
    coarser = choose(magnesia, ScfParameters(kpoint_confidence=0.85), family)
    assert chosen.kdist >= coarser.kdist >= careful.kdist


def test_an_unusual_crystal_gets_the_careful_mesh(family):
    from nanoos.kpoints import kpoint_model

    stretched = rocksalt(7.5)
    (predicted,) = kpoint_model().predict([stretched], confidence=0.95)
    assert predicted.out_of_domain
    chosen = choose(stretched, ScfParameters(), family)
    assert chosen.kdist == predicted.kdist_lower
    assert "outside what it learnt from" in chosen.reasons["mesh"]


def test_magnetic_elements_start_polarised(family):
    iron = choose(rocksalt(4.3, "Fe", "O"), ScfParameters(mesh_from="rule"), family)
    assert iron.polarised
    assert [one.moment for one in iron.species] == [4.0, 0.0]
    assert "Fe" in iron.reasons["spin"]
    assert starting_magnetizations(iron, VALENCE) == {
        "starting_magnetization(1)": 0.25,
        "starting_magnetization(2)": 0.0,
    }
    off = choose(rocksalt(4.3, "Fe", "O"), ScfParameters(spin="none"), family)
    assert not off.polarised
    given = choose(rocksalt(4.3, "Fe", "O"), ScfParameters(magnetic_moments={"Fe": 2}), family)
    assert given.species[0].moment == 2.0
    with pytest.raises(InvalidInputError, match="no Co"):
        choose(rocksalt(4.3, "Fe", "O"), ScfParameters(magnetic_moments={"Co": 2}), family)


def test_moments_that_are_nearly_equal_are_one_kind(family):
    def of(*spins):
        coords = [[i / len(spins), 0, 0] for i in range(len(spins))]
        lattice = np.diag([3.0 * len(spins), 3.0, 3.0])
        iron = Structure(
            lattice=lattice, species=("Fe",) * len(spins), frac_coords=coords, spins=spins
        )
        return choose(iron, ScfParameters(mesh_from="rule"), family)

    computed = of(2.2, 2.21, -2.2, 2.19, -2.23)
    assert [one.moment for one in computed.species] == [2.2, -2.215]
    assert computed.site_species == (0, 0, 1, 0, 1)
    assert len(of(0.05, -0.05, 0.0).species) == 3, "signs stay apart"
    with pytest.raises(InvalidInputError) as caught:
        of(*(0.3 * i for i in range(1, 12)))
    assert caught.value.error_code == "too_many_kinds"


@pytest.mark.parametrize(
    ("species", "box_a", "polarised"),
    [
        (["O"], 12.0, True),
        (["O", "O"], 12.0, True),
        (["O", "O"], 4.0, False),
        (["Si", "O"], 12.0, True),
        (["Si", "O", "O"], 12.0, False),
        (["Cl"], 3.0, True),
        (["Na", "O", "O"], 5.0, True),
        (["Na", "Cl"], 4.0, False),
        (["Al"], 4.0, False),
        (["Al", "O"], 4.0, False),
    ],
)
def test_radicals_have_a_moment(species, box_a, polarised, family):
    cell = Structure(
        lattice=box_a * np.eye(3),
        species=species,
        frac_coords=[[1.2 * i / box_a, 0, 0] for i in range(len(species))],
    )
    chosen = choose(cell, ScfParameters(mesh_from="rule"), family)
    assert chosen.polarised == polarised
    if polarised:
        assert "moment is likely" in chosen.reasons["spin"]


@pytest.mark.parametrize(("moment", "bands"), [(0.5, 16), (4.0, 17), (5.0, 18)])
def test_the_bands_hold_the_majority_spin(family, moment, bands):
    oxide = rocksalt(4.3, "Fe", "O")  # of its 22 electrons 11 fill bands of both spins
    given = ScfParameters(mesh_from="rule", magnetic_moments={"Fe": moment})
    chosen = choose(oxide, given, family)
    assert chosen.nbnd == bands
    assert "majority" in chosen.reasons["nbnd"]
    task = PwTask(calculation="scf", structure=oxide, choices=chosen, pseudos={})
    (more,) = (
        r.changes["system"]["nbnd"] for r in ladder(task, "unconverged", "all") if "bands" in r.name
    )
    assert more > bands
    own = choose(oxide, given.model_copy(update={"nbnd": 14}), family)
    assert own.nbnd == 14
    assert "nbnd" not in own.reasons


@pytest.mark.parametrize(
    ("vacuum_a", "shift", "dense"), [(0, (0, 0, 0), (16, 16, 8)), (15, (1, 1, 0), (16, 16, 1))]
)
def test_the_dense_mesh_has_the_points_of_the_first(family, vacuum_a, shift, dense):
    layer = Structure(
        lattice=np.diag([3.0, 3.0, 4.0 + vacuum_a]), species=("Al",), frac_coords=np.zeros((1, 3))
    )
    given = ScfParameters(kmesh=(8, 8, 1 if vacuum_a else 4), kshift=shift)
    chosen = choose(layer, given, family)
    task = PwTask(calculation="scf", structure=layer, choices=chosen, pseudos={})
    plan = Plan(structure=layer, choices=chosen, task=task, run=None)
    assert dense_mesh(plan, None) == dense


def test_moments_of_sites_make_kinds_of_atoms(family):
    lattice = np.diag([2.8, 2.8, 2.8])
    coords = np.array([[0.0] * 3, [0.5] * 3])
    antiferromagnet = Structure(
        lattice=lattice, species=("Fe", "Fe"), frac_coords=coords, spins=(2.0, -2.0)
    )
    chosen = choose(antiferromagnet, ScfParameters(mesh_from="rule"), family)
    assert [one.label for one in chosen.species] == ["Fe1", "Fe2"]
    text = pw_input(
        PwTask(
            calculation="scf",
            structure=antiferromagnet,
            choices=chosen,
            pseudos={"Fe": "Fe.upf"},
            settings={"system": starting_magnetizations(chosen, VALENCE)},
        )
    )
    assert "starting_magnetization(2) = -0.125" in text
    assert "Fe2 55.8450 Fe.upf" in text
    assert "nspin = 2" in text
    assert "ntyp = 2" in text


def test_ase_reads_the_input_back(family, tmp_path):
    from ase.io.espresso import read_espresso_in

    structure = rocksalt(4.3)
    chosen = choose(structure, ScfParameters(kdist=0.5), family)
    task = PwTask(
        calculation="scf",
        structure=structure,
        choices=chosen,
        pseudos={"Mg": "Mg.upf", "O": "O.upf"},
    )
    path = tmp_path / "pw.in"
    path.write_text(pw_input(task))
    with path.open() as stream:
        atoms = read_espresso_in(stream)
    assert atoms.cell[:] == pytest.approx(structure.lattice, abs=1e-9)
    assert atoms.get_scaled_positions() == pytest.approx(structure.frac_coords, abs=1e-9)
    assert tuple(atoms.get_chemical_symbols()) == structure.species


def test_fixed_occupations_need_paired_electrons(family):
    fixed = ScfParameters(occupations="fixed")
    assert choose(rocksalt(4.2), fixed, family).nbnd == 12
    with pytest.raises(InvalidInputError, match="paired electrons"):
        choose(rocksalt(4.2, "Al", "O"), fixed, family)
    with pytest.raises(InvalidInputError, match="do not hold"):
        choose(rocksalt(4.2), ScfParameters(nbnd=3), family)


def test_the_ladder_has_an_order_and_limits(family):
    chosen = choose(rocksalt(4.2), ScfParameters(mesh_from="rule"), family)
    task = PwTask(calculation="scf", structure=rocksalt(4.2), choices=chosen, pseudos={})
    names = [remedy.name for remedy in ladder(task, "unconverged", "all")]
    assert names == [
        "mixing_beta 0.3",
        "local Thomas-Fermi mixing",
        "16 bands",
        "conjugate gradients",
        "projected conjugate gradients",
        "gaussian smearing of 0.01 Ry",
    ]
    assert [r.physics for r in ladder(task, "unconverged", "all")] == [False] * 5 + [True]
    assert len(list(ladder(task, "unconverged", "numerical"))) == 5
    assert list(ladder(task, "unconverged", "none")) == []
    assert next(ladder(task, "diagonalisation", "all")).name == "conjugate gradients"


def test_symmetry_and_size_are_counted(family):
    structure = silicon(0.0)
    assert irreducible_points(structure, (4, 4, 4), (0, 0)) == 8
    chosen = choose(structure, ScfParameters(kmesh=(4, 4, 4)), family)
    found = estimate(structure, chosen)
    assert found.kpoints == 8
    volume = structure.volume / BOHR_A**3
    assert found.plane_waves == pytest.approx(volume * 14**1.5 / (6 * np.pi**2), rel=1e-2)
    assert 0 < found.seconds(10) < 100
    assert found.memory_gb < 1


def test_parameters_are_closed_and_consistent():
    with pytest.raises(ValueError, match="not both"):
        EspressoParameters(workflow="scf", kdist=0.2, kmesh=(1, 1, 1))
    with pytest.raises(ValueError, match="four times"):
        EspressoParameters(workflow="scf", ecutwfc_ry=50, ecutrho_ry=100)
    with pytest.raises(ValueError, match="no smearing"):
        EspressoParameters(workflow="scf", occupations="fixed", degauss_ry=0.01)
