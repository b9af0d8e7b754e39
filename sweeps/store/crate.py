"""The description of an exported sweep as an RO-Crate, https://w3id.org/ro/crate/1.1."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latticescape.physics.errors import shortened
from latticescape.physics.provenance import package_version
from latticescape.physics.variables import STATES
from latticescape.sweeps.store.label import read_label
from latticescape.sweeps.store.store import Store

METADATA = "ro-crate-metadata.json"

# The files of a crate: what they are, and their media types.
FILES = {
    "results.nc": ("All variables with axes and units", "application/x-netcdf"),
    "points.csv": ("One row per point of the sweep", "text/csv"),
    "spec.toml": ("The spec of the sweep, from which it can be computed again", "application/toml"),
}


@dataclass(frozen=True)
class Crate:
    """What is written about an exported sweep.

    Attributes
    ----------
    store
        The opened store.
    measured
        Axes and variables by name, with their attributes.
    states
        The state of every point.
    author, license_url
        Who made the crate, and under which licence; "" if it is not stated.
    date
        The day on which it is made, in the format of ISO 8601.
    """

    store: Store
    measured: Mapping[str, Mapping[str, Any]]
    states: npt.NDArray[np.int8]
    author: str
    license_url: str
    date: str

    def metadata(self, folder: Path) -> dict[str, Any]:
        """The metadata file as a JSON object, JSON-LD in flattened form.

        Parameters
        ----------
        folder
            The folder of the crate, with all other files.
        """
        attrs = self.store.group.attrs
        label = read_label(self.store.records)
        counts = Counter(STATES[state] for state in self.states.flat)
        found: Any = attrs.get("versions", {})
        versions = found if isinstance(found, dict) else {}
        made_by = str(versions.get("latticescape", "unknown"))
        title = f"Lattice simulations over {', '.join(self.store.axes)}"
        state = ", ".join(f"{number} {name}" for name, number in counts.items())
        files = [self._file(folder / name, *about) for name, about in FILES.items()]
        software = f"#latticescape-{made_by}"
        exporter = f"#latticescape-{package_version()}"
        libraries = ", ".join(f"{name} {number}" for name, number in versions.items())
        root = {
            "@id": "./",
            "@type": "Dataset",
            "name": label.note or title,
            "description": f"{title}; {self.states.size} points: {state}.",
            "datePublished": self.date,
            "dateCreated": shortened(attrs.get("created", "")),
            "identifier": self.store.digest,
            "keywords": list(label.tags),
            "license": {"@id": self.license_url or "#license"},
            "hasPart": [{"@id": file["@id"]} for file in files],
            "mentions": [{"@id": "#simulation"}, {"@id": "#export"}],
            "variableMeasured": [{"@id": f"#{name}"} for name in self.measured],
        }
        if self.author:
            root["author"] = {"@id": "#author"}
        graph: list[dict[str, Any]] = [
            {
                "@id": METADATA,
                "@type": "CreativeWork",
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
                "about": {"@id": "./"},
            },
            root,
            *files,
            {
                "@id": self.license_url or "#license",
                "@type": "CreativeWork",
                "name": self.license_url or "No licence is stated; ask the author before use",
            },
            *([{"@id": "#author", "@type": "Person", "name": self.author}] if self.author else []),
            *(
                {
                    "@id": identifier,
                    "@type": "SoftwareApplication",
                    "name": "latticescape",
                    "version": identifier.removeprefix("#latticescape-"),
                    **({"softwareRequirements": libraries} if identifier == software else {}),
                }
                for identifier in dict.fromkeys([software, exporter])
            ),
            {
                "@id": "#simulation",
                "@type": "CreateAction",
                "name": "Simulate all points of the spec",
                "startTime": shortened(attrs.get("created", "")),
                "instrument": {"@id": software},
                "object": {"@id": "spec.toml"},
                "result": [{"@id": "results.nc"}, {"@id": "points.csv"}],
                "description": f"seed {attrs.get('seed')}, kernel {attrs.get('kernel')}, "
                f"source digest {attrs.get('source_digest')}, "
                f"git revision {attrs.get('git_revision') or 'none'}",
            },
            {
                "@id": "#export",
                "@type": "CreateAction",
                "name": "Export the store",
                "endTime": self.date,
                "instrument": {"@id": exporter},
                "result": {"@id": "./"},
            },
            *(
                {
                    "@id": f"#{name}",
                    "@type": "PropertyValue",
                    "name": name,
                    "description": str(about.get("long_name", name)),
                    "unitText": str(about.get("units", "1")),
                }
                for name, about in self.measured.items()
            ),
        ]
        # A term of schema.org that the context of RO-Crate 1.1 does not have yet.
        terms = {"sha256": "https://schema.org/sha256"}
        return {"@context": ["https://w3id.org/ro/crate/1.1/context", terms], "@graph": graph}

    def _file(self, path: Path, name: str, media_type: str) -> dict[str, Any]:
        content = path.read_bytes()
        return {
            "@id": path.name,
            "@type": "File",
            "name": name,
            "encodingFormat": media_type,
            "contentSize": str(len(content)),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
