"""What a comparison of models establishes, in words."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from latticescape.analysis.inference.landscapes.landscape import RANDOM

Floats = npt.NDArray[np.float64]

# Differences of the standard BIC below these are evidence of this strength; below WEAK, of none.
WEAK = 2.0
EVIDENCE = {6.0: "positive", 10.0: "strong"}
UNLIKELY = 0.05


def verdict(table: xr.Dataset) -> str:
    """Which model the BIC prefers, how strongly, and whether its p-value rejects it.

    The BIC is that of the exact likelihood if the table has it, else that of S².

    Kass and Raftery, J. Am. Stat. Assoc. 90, 773 (1995): a ΔBIC (of the standard convention) below
    2 is not worth more than a bare mention, above 6 it is strong evidence, above 10 very strong.

    Examples
    --------
    >>> verdict(xr.Dataset(
    ...     {"bic": ("model", [71.4, 73.4]), "weight": ("model", [0.88, 0.12]),
    ...      "p_value_total": ("model", [0.2, 0.1])},
    ...     {"model": ["pair", "random"]}, {"bic_convention": "lecture"}))
    'pair is preferred to random: positive evidence (ΔBIC = 4.0, weight 0.88)'
    """
    criterion = criterion_of(table)
    order = np.argsort(criterion, kind="stable")
    best = str(table["model"].values[order[0]])
    exact = "bic_exact" in table
    weights = table["weight_exact" if exact else "weight"]
    weight, p = (float(values[order[0]]) for values in (weights, table["p_value_total"]))
    if len(order) == 1:
        sentence = f"{best} is the only model"
    else:
        second = str(table["model"].values[order[1]])
        ahead = float(criterion[order[1]] - criterion[order[0]])
        by = " of the exact likelihood" if exact else ""
        numbers = f"(ΔBIC{by} = {ahead:.1f}, weight {weight:.2f})"
        grade = next((g for most, g in EVIDENCE.items() if ahead < most), "very strong")
        sentence = (
            f"{best} and {second} cannot be distinguished {numbers}"
            if ahead < WEAK
            else f"{best} is preferred to {second}: {grade} evidence {numbers}"
        )
    if not p < UNLIKELY:
        return sentence
    return f"{sentence}, but it is rejected by {p_text(p, _floor(table, best))}"


def criterion_of(table: xr.Dataset) -> Floats:
    """What ranks the models, the smaller the better: the BIC in the standard convention.

    Examples
    --------
    >>> criterion_of(xr.Dataset({"bic": ("model", [1.0])}, attrs={"bic_convention": "lecture"}))
    array([2.])
    """
    if "bic_exact" in table:
        return table["bic_exact"].to_numpy()
    return table["bic"].to_numpy() * (2.0 if table.attrs["bic_convention"] == "lecture" else 1.0)


def _floor(table: xr.Dataset, model: str) -> float:
    """The smallest p-value that the draws can give; 0 if none were drawn."""
    return float(table["p_value_floor"].sel(model=model)) if "p_value_floor" in table else 0.0


def p_text(p: float, floor: float) -> str:
    """A p-value, as an upper bound if it is the smallest that the draws can give.

    Examples
    --------
    >>> p_text(0.001, floor=0.001), p_text(0.02, floor=0.001)
    ('p ≤ 0.001', 'p = 0.02')
    """
    return f"p {'≤' if p <= floor * (1 + 1e-9) else '='} {p:.2g}"


def established(table: xr.Dataset) -> str:
    """Where random mixing is excluded and where not, and whether any model describes all images.

    Parameters
    ----------
    table
        As :func:`latticescape.compare` returns it.

    Returns
    -------
    str
        One or two sentences; empty if there are no p-values.

    Examples
    --------
    >>> established(xr.Dataset(
    ...     {"p_value": (("model", "image"), [[0.4, 0.01]]), "p_value_total": ("model", [0.02]),
    ...      "p_value_floor": ("model", [0.01])},
    ...     {"model": ["random"], "image": ["re05", "re55"]}))
    'Random mixing is excluded at re55 (p ≤ 0.01), and not excluded at re05 (p = 0.4).'
    """
    sentences = []
    models = [str(model) for model in table["model"].values]
    if RANDOM in models:
        p = table["p_value"].sel(model=RANDOM).to_numpy()
        floor = _floor(table, RANDOM)
        named = [
            (value < UNLIKELY, f"{image} ({p_text(value, floor)})")
            for image, value in zip(table["image"].values, p, strict=True)
            if np.isfinite(value)
        ]
        out = listed_in_words([text for excluded, text in named if excluded])
        still = listed_in_words([text for excluded, text in named if not excluded])
        if out and still:
            sentences.append(f"Random mixing is excluded at {out}, and not excluded at {still}.")
        elif out or still:
            sentences.append(f"Random mixing is {'' if out else 'not '}excluded at {out or still}.")
    totals = table["p_value_total"].to_numpy()
    if len(models) > 1 and np.all(totals < UNLIKELY):
        sentences.append("None of the models describes all images.")
    return " ".join(sentences)


def listed_in_words(words: Sequence[str]) -> str:
    """Words joined by commas and a final "and".

    Examples
    --------
    >>> listed_in_words(["a"]), listed_in_words(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def explanations(
    table: xr.Dataset, factors: xr.Dataset, left_out: xr.Dataset | None = None
) -> tuple[str, ...]:
    """Why other criteria than the BIC, which ranks the models, prefer another model.

    Parameters
    ----------
    table, factors, left_out
        Of the same models: as :func:`latticescape.compare`, :func:`latticescape.bayes_factors` and
        :func:`latticescape.leave_one_out` return them.

    Returns
    -------
    tuple of str
        A sentence for each criterion that disagrees, and one on the most influential image.

    Examples
    --------
    >>> two = {"model": ["pair", "random"]}
    >>> table = xr.Dataset({"bic": ("model", [70.0, 74.0]), "s2_total": ("model", [0.018, 0.02]),
    ...     "parameters": ("model", [1, 0]), "p_value_total": ("model", [0.2, 0.1])}, two,
    ...     {"bic_convention": "standard"})
    >>> factors = xr.Dataset({"ln_evidence": ("model", [-40.0, -39.5]),
    ...     "prior": ("model", ["w1 -1 … 1", "none"])}, two)
    >>> for line in explanations(table, factors): print(line[:76])
    The Bayes factor prefers random instead (ln B = 0.5, not worth a mention): i
    """
    models = [str(model) for model in table["model"].values]
    if len(models) < 2:
        return ()
    best = models[int(np.nanargmin(criterion_of(table)))]
    if "bic_exact" in table:
        return _of_independent(table, factors, left_out, best)
    found = []
    closest = models[int(np.nanargmin(table["s2_total"].to_numpy()))]
    if closest != best:
        more = int(table["parameters"].sel(model=closest) - table["parameters"].sel(model=best))
        found.append(
            f"S² is smaller for {closest}, but not by enough for its {more} further "
            f"parameter{'s' if more > 1 else ''}, which the BIC counts."
        )
    evidence = factors["ln_evidence"].sel(model=models).to_numpy()
    likely = models[int(np.nanargmax(evidence))]
    if likely != best:
        ahead = float(evidence[models.index(likely)] - evidence[models.index(best)])
        strength = f"ln B = {ahead:.1f}{', not worth a mention' if ahead < 1 else ''}"
        priors = "; ".join(f"{m}: {factors['prior'].sel(model=m).item()}" for m in (best, likely))
        found.append(
            f"The Bayes factor prefers {likely} instead ({strength}): it averages the likelihood "
            f"over the grid ({priors}), so a wide grid counts against a model. The BIC does not "
            "know the grid."
        )
    totals = table["p_value_total"]
    if float(totals.sel(model=best)) < UNLIKELY:
        spared = [m for m in models if float(totals.sel(model=m)) >= UNLIKELY]
        if spared:
            found.append(
                f"{listed_in_words(spared)} {'is' if len(spared) == 1 else 'are'} not rejected by "
                f"the p-value, but {best} is: the BIC compares models with each other, the p-value "
                "compares each with the images."
            )
    if left_out is None:
        return tuple(found)
    predicted = left_out["s2_total"].sel(model=models).to_numpy()
    foresees = models[int(np.nanargmin(predicted))]
    if foresees != best:
        excess = left_out["s2"].sel(model=best) - left_out["s2"].sel(model=foresees)
        worst = str(left_out["image"].values[int(np.nanargmax(excess.to_numpy()))])
        found.append(
            f"Images left out of the fit are predicted better by {foresees} "
            f"(S² = {predicted[models.index(foresees)]:.4f}) than by {best} "
            f"({predicted[models.index(best)]:.4f}), mostly {worst}: the other images do not "
            f"support what {best} gains there by its fit."
        )
    return (*found, _influence(table, left_out, best))


def _of_independent(
    table: xr.Dataset, factors: xr.Dataset, left_out: xr.Dataset | None, best: str
) -> tuple[str, ...]:
    """Which criteria of S² prefer another model than the exact likelihood."""
    preferred = {
        "the BIC of S²": table.sortby("bic"),
        "the Bayes factor": factors.sortby("ln_evidence", ascending=False),
    }
    if left_out is not None:
        preferred["the images left out"] = left_out.sortby("s2_total")
    others: dict[str, list[str]] = {}
    for name, ranked in preferred.items():
        if (first := str(ranked["model"].values[0])) != best:
            others.setdefault(first, []).append(name)
    sentences = (
        f"{listed_in_words(names)} prefer{'s' if len(names) == 1 else ''} {model}: "
        "they take neighbourhoods as independent, but neighbourhoods share atoms, which the exact "
        "likelihood knows."
        for model, names in others.items()
    )
    return tuple(sentence[0].upper() + sentence[1:] for sentence in sentences)


def _influence(table: xr.Dataset, left_out: xr.Dataset, best: str) -> str:
    """What the BIC prefers without the image that supports the preferred model most."""
    models = [str(model) for model in table["model"].values]
    n = left_out["n_others"].to_numpy()
    k = table["parameters"].to_numpy()[:, None]
    without: Floats = 4 * n * left_out["s2_others"].sel(model=models).to_numpy() + k * np.log(n)
    row = models.index(best)
    rivals = np.delete(np.arange(len(models)), row)
    lead = (without[rivals] - without[row]).min(axis=0)
    image = int(np.nanargmin(lead))
    rival = models[int(rivals[np.nanargmin(without[rivals, image])])]
    name, ahead = str(left_out["image"].values[image]), float(lead[image])
    start = f"Without {name}, the most influential image,"
    if ahead <= -WEAK:
        return f"{start} {rival} is preferred to {best} (ΔBIC = {-ahead:.1f})."
    if ahead < WEAK:
        return f"{start} {best} and {rival} cannot be distinguished (ΔBIC = {abs(ahead):.1f})."
    return f"{start} {best} is still preferred to {rival} (ΔBIC = {ahead:.1f})."
