"""``nanoos init``: a data folder and a database, made explicitly."""

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.render import print_facts, say

app = typer.Typer(name="init")


@app.command()
def init(*, as_json: options.Json = False) -> None:
    """Make the data folder, the secret key and the database; safe to repeat.

    Every other command does the same when it needs them: this one says what it made.
    JSON: {"data_dir", "database", "schema", "created": [...]}.
    """
    from nanoos.bootstrap import prepare
    from nanoos.config import load_settings, setting_origins
    from nanoos.services.schema import schema_state

    settings = load_settings()
    parts = {
        "data folder": settings.data_dir,
        "secret key": settings.data_dir / "secret.key",
        "database": settings.data_dir / "nanoos.db",
    }
    missing = [name for name, path in parts.items() if not path.exists()]
    prepare(settings)
    created = [name for name in missing if parts[name].exists()]
    masked, _ = setting_origins(settings)["database_url"]
    document = {
        "data_dir": settings.data_dir,
        "database": masked or settings.resolved_database_url,
        "schema": schema_state(settings.resolved_database_url).current,
        "created": created,
    }
    if as_json:
        print_document(document)
        return
    print_facts([(name.replace("_", " "), value) for name, value in document.items()])
    say("Ready: try 'nanoos predict FILE.cif' or 'nanoos discover CAMPAIGN.yaml'.")
