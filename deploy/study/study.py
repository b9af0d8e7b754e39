"""``study``: measure images, simulate candidate models, and say which one the images show."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from dask.system import CPU_COUNT

from latticescape.analysis.checks import check_species_names
from latticescape.analysis.counts.counting import count_measured, observed_counts
from latticescape.analysis.counts.tables import stored_counts
from latticescape.analysis.images.measurement import measure
from latticescape.analysis.images.reading import image_paths, read_image
from latticescape.analysis.inference.calibration import calibrate
from latticescape.analysis.inference.comparison.comparison import compare
from latticescape.analysis.inference.comparison.models import landscapes_of
from latticescape.analysis.inference.comparison.verdict import WEAK, criterion_of
from latticescape.analysis.inference.estimation.fit import fit
from latticescape.analysis.inference.landscapes.landscape import RANDOM
from latticescape.analysis.inference.pseudo_likelihood.guess import guess
from latticescape.analysis.inference.sample_size import sample_size
from latticescape.analysis.plots.labels import value_text
from latticescape.analysis.plots.maps import save
from latticescape.analysis.plots.pictures import measured_maps
from latticescape.deploy.clusters.connect import connect
from latticescape.deploy.derived import finite, write_new
from latticescape.deploy.proposed_sweep import proposed_sweep, through_zero
from latticescape.deploy.study.report import write_report
from latticescape.physics.errors import RequestError
from latticescape.physics.models.alloys import PairAlloy
from latticescape.physics.provenance import package_digest, versions
from latticescape.sweeps.execution.run import IncompleteError, execute
from latticescape.sweeps.spec.plan import measure_rate
from latticescape.sweeps.spec.sweep import Sweep
from latticescape.sweeps.store.atomic_write import atomic_write, check_parent
from latticescape.sweeps.store.store import open_sweep

# The candidate models, by the names under which ``guess`` estimates them; the second shell of
# pair_nnn is not in the counts of most lattices, so it has a range of its own.
GUESSED = {"pair": "pair_alloy", "three_body": "three_body_alloy"}
MODELS = (RANDOM, "pair", "pair_nnn", "three_body")
LATTICES = ("triangular", "square", "honeycomb")

# Experiments whose fits are counted to see whether errors can be trusted.
EXPERIMENTS = 40

# Fewest values of an axis when a time budget makes a grid coarser.
FEWEST_VALUES = 7

# k_B in eV/K and R in J/(mol K), CODATA 2018.
BOLTZMANN_EV = 8.617333262e-5
GAS_CONSTANT = 8.314462618


@dataclass(frozen=True)
class Study:
    """A finished study.

    Attributes
    ----------
    folder
        The folder with specs, stores, ``report.json`` and ``report.html``.
    facts
        The content of ``report.json``.
    """

    folder: Path
    facts: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """What is established and what is not, in sentences."""
        return " ".join(self.facts["verdict"])


def study(
    images: str | Path | Sequence[str | Path] = (),
    *,
    counts: str | Path | Sequence[str | Path] = (),
    species: Sequence[str],
    out: str | Path,
    models: Sequence[str] = MODELS,
    temperature: str | None = None,
    hours: float | None = None,
    lattice: str = "auto",
    cluster: str = "local",
    progress: bool = True,
) -> Study:
    """Go from images, or tables of counts, to a verdict and a report.

    Stages: measure, guess, simulate, infer, predict, report. Each writes into the folder and is
    skipped if its results are there and its inputs are unchanged, so the same call goes on after
    an interruption. Specs in ``specs/`` may be edited; the next call simulates what changed.

    Parameters
    ----------
    images
        Files or patterns. Images that cannot be measured are reported and left out.
    counts
        Tables of counts, instead of images.
    species
        Two names, from the darkest to the brightest.
    out
        The folder, new or of the same study.
    models
        Some of ``random``, ``pair``, ``pair_nnn`` and ``three_body`` (triangular lattice only).
    temperature
        Such as ``"1000 K"``: energies are also given in meV and kJ/mol.
    hours
        Time for the simulations; grids are made coarser to keep it.
    lattice
        ``triangular``, ``square``, ``honeycomb``, or ``auto``.
    cluster
        As :func:`latticescape.connect`.
    progress
        Show progress bars.

    Raises
    ------
    RequestError
        If the request is wrong, no image can be used, or the folder is of another study.
    IncompleteError
        If points of a sweep failed; the same call goes on.

    Examples
    --------
    >>> study("images/*.tif", species=["Mo"], out="study")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: ...
    """
    request = _request(images, counts, species, models, temperature, hours, lattice)
    folder = Path(out)
    check_parent(folder)
    _claim(folder, request)
    run = _Stages(folder)
    sources = {str(p): _digest(p.read_bytes()) for p in map(Path, request["sources"])}
    measured = run.stage("measure", [request, sources], lambda: _measure(folder, request))
    observed = stored_counts([folder / measured["store"]])
    guessed = run.stage(
        "guess", [measured["inputs"], hours], lambda: _guess(folder, observed, request)
    )
    specs = {name: Sweep.from_file(folder / spec) for name, spec in guessed["specs"].items()}
    stores = {n: folder / "runs" / f"{n}-{s.digest[:12]}.zarr" for n, s in specs.items()}
    _simulate(specs, stores, cluster, progress)
    digests = {name: sweep.digest for name, sweep in specs.items()}
    sweeps: dict[str, Any] = {name: open_sweep(store) for name, store in stores.items()}
    if RANDOM in models:
        sweeps[RANDOM] = RANDOM
    inferred = run.stage(
        "infer", [measured["inputs"], digests], lambda: _infer(folder, sweeps, observed)
    )
    predicted = run.stage(
        "predict", inferred["inputs"], lambda: _predict(sweeps, observed, inferred)
    )
    facts = _facts(request, measured, guessed, inferred, predicted)
    facts |= {
        "stores": {name: str(store.relative_to(folder)) for name, store in stores.items()},
        "seeds": {name: sweep.seed for name, sweep in specs.items()},
        "digests": digests | {"images": sources},
    }
    _write(folder / "report.json", facts)
    write_report(folder)
    return Study(folder, facts)


def _request(
    images: Any,
    counts: Any,
    species: Sequence[str],
    models: Sequence[str],
    temperature: str | None,
    hours: float | None,
    lattice: str,
) -> dict[str, Any]:
    """The request, checked; all but the time budget identifies the study."""
    names = [str(name) for name in species]
    check_species_names(names, two=True)
    unknown = [name for name in models if name not in MODELS]
    if unknown or not models:
        raise RequestError(
            "a model is unknown", came=", ".join(unknown) or "none", allowed=" | ".join(MODELS)
        )
    if lattice not in ("auto", *LATTICES):
        raise RequestError(
            "the lattice is unknown", came=lattice, allowed=" | ".join(("auto", *LATTICES))
        )
    if hours is not None and not hours > 0:
        raise RequestError("hours must be positive", came=hours, hint="--hours 0.2")
    if bool(images) == bool(counts):
        raise RequestError(
            "a study needs images or tables of counts",
            came="both" if images else "neither",
            allowed="one of the two",
            hint="latticescape study 'images/*.tif' --species Mo,Re --out study",
        )
    if counts:
        given = [counts] if isinstance(counts, (str, Path)) else list(counts)
        sources = [Path(path) for path in given]
        for path in sources:
            if not path.is_file():
                raise RequestError("no such table of counts", came=path, allowed="a CSV file")
    else:
        sources = image_paths(images)
    return {
        "kind": "counts" if counts else "images",
        "sources": [str(path) for path in sources],
        "species": names,
        "models": [str(name) for name in models],
        "lattice": lattice,
        "kelvin": None if temperature is None else kelvin(temperature),
        "hours": hours,
    }


def kelvin(text: str) -> float:
    """A temperature in kelvin.

    Examples
    --------
    >>> kelvin("1000 K"), kelvin("727 °C")
    (1000.0, 1000.15)
    """
    number, _, unit = text.strip().partition(" ")
    shift = {"K": 0.0, "°C": 273.15, "C": 273.15}.get(unit)
    try:
        value = float(number) + (shift if shift is not None else math.nan)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise RequestError(
            "the temperature cannot be read",
            came=text,
            allowed="a number above 0 K with its unit",
            hint='--temperature "1000 K"',
        )
    return round(value, 6)


def _claim(folder: Path, request: dict[str, Any]) -> None:
    """Make the folder, or check that it is of the same study."""
    path, fixed = folder / "study.json", {k: v for k, v in request.items() if k != "hours"}
    if path.exists():
        existing = json.loads(path.read_text("utf-8"))
        for name, value in fixed.items():
            if existing.get(name) != value:
                raise RequestError(
                    f"{folder} is of another study: {name} differs",
                    came=value,
                    allowed=existing.get(name),
                    hint=f"--out {folder}-2",
                )
    elif folder.exists() and any(folder.iterdir()):
        raise RequestError(
            f"{folder} is not empty and no study", allowed="a new folder", hint=f"--out {folder}-2"
        )
    else:
        _write(path, fixed)


class _Stages:
    """Results of stages, each a JSON file with the digest of its inputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stage(
        self, name: str, inputs: object, make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """The stored result of a stage, or a new one if its inputs or the code changed."""
        path = self.folder / "stages" / f"{name}.json"
        digest = _digest(json.dumps([inputs, package_digest()], sort_keys=True).encode())
        if path.exists():
            result: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if result["inputs"] == digest:
                return result
        result = finite(make()) | {"inputs": digest}
        _write(path, result)
        return result


def _measure(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Counts of every image, or of the tables, in a new store."""
    kinds = LATTICES if request["lattice"] == "auto" else (request["lattice"],)
    left_out, warnings, pictures = [], [], {}
    if request["kind"] == "counts":
        observed = _first(
            [
                lambda kind=kind: observed_counts(  # type: ignore[misc]
                    request["sources"], lattice=kind, species=request["species"]
                )
                for kind in kinds
            ]
        )
    else:
        measured: dict[str, tuple[xr.DataArray, xr.Dataset]] = {}
        for path in request["sources"]:
            try:
                image = read_image(path)
                atoms = _best([(kind, image) for kind in kinds], request["species"])
                if reason := atoms.attrs["uncounted"]:
                    raise RequestError(reason)
            except RequestError as error:
                left_out.append(f"{Path(path).name} is left out: {error.problem}")
                continue
            measured[str(image.name)] = image, atoms
        found = [str(atoms.attrs["lattice"]) for _, atoms in measured.values()]
        if not found:
            raise RequestError("no image can be used", came="; ".join(left_out))
        common = max(LATTICES, key=found.count)
        for name in [n for n, (_, a) in measured.items() if a.attrs["lattice"] != common]:
            kind = measured.pop(name)[1].attrs["lattice"]
            left_out.append(f"{name} is left out: its lattice is {kind}, most are {common}")
        observed = count_measured({name: atoms for name, (_, atoms) in measured.items()})
        (folder / "pictures").mkdir(exist_ok=True)
        for name, (image, atoms) in measured.items():
            warnings += [f"{name}: {text}" for text in atoms.attrs["warnings"]]
            save(measured_maps(image, atoms), folder / "pictures" / f"{name}.png")
            pictures[name] = f"pictures/{name}.png"
    store = f"observed-{_digest(observed['counts'].values.tobytes())[:12]}.zarr"
    if not (folder / store).exists():
        write_new(observed, folder / store, "measurement", ["image"])
    if observed.sizes["image"] == 1:
        warnings.append("there is one image: its spread from place to place is unknown")
    return {
        "store": store,
        "lattice": str(observed.attrs["lattice"]),
        "images": [
            {"name": str(name), "n": int(n), "x": float(x), "picture": pictures.get(str(name))}
            for name, n, x in zip(
                observed["image"].values,
                observed["n"].values,
                observed["composition"].values,
                strict=True,
            )
        ],
        "warnings": left_out + warnings,
    }


def _first(attempts: Sequence[Callable[[], xr.Dataset]]) -> xr.Dataset:
    """The result of the first attempt that succeeds; if none does, the first error."""
    errors = []
    for attempt in attempts:
        try:
            return attempt()
        except RequestError as error:
            errors.append(error)
    raise errors[0]


def _best(attempts: Sequence[tuple[str, xr.DataArray]], species: Sequence[str]) -> xr.Dataset:
    """The measurement on the lattice that fits best."""
    found, errors = [], []
    for kind, image in attempts:
        try:
            found.append(measure(image, kind, species))
        except RequestError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return max(found, key=lambda a: a.attrs["placed"] * a.attrs["filled"] * a.attrs["coherence"])


def _guess(folder: Path, observed: xr.Dataset, request: dict[str, Any]) -> dict[str, Any]:
    """A spec file of every candidate model, over the range that the counts suggest."""
    found = guess(observed)
    specs, warnings = {}, []
    for name in request["models"]:
        if name == RANDOM:
            continue
        kind = GUESSED.get(name, GUESSED["pair"])
        if kind not in found.models:
            warnings.append(f"{name} is left out: the lattice does not allow this model")
            continue
        sweep = proposed_sweep(found, observed, kind)
        if name == "pair_nnn":
            sweep = _with_second_shell(sweep)
        if request["hours"] is not None:
            share = request["hours"] * 3600 / sum(m != RANDOM for m in request["models"])
            sweep, enough = _within(sweep, share)
            if not enough:
                warnings.append(
                    f"{name}: {request['hours']:g} hours are too few even for the coarsest grid, "
                    "which is computed"
                )
        specs[name] = f"specs/{name}.toml"
        (folder / "specs").mkdir(exist_ok=True)
        with atomic_write(folder / specs[name]) as draft:
            draft.write_text(f"# {name}, by latticescape study\n{sweep.to_toml()}", "utf-8")
    return {"specs": specs, "warnings": warnings}


def _with_second_shell(sweep: Sweep) -> Sweep:
    """The pair alloy with w2. Counts of the first shell do not bound w2, so both ranges are twice
    as wide as that of w1, and that of w2 is centred at 0; the fit warns if it ends at an edge."""
    w1 = np.asarray(sweep.axes["w1"])
    middle, half = float((w1[0] + w1[-1]) / 2), float(w1[-1] - w1[0])
    grid: dict[str, Any] = {
        "x": sweep.axes["x"].tolist(),
        "w1": through_zero({"start": middle - half, "stop": middle + half, "num": 21}),
        "w2": through_zero({"start": -half, "stop": half, "num": 21}),
    }
    return Sweep(sweep.lattice, PairAlloy(), grid, sweep.schedule, seed=sweep.seed)


def _within(sweep: Sweep, seconds: float) -> tuple[Sweep, bool]:
    """The sweep, on a coarser grid if it takes longer on all cores; whether it then fits."""
    rate = measure_rate(sweep) * CPU_COUNT
    needed = sweep.kernel.updates(sweep.points) / rate
    if needed <= seconds:
        return sweep, True
    axes = [name for name in sweep.axes if name != "x"]
    scale = (seconds / needed) ** (1 / len(axes))
    grid: dict[str, Any] = {"x": sweep.axes["x"].tolist()}
    for name in axes:
        values = np.asarray(sweep.axes[name])
        num = max(FEWEST_VALUES, int(len(values) * scale))
        coarse_axis = {"start": float(values[0]), "stop": float(values[-1]), "num": num}
        grid[name] = through_zero(coarse_axis)
    coarse = Sweep(sweep.lattice, sweep.model, grid, sweep.schedule, seed=sweep.seed)
    return coarse, coarse.kernel.updates(coarse.points) / rate <= seconds


def _simulate(
    specs: Mapping[str, Sweep], stores: Mapping[str, Path], cluster: str, progress: bool
) -> None:
    """Compute or resume every sweep, all on one client."""
    with connect(cluster) as client:
        for name, sweep in specs.items():
            report = execute(sweep, stores[name], client, progress=progress)
            if not report.complete:
                raise IncompleteError(report)


def _infer(folder: Path, sweeps: Mapping[str, Any], observed: xr.Dataset) -> dict[str, Any]:
    """Fit and compare the models, and draw their landscapes."""
    from latticescape.analysis.plots.maps import landscape_map

    landscapes = landscapes_of(sweeps, observed)
    tested = landscapes | {n: model for n, model in sweeps.items() if isinstance(model, str)}
    sweeps_only = {n: model for n, model in sweeps.items() if not isinstance(model, str)}
    table = compare(tested, observed, sweeps=sweeps_only)
    criterion = criterion_of(table)
    models, pictures, notes = [], {}, []
    (folder / "pictures").mkdir(exist_ok=True)
    for k in np.argsort(criterion, kind="stable"):
        name, row = str(table["model"].values[k]), table.isel(model=k)
        estimate = fit(landscapes[name])
        notes += [f"{name}: {note}" for note in estimate.notes]
        if estimate.parameters:
            pictures[name] = f"pictures/landscape-{name}.png"
            save(landscape_map(landscapes[name]), folder / pictures[name])
        models.append(
            {
                "name": name,
                "parameters": estimate.table,
                "s2_total": float(row["s2_total"]),
                "p": float(row["p_value_total"]),
                "bic": float(row["bic"]),
                "weight": float(row["weight_exact" if "weight_exact" in row else "weight"]),
                "delta": float(criterion[k] - criterion.min()),
                "s2": dict(zip(table["image"].values.tolist(), row["s2"].values, strict=True)),
                "p_image": dict(
                    zip(table["image"].values.tolist(), row["p_value"].values, strict=True)
                ),
            }
        )
    best = next((str(m["name"]) for m in models if m["parameters"]), None)
    return {
        "models": models,
        "calibration": None if best is None else _calibration(sweeps[best], observed),
        "verdict": str(table.attrs["verdict"]),
        "pictures": pictures,
        "warnings": notes,
        "bic_convention": str(table.attrs["bic_convention"]),
    }


def _calibration(sweep: xr.Dataset, observed: xr.Dataset) -> dict[str, Any] | None:
    """How often the intervals of a model hold the truth, by parameter; None if that is unknown."""
    try:
        calibration = calibrate(sweep, observed, draws=EXPERIMENTS)
    except RequestError:
        return None
    shares = calibration["coverage"]
    return {
        "draws": EXPERIMENTS,
        "coverage": {
            str(name): shares.sel(parameter=name).values.tolist()
            for name in shares["parameter"].values
        },
    }


def _predict(
    sweeps: Mapping[str, Any], observed: xr.Dataset, inferred: Mapping[str, Any]
) -> dict[str, Any]:
    """How many images would decide between the two best models, if that is open."""
    ranked = inferred["models"]
    if len(ranked) < 2 or ranked[1]["delta"] >= WEAK:
        return {"sentence": "", "images": None}
    # Of two open models the one with more parameters is taken as true.
    second, first = sorted(ranked[:2], key=lambda model: len(model["parameters"]))
    names = first["name"], second["name"]
    try:
        need = sample_size(sweeps[names[0]], observed, against=sweeps[names[1]])
    except RequestError as error:
        return {"sentence": f"No number of images is known: {error.problem}.", "images": None}
    sentence = (
        f"If {names[0]} is true at its best parameters, about {need.images} images like these "
        f"({need.neighborhoods} neighbourhoods, {need.there} so far) would exclude {names[1]} "
        "with 90 % power at the 5 % level."
    )
    return {"sentence": sentence, "images": need.images, "neighborhoods": need.neighborhoods}


def _facts(
    request: Mapping[str, Any],
    measured: Mapping[str, Any],
    guessed: Mapping[str, Any],
    inferred: Mapping[str, Any],
    predicted: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of ``report.json``."""
    best = next((m for m in inferred["models"] if m["parameters"]), None)
    sentence = inferred["verdict"].rstrip(".") + "."
    verdict = [sentence]
    if best is not None:
        texts = [_energy(n, row, request["kelvin"]) for n, row in best["parameters"].items()]
        start = "The" if best is inferred["models"][0] else "If atoms interact, the"
        verdict.append(f"{start} {best['name']} model has {' and '.join(texts)} (standard errors).")
    warnings = measured["warnings"] + inferred["warnings"] + guessed["warnings"]
    known = inferred["calibration"]
    coverage: dict[str, list[float]] = known["coverage"] if known else {}
    for name, shares in coverage.items():
        low = [0.68, 0.95] - 2 * np.sqrt(
            [0.68 * 0.32 / known["draws"], 0.95 * 0.05 / known["draws"]]
        )
        if (np.array(shares) < low).any():
            warnings.append(
                f"errors of {name} are too small: in {EXPERIMENTS} experiments drawn at the fit "
                f"its 68 and 95 % intervals held the truth in {100 * shares[0]:.0f} and "
                f"{100 * shares[1]:.0f} %"
            )
    if predicted["sentence"]:
        verdict.append(predicted["sentence"])
    sources = "--counts " * (request["kind"] == "counts") + " ".join(request["sources"])
    commands = [f"latticescape study {sources} --species {','.join(request['species'])} --out ."]
    commands += [f"latticescape run {spec} --store NEW.zarr" for spec in guessed["specs"].values()]
    return {
        "verdict": verdict,
        "warnings": warnings,
        "calibration": known,
        "images": measured["images"],
        "models": inferred["models"],
        "bic_convention": inferred["bic_convention"],
        "sample_size": predicted["images"],
        "lattice": measured["lattice"],
        "kind": request["kind"],
        "species": request["species"],
        "kelvin": request["kelvin"],
        "pictures": inferred["pictures"],
        "specs": guessed["specs"],
        "commands": commands,
        "versions": versions(),
    }


def _energy(name: str, row: Mapping[str, float], kelvin_: float | None) -> str:
    """A parameter with its error, in k_B T and, at a known temperature, in meV and kJ/mol."""
    text = f"{name} = {value_text(row['value'], row['se'])} k_B T"
    if kelvin_ is None:
        return text
    units = {"meV": 1e3 * BOLTZMANN_EV * kelvin_, "kJ/mol": 1e-3 * GAS_CONSTANT * kelvin_}
    others = [f"{value_text(row['value'] * u, row['se'] * u)} {name}" for name, u in units.items()]
    return f"{text} ({', '.join(others)} at {kelvin_:g} K)"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    """Write JSON in place of what is there, completely or not at all."""
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(finite(dict(facts)), indent=1, ensure_ascii=False), "utf-8")
