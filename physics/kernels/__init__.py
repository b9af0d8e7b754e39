"""Monte Carlo kernels: the protocol that sweeps rely on, update rules, and sampling."""
