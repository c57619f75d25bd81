"""Build the binaries of the control plane: the recipe, the compiler, the build."""
