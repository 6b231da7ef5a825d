"""The page for k-points: what is asked, what is answered, what is refused in words."""

import html
import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from optimade_server import optimade_server

from nanoos.api.app import create_app
from nanoos.kpoints import registry
from nanoos.kpoints.base import KpointModelInfo, MeasuredCoverage
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.container import Services
from nanoos.services.kpoints import KpointService
from nanoos.services.optimade import OptimadeService
from nanoos.structures import read_structure_from_bytes
from nanoos.testing.crystals import rocksalt
from nanoos.web.interval_plot import interval_plot

CIF = b"""data_MgO
_cell_length_a 4.21
_cell_length_b 4.21
_cell_length_c 4.21
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Mg1 Mg 0 0 0
O1 O 0.5 0.5 0.5
"""
POSCAR = b"""Hs
1.0
4 0 0
0 4 0
0 0 4
Lr
1
Direct
0 0 0
"""


def upload(client, data=CIF, name="my MgO.cif", **fields):
    fields = {"source": "file", "model": "RF", "confidence": "0.9", **fields}
    return client.post("/kpoints", data=fields, files={"file": (name, data)})


def words(page) -> str:
    """The text of the page as it is read."""
    text = re.sub(r"<(script|style).*?</\1>", "", page.text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def hidden(page, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    return html.unescape(found[1])


def store(services: Services, *, shared: bool = True) -> str:
    record, _ = services.structures.add(
        rocksalt(4.21), LOCAL_PRINCIPAL, source={"kind": "file"}, shared=shared
    )
    return str(record.id)


def test_a_stranger_is_sent_to_the_login(client):
    assert client.get("/kpoints").url.path == "/login"
    assert upload(client).url.path == "/login"
    assert client.post("/kpoints/input", data={"content": "{}"}).url.path == "/login"


def test_the_form_names_every_model_and_database(logged_in, services):
    page = logged_in.get("/kpoints")
    assert page.status_code == 200
    for model in services.kpoints.models():
        assert f'value="{model.name}"' in page.text
    assert "Materials Project" in page.text
    assert 'aria-current="page">K-points' in page.text


def test_a_model_that_cannot_answer_is_disabled_with_its_reason(logged_in, monkeypatch):
    def info(name: str) -> KpointModelInfo:
        if name != "ALIGNN":
            return registry.kpoint_model(name).info()
        return KpointModelInfo(
            name=name,
            version="",
            available=False,
            description="",
            criterion="",
            label_code="",
            unavailable_reason="It needs <PyTorch>.",
            install_command="pip install it",
        )

    monkeypatch.setattr(registry, "_info", info)
    page = logged_in.get("/kpoints")
    assert re.search(r'value="ALIGNN" disabled', page.text)
    assert "Not available: It needs <PyTorch>. pip install it" in words(page)
    assert "<PyTorch>" not in page.text


def test_an_upload_is_answered_as_the_api_answers_it(logged_in, services):
    page = upload(logged_in)
    assert page.status_code == 200
    assert services.structures.page(LOCAL_PRINCIPAL).total == 0  # nothing was stored
    text = words(page)
    found = services.kpoints.predict(read_structure_from_bytes("MgO.cif", CIF), confidence=0.9)
    assert f"{found.kdist:.3f} Å⁻¹" in text
    assert f"{found.kdist_lower:.3f} to {found.kdist_upper:.3f} Å⁻¹" in text
    assert f"RF, version {found.version}" in text
    assert "my MgO.cif" in text
    assert "-F file=@my MgO.cif" in text.replace("'", "")
    if found.coverage is None:
        assert "Not measured" in text
    else:
        assert f"{found.coverage.n:,} held-out crystals" in text


def test_measured_coverage_and_an_unusual_crystal_are_told(logged_in, monkeypatch):
    predict = KpointService.predict
    measured = MeasuredCoverage(
        level=0.9,
        observed=0.912,
        expected=(0.885, 0.915),
        too_coarse=0.041,
        extra_points=2.84,
        n=1584,
    )

    def unusual(*arguments, **options):
        return replace(
            predict(*arguments, **options),
            coverage=measured,
            interval_level=0.95,
            out_of_domain=True,
            reasons=("no such element", "a large cell."),
        )

    monkeypatch.setattr(KpointService, "predict", unusual)
    text = words(upload(logged_in))
    assert "91.2 % of 1,584 held-out crystals lay in their interval at 0.90" in text
    assert "(chance explains 88.5 % to 91.5 %)" in text
    assert "too coarse for 4.1 % and had 2.8 times the points needed" in text
    assert "Interval at 0.95" in text
    assert "learnt from. no such element; a large cell. The interval" in text


def test_the_answer_can_be_asked_again_with_other_choices(logged_in):
    first = upload(logged_in)
    fields = {"source": "shown", "content": hidden(first, "content"), "name": "my MgO.cif"}
    again = logged_in.post("/kpoints", data={**fields, "model": "RF", "confidence": "0.85"})
    assert again.status_code == 200
    assert "Interval at 0.85" in words(again)
    assert "my MgO.cif" in words(again)


def test_a_stored_structure_has_an_address(logged_in, services):
    identifier = store(services)
    choice = logged_in.post(
        "/kpoints", data={"source": "stored", "stored": "", "confidence": "0.9"}
    )
    assert f"stored={identifier}" in choice.text
    answer = logged_in.post("/kpoints", data={"source": "stored", "stored": "O1Mg1"})
    assert answer.url.path == "/kpoints"
    assert "stored=O1Mg1" in str(answer.url)
    assert "MgO: a mesh of" in words(answer)
    assert f'"structure_id": "{identifier}"' in words(answer)
    again = logged_in.post(
        "/kpoints", data={"source": "shown", "shown_stored": identifier, "confidence": "0.85"}
    )
    assert identifier in str(again.url)
    assert "Interval at 0.85" in words(again)


@pytest.mark.usefixtures("with_pseudos")
def test_the_input_of_the_page_is_complete(logged_in):
    page = upload(logged_in)
    fields = {name: hidden(page, name) for name in ("content", "name")}
    answer = logged_in.post("/kpoints/input", data={**fields, "model": "RF", "confidence": "0.9"})
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''MgO.scf.in"
    divisions = re.search(r"K_POINTS automatic\n  (\d+) (\d+) (\d+) 0 0 0\n", answer.text)
    assert " × ".join(divisions.groups()) in words(page)
    assert answer.text in html.unescape(page.text)


@pytest.mark.parametrize(
    ("data", "name", "status", "expected"),
    [
        (b"data_x\n_cell_length_a 4\n", "bad.cif", 422, "bad.cif|cell|_cell"),
        (b"", "", 422, "No file was chosen"),
        (b"\x00\x01", "x.bin", 422, "binary, not text"),
        (CIF + CIF.replace(b"data_MgO", b"data_two"), "two.cif", 422, "more than one structure"),
        (POSCAR.replace(b"Lr", b"Rf"), "POSCAR", 422, "no k-point model knows Rf"),
    ],
    ids=["half a CIF", "no file", "no text", "two structures", "element"],
)
def test_a_bad_file_is_refused_in_words(logged_in, data, name, status, expected):
    files = {"file": (name, data)} if name else None
    page = logged_in.post("/kpoints", data={"source": "file"}, files=files)
    assert page.status_code == status
    alert = re.search(r'<p class="problem" role="alert">(.*?)</p>', page.text, re.DOTALL)[1]
    assert re.search(expected, html.unescape(alert)), alert
    assert "<form" in page.text


def test_a_cell_that_is_too_large_is_refused_in_words(logged_in):
    sites = "0 0 0\n" * 20_001
    poscar = f"x\n1.0\n90 0 0\n0 90 0\n0 0 90\nSi\n20001\nDirect\n{sites}".encode()
    page = upload(logged_in, poscar, "POSCAR")
    assert page.status_code == 422
    assert "20,001 sites; the limit is 20,000" in words(page)


def test_a_body_that_is_too_large_is_refused_in_words(settings, services, logged_in):
    app = create_app(settings.model_copy(update={"max_upload_mb": 1}), services)
    with TestClient(app, cookies=logged_in.cookies) as client:
        page = upload(client, b"x" * (2 << 20), "x.cif")
    assert page.status_code == 413
    assert "larger than 1 MiB" in words(page)


@pytest.mark.usefixtures("with_pseudos")
def test_an_element_without_pseudopotential_is_told_and_the_mesh_is_there(logged_in):
    page = upload(logged_in, POSCAR, "POSCAR")
    assert page.status_code == 200
    text = words(page)
    assert "Lr: a mesh of" in text
    assert re.search(r"No input can be written: .*Lr", text)
    assert "Download" not in text


@pytest.mark.parametrize(
    ("address", "status", "expected"),
    [
        ("source=stored&stored=Xx", 422, "Xx"),
        ("source=stored&stored=MgO", 200, "No stored structure is MgO"),
        ("source=database&database=nothing&search=MgO", 404, "no database 'nothing'"),
        ("source=database&database=mp&search=Zz2", 422, "Zz"),
        ("confidence=x", 200, "K-points"),
    ],
)
def test_a_bad_address_is_refused_in_words(logged_in, address, status, expected):
    page = logged_in.get(f"/kpoints?{address}")
    assert page.status_code == status
    assert expected in words(page)


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"confidence": "0.5"}, 422), ({"confidence": "x"}, 422), ({"model": "nothing"}, 404)],
    ids=["level", "no number", "model"],
)
def test_a_choice_that_is_none_is_refused_in_words(logged_in, fields, status):
    page = upload(logged_in, **fields)
    assert page.status_code == status
    assert 'role="alert"' in page.text


def test_a_form_of_another_site_does_nothing(logged_in):
    answer = logged_in.post(
        "/kpoints", data={"source": "file"}, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403


def test_another_user_sees_no_private_structure(logged_in, services):
    page = logged_in.get(f"/kpoints?source=stored&stored={store(services, shared=False)}")
    assert "No stored structure" in words(page)


def test_a_database_is_searched_and_an_entry_answered(services, logged_in):
    with optimade_server() as server:
        object.__setattr__(services, "optimade", OptimadeService(server.url))
        found = logged_in.post(
            "/kpoints", data={"source": "database", "database": "own", "search": "TiO2"}
        )
        text = words(found)
        assert "The first 2 of 134 entries" in text
        assert "P4_2/mnm (136)" in text
        assert "Cannot be used: " in text
        link = html.unescape(
            re.search(r'href="(/kpoints\?[^"]*entry=db-2657[^"]*)"', found.text)[1]
        )
        answer = logged_in.get(link)
        assert "TiO2: a mesh of" in words(answer)
        assert f"{server.url}/v1/structures/db-2657" in words(answer)
        again = {"source": "shown", "shown_database": "own", "shown_entry": "db-2657"}
        assert logged_in.post("/kpoints", data=again).url.params["entry"] == "db-2657"
        assert logged_in.get("/kpoints?source=database&database=own&entry=db-0").status_code == 404
    page = logged_in.get("/kpoints?source=database&database=own&search=TiO2")
    assert page.status_code == 503
    assert "cannot be reached" in words(page)


def test_the_drawing_has_room_for_its_labels():
    plot = interval_plot(0.09, 0.24, 0.42)
    assert 20 < plot.lower < plot.middle < plot.upper < 80
    assert [tick.label for tick in plot.ticks] == sorted(tick.label for tick in plot.ticks)
    assert 2 <= len(plot.ticks) <= 7
    alone = interval_plot(0.2, 0.2, 0.2)
    assert alone.lower == alone.middle == alone.upper
    assert len({tick.label for tick in alone.ticks}) == len(alone.ticks)
