"""A database that speaks OPTIMADE, on this machine: the answers of a real one, written by hand."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

RUTILE = {
    "id": "db-2657",
    "type": "structures",
    "attributes": {
        "chemical_formula_reduced": "O2Ti",
        "nsites": 6,
        "nperiodic_dimensions": 3,
        "lattice_vectors": [[4.594, 0, 0], [0, 4.594, 0], [0, 0, 2.959]],
        "cartesian_site_positions": [
            [0, 0, 0],
            [2.297, 2.297, 1.4795],
            [1.4012, 1.4012, 0],
            [3.1928, 3.1928, 0],
            [3.6982, 0.8958, 1.4795],
            [0.8958, 3.6982, 1.4795],
        ],
        "species": [
            {"name": "Ti", "chemical_symbols": ["Ti"], "concentration": [1.0]},
            {"name": "O", "chemical_symbols": ["O"], "concentration": [1.0]},
        ],
        "species_at_sites": ["Ti", "Ti", "O", "O", "O", "O"],
    },
}
DISORDERED = {
    "id": "db-9/1",
    "type": "structures",
    "attributes": {
        **RUTILE["attributes"],
        "species": [
            {"name": "Ti", "chemical_symbols": ["Ti", "Nb"], "concentration": [0.9, 0.1]},
            {"name": "O", "chemical_symbols": ["O"], "concentration": [1.0]},
        ],
    },
}
ENTRIES = {entry["id"]: entry for entry in (RUTILE, DISORDERED)}
FILTERS = {
    'chemical_formula_reduced="O2Ti"': [RUTILE, DISORDERED],
    'elements HAS ALL "Ti","O"': [RUTILE],
    'chemical_formula_reduced="MgO"': [],
}


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.server.seen.append((parts.path, query))
        if self.server.answers:
            self.answer(*self.server.answers.pop(0))
        elif parts.path == "/optimade/v1/structures":
            self.search(query["filter"][0])
        elif parts.path.startswith("/optimade/v1/structures/"):
            entry = ENTRIES.get(unquote(parts.path.rpartition("/")[2]))
            self.answer(200, {"data": entry, "meta": {"data_returned": int(entry is not None)}})
        else:
            self.answer(404, {"errors": [{"status": "404", "title": "Not Found"}]})

    def search(self, asked: str) -> None:
        if asked not in FILTERS:
            problem = {"status": "400", "title": "Bad Request", "detail": f"No field in: {asked}."}
            self.answer(400, {"errors": [problem], "meta": {}})
            return
        found = FILTERS[asked]
        total = 134 if found else 0
        self.answer(200, {"data": found, "meta": {"data_returned": total}, "links": {}})

    def answer(self, status: int, document: object) -> None:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.api+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def optimade_server() -> Iterator[ThreadingHTTPServer]:
    """The server; ``url`` is its base, ``seen`` what was asked, ``answers`` what comes first."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.seen, server.answers = [], []
    server.url = f"http://127.0.0.1:{server.server_port}/optimade"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
