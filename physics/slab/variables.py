"""What a Dataset of a segregation slab holds."""

from latticescape.physics.variables import Variable

ESTIMATES = (
    Variable("energy", (), "float64", "{energy}", "energy per A-site", "⟨E⟩/N"),
    Variable("heat_capacity", (), "float64", "R", "heat capacity per A-site", "(⟨E²⟩-⟨E⟩²)/N(RT)²"),
    Variable(
        "energy_drift",
        (),
        "float64",
        "{energy}",
        "energy per A-site, second half of the samples minus first",
        "many standard errors from zero: not equilibrated",
    ),
    Variable("ca_fraction", ("layer",), "float64", "1", "Ca fraction of a layer's A-sites"),
)

SUMS = (
    Variable(
        "occupation",
        ("replica", "layer", "species"),
        "float64",
        "1",
        "share of a layer's places that a species holds, of each replica",
        "La and Ca on A-sites; O on the hollows of layer 0",
    ),
    Variable(
        "histogram",
        ("oxygen", "configuration"),
        "int64",
        "count",
        "counts of hollows by the arrangement around them, all replicas",
    ),
    Variable(
        "histogram_replica",
        ("replica", "oxygen", "configuration"),
        "int64",
        "count",
        "counts of hollows by the arrangement around them, of each replica",
    ),
    Variable(
        "features",
        ("replica", "feature"),
        "float64",
        "1",
        "mean feature of the whole slab, of each replica",
        "E = couplings · features",
    ),
    Variable("composition", (), "float64", "1", "realised fraction of Ca", "round(x·N)/N"),
    Variable("coverage", (), "float64", "1", "hollows with oxygen", "round(coverage·L²)/L²"),
)
