"""Model comparison: S², p-values, information criteria and evidence."""
