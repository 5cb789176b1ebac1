"""Tasks: what is predicted, with the kinds of label, the losses and the metrics."""
