"""Distance landscapes: S² between observed and simulated histograms."""
