"""The exact likelihood of counts: features of a configuration, and ln Z of the sweep's points."""
