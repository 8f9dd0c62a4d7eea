"""Moves a server's data to files and back: `vtrack export` and `vtrack import` as functions.

    with Client() as client:
        export_to("backup.jsonl", client, What(experiment="shop"), format="otlp-json")
        import_from(["backup.jsonl"], client)

Both work page by page, in bounded memory; a round trip loses no field and no type.
"""

from otel_vtrack.transfer.files import FORMATS
from otel_vtrack.transfer.importing import import_from
from otel_vtrack.transfer.items import Counts, What
from otel_vtrack.transfer.outgoing import export_to

__all__ = ["FORMATS", "Counts", "What", "export_to", "import_from"]
