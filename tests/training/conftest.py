"""The tests share two cores with others: small tensors gain nothing from threads."""

import torch

torch.set_num_threads(1)
