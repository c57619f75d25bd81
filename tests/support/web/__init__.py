"""What the tests of the server and its answers share."""
