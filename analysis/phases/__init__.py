"""Phase transitions from simulated curves: crossings, ridges, exponents, diagrams."""
