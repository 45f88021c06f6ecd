"""DDM (McAllister et al.) and DFD (Hahn and Lee): independent experts, mixed when sampled."""
