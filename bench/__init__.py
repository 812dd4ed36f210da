"""The figures: Modelyard measured against others and against the bare model, in one run on one machine."""
