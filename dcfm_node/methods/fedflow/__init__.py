"""FedFlow: one flow by federated averaging (Tun et al.), a baseline."""
