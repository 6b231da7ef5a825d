"""Crystals like those of training pass; distorted, foreign and empty ones are flagged."""

import json
from pathlib import Path

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.features.packed import PackedGraphs
from nanoos.models.bonding import BondReference, descriptor_names, scaled
from nanoos.models.domain import DomainModel, fragments, inflation, shaken
from nanoos.models.embedding_distance import EmbeddingReference
from nanoos.structures import Structure
from nanoos.structures.elements import SYMBOLS

MP = Path(__file__).parents[3] / "shared" / "data" / "mp_crystals" / "mp_crystals.parquet"
FCC = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


def rock_salt(cation: str, anion: str, length: float) -> Structure:
    return Structure(
        lattice=length * np.eye(3),
        species=(cation,) * 4 + (anion,) * 4,
        frac_coords=np.vstack([FCC, FCC + np.array([0.5, 0, 0])]),
    )


CATIONS = {"Li": 0.76, "Na": 1.02, "K": 1.38, "Rb": 1.52, "Mg": 0.72, "Ca": 1.0, "Sr": 1.18}
ANIONS = {"F": 1.33, "Cl": 1.81, "Br": 1.96, "O": 1.4, "S": 1.84, "Se": 1.98}


def salts(seed: int) -> list[Structure]:
    """Rock salts of ionic radii, each a little strained: what counts as ordinary here."""
    rng = np.random.default_rng(seed)
    return [
        rock_salt(c, a, 2 * (rc + ra) * rng.normal(1, 0.008))
        for c, rc in CATIONS.items()
        for a, ra in ANIONS.items()
        for _ in range(4)
    ]


@pytest.fixture(scope="module")
def model() -> DomainModel:
    training, ordinary = salts(0), salts(1)
    rng = np.random.default_rng(0)
    return DomainModel.fit(
        PackedGraphs.from_structures(training),
        PackedGraphs.from_structures(shaken(training, 0) + fragments(training[::3], 0)),
        PackedGraphs.from_structures(ordinary),
        embeddings=rng.normal(size=(len(training), 6)),
        ordinary_embeddings=rng.normal(size=(len(ordinary), 6)),
        rate=0.05,
    )


def rate(model: DomainModel, structures: list[Structure]) -> float:
    return flagged(model, PackedGraphs.from_structures(structures))


def flagged(model: DomainModel, graphs: PackedGraphs) -> float:
    return float(np.mean([judgement.out_of_domain for judgement in model.judge(graphs)]))


def test_ordinary_crystals_pass_and_keep_their_intervals(model):
    assert rate(model, salts(2)) < 0.12
    calm = [j for j in model.judge(PackedGraphs.from_structures(salts(2))) if not j.out_of_domain]
    assert all(j.inflation == 1 and j.distance <= 1 for j in calm)


def test_a_fine_tuned_network_keeps_the_judges_of_the_crystals_it_started_from(model):
    rng = np.random.default_rng(3)
    graphs = PackedGraphs.from_structures(salts(2))
    tuned = model.with_embedding(rng.normal(size=(60, 4)), rng.normal(size=(200, 4)))
    assert len(tuned.embedding.center) == 4
    alone = [j.out_of_domain for j in model.judge(graphs)]
    assert [j.out_of_domain for j in tuned.judge(graphs)] == alone
    far = tuned.judge(graphs, np.full((len(graphs), 4), 9.0))
    assert all(j.out_of_domain for j in far)


@pytest.mark.parametrize(("volume", "word"), [(0.8, "closer"), (1.3, "further")])
def test_strained_crystals_are_flagged_and_say_how(model, volume, word):
    graphs = PackedGraphs.from_structures(salts(2))
    strained = scaled(graphs, np.full(len(graphs), np.cbrt(volume)))
    assert flagged(model, strained) > 0.9
    reasons = [reason for j in model.judge(strained) for reason in j.reasons]
    assert np.mean([word in reason for reason in reasons]) > 0.8


def test_shaken_crystals_are_flagged(model):
    assert rate(model, shaken(salts(2)[::4], 3, reach_a=(0.5, 0.5))) > 0.9


def test_molecules_noble_gases_and_rare_elements_are_flagged_in_words(model):
    molecule = Structure(
        lattice=12 * np.eye(3), species=("Li", "F"), frac_coords=[[0, 0, 0], [0.13, 0, 0]]
    )
    noble = Structure(lattice=5.31 * np.eye(3), species=("Ar",) * 4, frac_coords=FCC)
    metal = Structure(lattice=5.6 * np.eye(3), species=("Ca",) * 4, frac_coords=FCC)
    rare, chlorine = rock_salt("Ag", "Cl", 5.55), model.element_counts[17]
    found = model.judge(PackedGraphs.from_structures([molecule, noble, metal, rare]))
    assert all(j.out_of_domain and j.inflation >= 2 for j in found)
    assert any("neighbours within the cutoff" in reason for reason in found[0].reasons)
    assert "Ar occurs in none of the training set" in found[1].reasons
    assert "Ag occurs in none of the training set" in found[3].reasons
    assert chlorine == 28


def test_a_far_embedding_is_flagged_and_the_interval_grows_with_it(model):
    graphs = PackedGraphs.from_structures(salts(0)[:2])
    near, far = model.judge(graphs, np.array([[0.0] * 6, [30.0] * 6]))
    assert not near.out_of_domain
    assert any("unlike any training crystal" in reason for reason in far.reasons)
    assert far.inflation > 2
    with pytest.raises(InvalidInputError, match="the reference has 6"):
        model.judge(graphs, np.ones((2, 3)))
    with pytest.raises(InvalidInputError, match="1 embeddings for 2"):
        model.judge(graphs, np.ones((1, 6)))


def test_inflation_rises_from_one_at_the_limit():
    assert inflation([0, 1, 2, 100]).tolist() == [1, 1, 2, 5]


def test_a_domain_model_survives_its_arrays_and_is_small(model):
    arrays, data = model.to_arrays(), json.loads(json.dumps(model.to_dict()))
    again = DomainModel.from_arrays(arrays, data)
    graphs = PackedGraphs.from_structures(salts(2)[:20])
    embeddings = np.random.default_rng(0).normal(size=(20, 6))
    assert again.judge(graphs, embeddings) == model.judge(graphs, embeddings)
    assert sum(array.nbytes for array in arrays.values()) < 400_000


def test_bond_descriptors_do_not_change_with_the_cell(model):
    salt = rock_salt("Na", "Cl", 5.64)
    double = Structure(
        lattice=salt.lattice * np.array([[2], [1], [1]]),
        species=salt.species * 2,
        frac_coords=np.vstack([salt.frac_coords, salt.frac_coords + np.array([1, 0, 0])])
        * [0.5, 1, 1],
    )
    rows = model.bonds.describe(PackedGraphs.from_structures([salt, double]))
    assert rows.shape[1] == len(descriptor_names())
    assert rows[0] == pytest.approx(rows[1], abs=1e-3)


def test_usual_lengths_are_those_of_training():
    graphs = PackedGraphs.from_structures([rock_salt("Na", "Cl", 5.64)] * 30)
    bonds = BondReference.fit(graphs)
    assert bonds.lengths[11, 17] == pytest.approx(2.82, abs=0.02)


def test_prototypes_that_say_nothing_are_refused():
    with pytest.raises(InvalidInputError, match="the same"):
        EmbeddingReference.fit(np.ones((50, 3)))


@pytest.mark.slow
@pytest.mark.skipif(not MP.exists(), reason="shared/data/mp_crystals is not here")
def test_distorted_crystals_of_the_materials_project_are_flagged():
    import pandas as pd

    frame = pd.read_parquet(MP, columns=["structure", "split", "nsites"])
    frame = frame[frame.nsites <= 20]
    training = crystals(frame[frame.split == "train"].sample(4000, random_state=0))
    held_out = crystals(frame[frame.split == "val"].sample(1000, random_state=0))
    graphs = PackedGraphs.from_structures(training)
    distorted = shaken(training[:1500], 0) + fragments(training[:600], 0)
    model = DomainModel.fit(
        graphs,
        PackedGraphs.from_structures(distorted),
        PackedGraphs.from_structures(held_out[:500]),
    )
    ordinary = PackedGraphs.from_structures(held_out[500:])
    assert flagged(model, ordinary) < 0.07
    assert flagged(model, scaled(ordinary, np.full(500, np.cbrt(0.8)))) > 0.75
    assert flagged(model, scaled(ordinary, np.full(500, np.cbrt(1.3)))) > 0.75
    assert rate(model, shaken(held_out[500:700], 1, reach_a=(0.5, 0.5))) > 0.95


def crystals(frame) -> list[Structure]:
    found = []
    for text in frame.structure:
        raw = json.loads(text)
        found.append(
            Structure(
                lattice=raw["lattice"],
                species=tuple(SYMBOLS[z] for z in raw["atomic_numbers"]),
                frac_coords=raw["frac_coords"],
            )
        )
    return found
