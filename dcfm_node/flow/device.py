"""Chooses the device that torch computes on, for the whole package."""

import torch

from dcfm_node.errors import UserError


def choose(wish: str, *, where: str, instead: str, index: int = 0) -> torch.device:
    """The device that a setting names, after one trial computation.

    Args:
        wish: "auto" (CUDA where there is a GPU), "cpu" or "cuda".
        where: name of the setting, for errors.
        instead: the fix for errors, such as another value of the setting.
        index: which GPU, from 0.

    Raises:
        UserError: the machine does not have the device, or the device does not work.
    """
    there = torch.cuda.is_available()
    if wish == "cpu" or (wish == "auto" and not there):
        return torch.device("cpu")
    if wish not in ("auto", "cuda"):
        raise UserError(f"the device {wish!r} does not exist", where=where, fix=instead)
    if not there:
        built = torch.version.cuda is not None
        raise UserError(
            "there is no GPU that torch can use: "
            + ("no driver or no device answers" if built else "this torch is built for CPUs only"),
            where=where,
            fix=f"{instead}, or "
            + ("see 'nvidia-smi'" if built else "install a build of torch for CUDA"),
        )
    try:
        torch.cuda.set_device(index)
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        raise UserError(
            f"the GPU cannot be used: {str(error).splitlines()[0]}",
            where=where,
            fix=f"see 'nvidia-smi', or {instead}",
        ) from error
    return torch.device("cuda", torch.cuda.current_device())
