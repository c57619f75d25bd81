"""From a request on a webhook's path to its hook: the body is bounded in size and time."""
