"""zenwatch/web: who may ask what, and what is answered."""
