"""What is predicted: tasks, their kinds of label, losses and metrics."""
