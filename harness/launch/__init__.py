"""How a run is started on a cluster that is not there yet: on SLURM, on Kubernetes, or in a cloud."""
