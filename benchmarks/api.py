"""Requests per second and latency of the API: cached predictions beside a route without database.

    python benchmarks/api.py [--seconds 5] [--database sqlite postgresql]

Starts one server process for each database (``nanoos serve --no-worker`` in effect), stores a few
structures with predictions, and asks from another process over raw sockets with keep-alive. The
client writes fixed bytes and counts answers, so it takes a small part of what the server takes.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

N_STRUCTURES = int(os.environ.get("BENCH_STRUCTURES", "50"))
SERVER = """
import sys
from nanoos.api import serve
from nanoos.bootstrap import open_services
settings, services = open_services(log_level="warning")
serve(settings, services, host="127.0.0.1", port=int(sys.argv[1]), with_worker=False,
      announce=lambda line: print(line, flush=True))
"""


@dataclass(frozen=True)
class Figures:
    """What was measured: requests per second, milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float


class Client(asyncio.Protocol):
    """One connection: sends the next request when the answer to the last is complete."""

    def __init__(self, requests: list[bytes], start: int, until: float, times: list[float]) -> None:
        self._requests, self._next, self._until = requests, start, until
        self._times = times
        self._buffer = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        at = head.lower().index(b"content-length:") + 15
        if len(body) < int(head[at : head.find(b"\r\n", at) % (len(head) + 1)]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(self._buffer[:500].decode()))
            self._transport.close()
            return
        self._buffer = b""
        now = time.perf_counter()
        self._times.append(now - self._sent)
        if now >= self._until:
            self.done.set_result(None)
            self._transport.close()
            return
        self._send()


async def load(port: int, requests: list[bytes], connections: int, seconds: float) -> Figures:
    """Ask on so many connections for so long."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    begun = time.perf_counter()
    clients = []
    for start in range(connections):
        _, client = await loop.create_connection(
            lambda s=start: Client(requests, s, begun + seconds, times), "127.0.0.1", port
        )
        clients.append(client.done)
    await asyncio.gather(*clients)
    elapsed = time.perf_counter() - begun
    times.sort()
    return Figures(
        rate=len(times) / elapsed,
        p50_ms=1000 * times[len(times) // 2],
        p99_ms=1000 * times[int(len(times) * 0.99)],
    )


def request(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """The bytes of one request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def prepare(data_dir: Path) -> tuple[str, list[str]]:
    """An API key, and the ids of structures that have a prediction."""
    import numpy as np

    from nanoos.bootstrap import open_services
    from nanoos.services.access import LOCAL_PRINCIPAL
    from nanoos.structures import Structure

    settings, services = open_services(data_dir=data_dir)
    user = services.users.create("bench", "a long password", LOCAL_PRINCIPAL)
    from nanoos.services.access import Principal

    who = Principal(
        user_id=user.id,
        username=user.username,
        role="user",
        scopes=frozenset({"read", "write"}),
    )
    _, key = services.users.api_keys.create("bench", who)
    ids = []
    for number in range(N_STRUCTURES):
        # every cell is another crystal: the axes differ in their ratio
        lattice = np.diag([4.0, 4.0 + 0.05 * number, 4.5 + 0.11 * number])
        crystal = Structure(
            lattice=lattice, species=("Cs", "Cl"), frac_coords=np.array([[0, 0, 0], [0.5] * 3])
        )
        record, _ = services.structures.add(crystal, who, source={"kind": "benchmark"})
        services.predictions.predict(record.id, who, model_name="STUB")
        ids.append(str(record.id))
    services.close()
    del settings
    return key, ids


@contextmanager
def server(data_dir: Path) -> Iterator[int]:
    """One server process; gives its port."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "NANO_OS_DATA_DIR": str(data_dir)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def measure(name: str, seconds: float) -> None:
    """One database: a line of the table for each route and number of connections."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        key, ids = prepare(data_dir)
        posts = [json.dumps({"structure_id": one, "model_name": "STUB"}).encode() for one in ids]
        routes = {
            "GET /health (no database)": [request("GET", "/health", key)],
            "GET /ml/properties/{id}": [
                request("GET", f"/api/v1/ml/properties/{one}", key) for one in ids
            ],
            "POST /ml/properties": [
                request("POST", "/api/v1/ml/properties", key, body) for body in posts
            ],
        }
        with server(data_dir) as port:
            for requests in routes.values():
                asyncio.run(load(port, requests, 4, 1.0))
            for connections in (1, 32):
                base = 0.0
                for route, requests in routes.items():
                    found = asyncio.run(load(port, requests, connections, seconds))
                    base = base or found.rate
                    print(
                        f"| {name} | {route} | {connections} | {found.rate:.0f} | "
                        f"{found.p50_ms:.2f} | {found.p99_ms:.2f} | {found.rate / base:.2f} |",
                        flush=True,
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--database", nargs="+", default=["sqlite", "postgresql"])
    options = parser.parse_args()
    print("| database | route | connections | requests/s | p50 ms | p99 ms | of /health |")
    print("|---|---|---|---|---|---|---|")
    for name in options.database:
        with ExitStack() as stack:
            if name == "postgresql":
                from nanoos.services.schema import migrate_up
                from nanoos.testing.servers import postgresql_server

                postgres = stack.enter_context(postgresql_server())
                url = postgres.url(postgres.create_database())
                migrate_up(url)
                os.environ["NANO_OS_DATABASE_URL"] = url
            measure(name, options.seconds)
            os.environ.pop("NANO_OS_DATABASE_URL", None)


if __name__ == "__main__":
    main()
