"""The figures of a report: charts of numbers, and pictures of predictions."""
