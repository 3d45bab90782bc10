"""Virtual machines, virtual GPUs and pictures for the end-to-end tests: standard library and PIL only."""
