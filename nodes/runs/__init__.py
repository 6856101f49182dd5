"""Everything that runs inside the host's sampler, one file per algorithm."""
