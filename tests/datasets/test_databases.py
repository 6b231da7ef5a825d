"""The open databases, played by a server on this machine in their documented forms."""

import gzip
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from small import salt

from nanoos.core.errors import NotFoundError, UnauthorizedError, UnavailableError
from nanoos.datasets.readers.databases import DatabaseAccess, database_rows, is_database
from nanoos.datasets.readers.options import ReadOptions
from nanoos.datasets.sealed import read_sealed
from nanoos.datasets.sealing import seal_rows

KEY = "a-key"


def pymatgen_dict(structure):
    return json.loads(structure.to_pymatgen().to_json())


def matbench_file() -> bytes:
    rows = [[pymatgen_dict(salt(n)), float(n)] for n in range(3)]
    document = {"index": [0, 1, 2], "columns": ["structure", "gap pbe"], "data": rows}
    return gzip.compress(json.dumps(document).encode())


def jarvis_file() -> bytes:
    s = salt(0)
    atoms = {
        "lattice_mat": s.lattice.tolist(),
        "coords": s.frac_coords.tolist(),
        "elements": list(s.species),
        "cartesian": False,
    }
    rows = [{"jid": "JVASP-1", "atoms": atoms, "optb88vdw_bandgap": 2.0}]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("jdft_3d-12-12-2022.json", json.dumps(rows))
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        parts = urlsplit(self.path)
        server.seen.append((parts.path, parse_qs(parts.query), dict(self.headers)))
        if server.failures:
            self.send_error(server.failures.pop())
        elif parts.path == "/mb/matbench_mp_gap.json.gz":
            self.answer(matbench_file())
        elif parts.path == "/jarvis/38521619":
            self.answer(jarvis_file())
        elif parts.path == "/mp/materials/summary/":
            self.summaries(parse_qs(parts.query))
        else:
            self.send_error(404)

    def answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        cut = self.server.cut.pop() if self.server.cut else None
        self.wfile.write(data[:cut])

    def summaries(self, query) -> None:
        if self.headers.get("X-API-KEY") != KEY:
            self.send_error(403)
            return
        skip, limit = int(query["_skip"][0]), int(query["_limit"][0])
        documents = [
            {
                "material_id": f"mp-{n}",
                "structure": pymatgen_dict(salt(n)),
                "band_gap": float(n),
                "bulk_modulus": {"voigt": 3.0, "reuss": 1.0, "vrh": 2.0} if n else None,
            }
            for n in range(5)
        ]
        body = {"data": documents[skip : skip + limit], "meta": {"total_doc": 5}}
        self.answer(json.dumps(body).encode())


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.failures, server.cut = [], [], []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def access(server) -> DatabaseAccess:
    base = f"http://127.0.0.1:{server.server_port}"
    return DatabaseAccess(
        mp_api_key=KEY,
        matbench_url=f"{base}/mb/",
        jarvis_url=f"{base}/jarvis/",
        materials_project_url=f"{base}/mp/",
    )


def load(name, access, folder, **options):
    stream = database_rows(name, ReadOptions(**options), access, folder=folder / "downloads")
    seal_rows(stream, folder / "x.parquet", name="x")
    return read_sealed(folder / "x.parquet")


@pytest.mark.parametrize("name", ["matbench:matbench_mp_gap", "matbench:mp_gap"])
def test_matbench_is_fetched_once(server, access, tmp_path, name):
    dataset = load(name, access, tmp_path)
    assert dataset.targets["bandgap"].tolist() == [0, 1, 2]
    assert dataset.sources[0].kind == "matbench"
    assert dataset.level_of_theory["bandgap"].functional == "PBE/PBE+U"
    load(name, access, tmp_path)
    assert len(server.seen) == 1
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["matbench_mp_gap.json.gz"]


def test_jarvis(access, tmp_path):
    dataset = load("jarvis:dft_3d", access, tmp_path)
    assert (dataset.ids, dataset.targets["bandgap"].tolist()) == (("JVASP-1",), [2.0])


def test_the_materials_project_comes_in_pages_with_the_key(server, access, tmp_path, monkeypatch):
    monkeypatch.setattr("nanoos.datasets.readers.databases._PAGE", 2)
    targets = {"bandgap": "band_gap", "bulk_modulus": "bulk_modulus"}
    dataset = load("mp:chemsys=Mg-O&band_gap_max=3", access, tmp_path, targets=targets)
    assert dataset.ids == tuple(f"mp-{n}" for n in range(5))
    assert dataset.targets["bulk_modulus"].tolist()[1:] == [2.0] * 4
    assert [query["_skip"] for _, query, _ in server.seen] == [["0"], ["2"], ["4"]]
    _, query, _ = server.seen[0]
    assert (query["chemsys"], query["band_gap_max"]) == (["Mg-O"], ["3"])
    assert query["_fields"] == ["material_id,structure,band_gap,bulk_modulus"]


def test_a_key_is_needed_and_must_hold(access, tmp_path):
    none, wrong = (
        DatabaseAccess(mp_api_key=key, materials_project_url=access.materials_project_url)
        for key in ("", "another")
    )
    with pytest.raises(UnauthorizedError, match="needs an API key") as caught:
        load("mp:", none, tmp_path)
    assert "NANO_OS_MP_API_KEY" in caught.value.hint
    with pytest.raises(UnauthorizedError, match="does not accept"):
        load("mp:", wrong, tmp_path)


def test_a_server_that_stumbles_is_asked_again(server, access, tmp_path):
    server.failures.append(503)
    server.cut.append(100)  # and then breaks off
    assert len(load("matbench:mp_gap", access, tmp_path)) == 3
    assert len(server.seen) == 3


def test_a_server_that_is_down_says_what_to_do(server, access, tmp_path):
    server.failures += [503] * 3
    with pytest.raises(UnavailableError, match="matbench cannot be reached: HTTP 503") as caught:
        load("matbench:mp_gap", access, tmp_path)
    assert "nanoos datasets import matbench_mp_gap.json.gz" in caught.value.hint
    assert list((tmp_path / "downloads").iterdir()) == []


def test_no_network_says_so(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    nowhere = DatabaseAccess(
        mp_api_key=KEY,
        matbench_url=f"http://127.0.0.1:{port}/",
        materials_project_url=f"http://127.0.0.1:{port}/",
    )
    for name in ("matbench:phonons", "mp:"):
        with pytest.raises(UnavailableError, match="cannot be reached") as caught:
            load(name, nowhere, tmp_path)
        assert caught.value.error_code == "no_network"
        assert caught.value.exit_code == 8
        assert caught.value.hint


def test_what_is_not_there_is_named_with_what_is(access, tmp_path):
    for name, hint in (
        ("matbench:steels", "matbench_phonons"),
        ("jarvis:dft_4d", "dft_3d"),
        ("oqmd:all", "matbench:TASK"),
    ):
        with pytest.raises(NotFoundError) as caught:
            load(name, access, tmp_path)
        assert hint in caught.value.hint
    assert is_database("mp:")
    assert not is_database("mp.csv")
