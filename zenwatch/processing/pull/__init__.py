"""Keep the store in agreement with the reports that tools leave in the cluster."""
