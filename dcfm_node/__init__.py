"""dcfm-node: Decentralized Compositional Flow Matching between private silos."""

__version__ = "0.1.0"
