"""The page of a study: one file without scripts that requests nothing."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from jinja2 import Environment

from latticescape.analysis.plots.labels import value_text
from latticescape.physics.errors import RequestError
from latticescape.sweeps.store.atomic_write import atomic_write

REFERENCES = (
    "W. K. Wootters, Phys. Rev. D 23, 357 (1981).",
    "L. Vlcek et al., npj Comput. Mater. 7, 42 (2021), doi 10.1038/s41524-021-00507-7.",
    "G. Schwarz, Ann. Statist. 6, 461 (1978).",
    "J. Besag, The Statistician 24, 179 (1975), doi 10.2307/2987782.",
)
BIBTEX = """@software{latticescape,
  title = {latticescape: lattice models over parameter spaces,
    compared with atomically resolved images},
  author = {{The latticescape developers}},
  version = {VERSION}
}
@article{vlcek2021,
  author = {Vlcek, L. and others},
  journal = {npj Computational Materials},
  volume = {7}, pages = {42}, year = {2021},
  doi = {10.1038/s41524-021-00507-7}
}"""

PAGE = Path(__file__).with_name("report.html.j2")


def write_report(folder: Path) -> Path:
    """Write ``report.html`` from ``report.json`` and the pictures of a study's folder.

    Raises
    ------
    RequestError
        If the folder holds no finished study.
    """
    source = folder / "report.json"
    if not source.is_file():
        raise RequestError(
            f"{folder} holds no finished study",
            allowed="a folder with report.json",
            hint="latticescape study IMAGES --species Mo,Re --out study",
        )
    facts = json.loads(source.read_text("utf-8"))

    def data(path: str) -> str:
        return f"data:image/png;base64,{b64encode((folder / path).read_bytes()).decode()}"

    def figure(value: Any, form: str) -> str:
        return "–" if value is None else form % value

    page = Environment(autoescape=True).from_string(PAGE.read_text("utf-8"))
    bibtex = BIBTEX.replace("VERSION", str(facts["versions"].get("latticescape", "")))
    out = folder / "report.html"
    with atomic_write(out) as draft:
        draft.write_text(
            page.render(
                f=facts,
                data=data,
                figure=figure,
                number=value_text,
                references=REFERENCES,
                bibtex=bibtex,
            ),
            "utf-8",
        )
    return out
