"""zenwatch/web: who may post what, and what is answered."""
