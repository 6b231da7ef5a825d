"""The page for k-points: a structure, a model and a confidence; interval, mesh and input."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from nanoos.core.errors import InvalidInputError, NanoosError
from nanoos.services.access import Principal
from nanoos.services.container import Services
from nanoos.services.optimade import DatabaseHits
from nanoos.services.structure_records import StructureRecord
from nanoos.structures import Structure, read_structure_from_bytes
from nanoos.web.kpoint_result import KpointResult, Origin, kpoint_result
from nanoos.web.visitors import refuse_foreign, visitor

Show = Callable[..., Response]
Infer = Callable[[Callable[[], Any]], Awaitable[Any]]

CONFIDENCES: Final = (
    ("0.95", "careful: the mesh is too coarse for at most 2.5 %"),
    ("0.9", "too coarse for at most 5 %"),
    ("0.85", "fewest points: too coarse for at most 7.5 %"),
)
"""Levels and what each promises of crystals like those calibrated on."""
_SHOWN: Final = 20
_ADDRESSED: Final = ("stored", "database", "entry")
_SEE_OTHER: Final = 303
_LONGEST_FIELD: Final = 16 << 20
"""Of a form, bytes: a structure of 20,000 sites takes 2 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the form says; all of it text, as typed.

    Attributes:
        source: ``file``, ``stored``, ``database`` or ``shown`` (that of the answer on the page).
        model: ``RF``.
        confidence: ``0.95``.
        stored: Formula or id of a stored structure.
        database: Key of a database.
        search: What is looked for there.
        entry: Id of an entry there.
    """

    source: str = "file"
    model: str = "RF"
    confidence: str = "0.95"
    stored: str = ""
    database: str = ""
    search: str = ""
    entry: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Asked":
        """From a query or a form; what is unknown in it is left out."""
        given = {
            name: value.strip()[:500]
            for name in cls.__slots__
            if isinstance(value := fields.get(name), str) and value.strip()
        }
        return cls(**given)

    @property
    def level(self) -> float:
        """The confidence as a number. Raises InvalidInputError."""
        try:
            return float(self.confidence)
        except ValueError:
            raise InvalidInputError(
                f"The confidence {self.confidence!r} is no number.", hint="Choose one of the page."
            ) from None

    def link(self, **changed: str) -> str:
        """The address of this page with these choices."""
        fields = {name: getattr(self, name) for name in self.__slots__} | changed
        return "/kpoints?" + urlencode({name: value for name, value in fields.items() if value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a request leads to: an answer, or something to choose from.

    Attributes:
        result: Interval, mesh and input of one structure.
        hits: Of a database.
        records: Stored structures to choose from.
    """

    result: KpointResult | None = None
    hits: DatabaseHits | None = None
    records: Sequence[StructureRecord] | None = None


class KpointPage:
    """Routes of the page.

    Args:
        services: What it shows.
        show: Renders a template.
        infer: Runs a model outside of the request threads.
    """

    def __init__(self, services: Services, show: Show, infer: Infer) -> None:
        self._services = services
        self._show = show
        self._infer = infer

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.add_api_route("/kpoints", self.look, methods=["GET"])
        router.add_api_route("/kpoints", self.ask, methods=["POST"])
        router.add_api_route("/kpoints/input", self.download, methods=["POST"])

    async def look(self, request: Request) -> Response:
        """The form; with a stored structure or an entry of a database in the address, the answer."""
        who = await run_in_threadpool(visitor, self._services, request)
        if who is None:
            return RedirectResponse("/login", _SEE_OTHER)
        asked = Asked.of(request.query_params)
        return await self._answer(request, who, asked, partial(self._chosen, asked, who))

    async def ask(self, request: Request) -> Response:
        """A form that was sent: a file is answered here, all else has its own address."""
        refuse_foreign(request)
        who = await run_in_threadpool(visitor, self._services, request)
        if who is None:
            return RedirectResponse("/login", _SEE_OTHER)
        try:
            async with _form(request) as form:
                asked = Asked.of(form)
                address = _address(asked, form)
                if address is not None:
                    return RedirectResponse(address, _SEE_OTHER)
                return await self._answer(request, who, asked, partial(self._sent, asked, form))
        except NanoosError as error:  # the form could not be read
            return await self._page(request, who, Asked(), problem=error)

    async def download(self, request: Request) -> Response:
        """The complete input of pw.x as a file."""
        refuse_foreign(request)
        who = await run_in_threadpool(visitor, self._services, request)
        if who is None:
            return RedirectResponse("/login", _SEE_OTHER)
        asked = Asked(source="shown")
        try:
            async with _form(request) as form:
                asked = Asked.of(form)
                structure = await run_in_threadpool(_sent_back, form)
            _, made = await self._infer(
                partial(
                    self._services.kpoints.input,
                    structure,
                    model_name=asked.model,
                    confidence=asked.level,
                )
            )
        except NanoosError as error:
            return await self._page(request, who, asked, problem=error)
        attachment = f"attachment; filename*=UTF-8''{quote(made.filename, safe='')}"
        return Response(
            made.text, media_type="text/plain", headers={"content-disposition": attachment}
        )

    async def _answer(
        self, request: Request, who: Principal, asked: Asked, find: Callable[[], Awaitable[Found]]
    ) -> Response:
        try:
            return await self._page(request, who, asked, found=await find())
        except NanoosError as error:
            return await self._page(request, who, asked, problem=error)

    async def _chosen(self, asked: Asked, who: Principal) -> Found:
        """What an address means."""
        if asked.source == "database" and asked.entry:
            structure = await run_in_threadpool(
                self._services.optimade.structure, asked.database, asked.entry
            )
            url = self._services.optimade.entry_url(asked.database, asked.entry)
            return await self._predicted(asked, structure, str(structure.label), Origin(url=url))
        if asked.source == "database" and asked.search:
            hits = await run_in_threadpool(
                self._services.optimade.search, asked.database, asked.search
            )
            return Found(hits=hits)
        if asked.source == "stored":
            records = await run_in_threadpool(self._stored, asked.stored, who)
            if asked.stored and len(records) == 1:
                name = records[0].structure.label or records[0].formula
                origin = Origin(stored=records[0].id)
                return await self._predicted(asked, records[0].structure, name, origin)
            return Found(records=records)
        return Found()

    def _stored(self, text: str, who: Principal) -> Sequence[StructureRecord]:
        if not text:
            return self._services.structures.page(who, limit=_SHOWN).items
        return self._services.structures.find(text, who)

    async def _sent(self, asked: Asked, form: FormData) -> Found:
        """What came with a form."""
        if asked.source == "shown":
            structure = await run_in_threadpool(_sent_back, form)
            name = structure.label or structure.formula
            return await self._predicted(asked, structure, name, Origin(file=name))
        upload = form.get("file")
        if not isinstance(upload, UploadFile) or not upload.filename:
            raise InvalidInputError(
                "No file was chosen.", hint="Choose a CIF or a POSCAR.", code="no_file"
            )
        name = PurePath(upload.filename.replace("\\", "/")).name[:200] or "structure"
        structure = await run_in_threadpool(
            read_structure_from_bytes,
            name,
            await upload.read(),
            several="Choose a file with one structure.",
        )
        return await self._predicted(asked, structure, name, Origin(file=name))

    async def _predicted(
        self, asked: Asked, structure: Structure, name: str, origin: Origin
    ) -> Found:
        work = partial(
            kpoint_result,
            self._services.kpoints,
            structure.with_label(name),
            model_name=asked.model,
            confidence=asked.level,
            origin=origin,
        )
        return Found(result=await self._infer(work))

    async def _page(
        self,
        request: Request,
        who: Principal,
        asked: Asked,
        *,
        found: Found | None = None,
        problem: NanoosError | None = None,
    ) -> Response:
        models = await run_in_threadpool(self._services.kpoints.models)
        return self._show(
            request,
            "kpoints.html",
            problem.http_status if problem else 200,
            who=who,
            asked=asked,
            models=models,
            confidences=CONFIDENCES,
            databases=self._services.optimade.databases,
            found=found or Found(),
            problem=problem,
        )


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    """The form of a request, open while the block lasts.

    Raises:
        InvalidInputError: it is none.
        TooLargeError: while it is read.
    """
    try:
        form = await request.form(max_files=1, max_fields=20, max_part_size=_LONGEST_FIELD)
    except HTTPException as error:
        raise InvalidInputError(f"The form cannot be read: {error.detail}.") from error
    try:
        yield form
    finally:
        await form.close()


def _address(asked: Asked, form: FormData) -> str | None:
    """Where the answer has its own address; None for a file, which has none."""
    if asked.source == "shown":  # the structure of the answer that the form stood beside
        shown = {name: str(form.get(f"shown_{name}") or "")[:500] for name in _ADDRESSED}
        if shown["stored"]:
            return asked.link(source="stored", stored=shown["stored"])
        if shown["entry"]:
            return asked.link(source="database", **shown)
        return None
    if asked.source in {"stored", "database"}:
        return asked.link(entry="")
    return None


def _sent_back(form: FormData) -> Structure:
    """The structure of the answer that the form stood beside."""
    content, name = form.get("content"), form.get("name")
    if not isinstance(content, str) or not content:
        raise InvalidInputError("The structure is missing.", hint="Choose one.", code="no_file")
    structure = read_structure_from_bytes("structure.json", content.encode())
    return structure.with_label(name[:200] if isinstance(name, str) and name else None)
