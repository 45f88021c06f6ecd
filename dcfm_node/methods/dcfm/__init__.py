"""Decentralized Compositional Flow Matching: DCFM-A and DCFM-B."""
