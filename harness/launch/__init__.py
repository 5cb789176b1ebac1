"""How is a run started on a cluster that is not there yet: on SLURM, on Kubernetes, or in a cloud?"""
