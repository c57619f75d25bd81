"""What doctor asks the API server: whether it answers, what it serves, what an account may do, how many objects there are."""
