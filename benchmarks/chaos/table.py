"""The table: a row a kind, in Markdown, and what the user saw, word by word."""

from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks.chaos.cases import Outcome
from benchmarks.chaos.strikes import KINDS
from benchmarks.chaos.user import HUNG, Typed

HEAD = (
    "What happens",
    "Runs",
    "Blocks lost",
    "Blocks recomputed",
    "Most that may be",
    "Runs with more",
    "Same bytes",
    "Same attempts",
    "To type",
)


def allowed(outcome: Outcome) -> int:
    """Blocks that may have to be computed again."""
    return outcome.damaged or outcome.in_flight


def table(outcomes: Sequence[Outcome]) -> str:
    """All rows, and below them what was printed."""
    rows = [_row(name, some) for name, some in _by_kind(outcomes)]
    lines = [_line(HEAD), _line(["---"] * len(HEAD)), *map(_line, rows)]
    return "\n".join(
        [*lines, "", *(line for n, some in _by_kind(outcomes) for line in _lines_of(n, some))]
    )


def _by_kind(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[Outcome]]]:
    for name in KINDS:
        some = [outcome for outcome in outcomes if outcome.case.kind == name]
        if some:
            yield name, some


def _row(name: str, some: list[Outcome]) -> list[str]:
    runs = len(some)
    return [
        KINDS[name].title,
        str(runs),
        str(sum(outcome.lost for outcome in some)),
        str(sum(outcome.recomputed for outcome in some)),
        str(sum(allowed(outcome) for outcome in some)),
        str(sum(outcome.recomputed > allowed(outcome) for outcome in some)),
        f"{sum(outcome.same for outcome in some)} of {runs}",
        f"{sum(outcome.same and not outcome.differing for outcome in some)} of {runs}",
        _counted(Counter(_to_type(outcome) for outcome in some)),
    ]


def _to_type(outcome: Outcome) -> str:
    if outcome.trouble:
        return f"no way: {outcome.trouble}"
    return ", ".join(f"`{typed.words}`" for typed in outcome.typed[1:]) or "nothing"


def _lines_of(name: str, some: list[Outcome]) -> Iterator[str]:
    """Each line that was printed, with the number of runs that saw it."""
    seen: Counter[str] = Counter()
    for outcome in some:
        seen.update({line: 1 for typed in outcome.typed for line in _lines(typed)})
    yield f"- {KINDS[name].title}: {'nothing' if not seen else ''}".rstrip()
    for line, number in seen.most_common():
        yield f"  - {number} of {len(some)}: `{line}`"


def _lines(typed: Typed) -> list[str]:
    ends = {0: "", HUNG: "it hangs", -9: "Killed"}
    end = ends.get(typed.code, f"exit code {typed.code}")
    return [f"{typed.words}: {line}" for line in (*typed.seen, end) if line]


def _counted(seen: "Counter[str]") -> str:
    if len(seen) == 1:
        return next(iter(seen))
    return "; ".join(f"{words} ({number})" for words, number in seen.most_common())


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
