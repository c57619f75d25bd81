"""Joins the components into one process: what is built, in which order it starts, and which settings it reads."""
