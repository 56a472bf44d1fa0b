"""One module an op. Each defines ``cases(device: torch.device) -> list[Case]``; its file name is the family's name."""
