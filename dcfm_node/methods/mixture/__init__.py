"""DDM (McAllister et al., 2025) and DFD (Hahn and Lee, 2025): independent experts, mixed when
sampling."""
