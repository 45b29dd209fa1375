"""Circuit texts: written once, run on plain bits, by the garbler and by the evaluator."""
