"""Studies: from images, or counts, to a verdict and a report, in stages that resume."""
