"""What several commands use: the cluster that was named, the running process, the stored records, tables."""
