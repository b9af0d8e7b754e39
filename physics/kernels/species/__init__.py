"""The kernel of models with any species and any clusters: a byte for each site and replica."""
