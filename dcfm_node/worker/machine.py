"""`python -P -m dcfm_node.worker.machine`: what torch finds on this machine, for `check`.

Reads one line of JSON (`messages.Asked`), writes one (`messages.Machine`), and reads no data.
"""

import sys
from math import prod

import torch

from dcfm_node.errors import UserError
from dcfm_node.flow.device import choose
from dcfm_node.flow.networks import schema
from dcfm_node.wire.envelope import decode_manifest
from dcfm_node.worker.messages import Asked, Machine


def found(asked: Asked) -> Machine:
    """What torch finds, as far as it gets."""
    made = Machine(torch=torch.__version__)
    try:
        device = choose(asked.device, where="worker.device", instead='set device = "cpu"')
        made = made.model_copy(update={"device": str(device)})
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            name = torch.cuda.get_device_name(device)
            made = made.model_copy(update={"gpu": name, "gpu_free_bytes": free})
        if asked.manifest:
            tensors = schema(decode_manifest(bytes.fromhex(asked.manifest))).values()
            made = made.model_copy(update={"numbers": sum(prod(shape) for _, shape in tensors)})
    except UserError as error:
        return made.model_copy(update={"error": error.what, "fix": error.fix})
    return made


if __name__ == "__main__":
    print(found(Asked.model_validate_json(sys.stdin.readline())).model_dump_json(), flush=True)
