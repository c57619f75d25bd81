"""Reports that tools leave in the cluster."""
