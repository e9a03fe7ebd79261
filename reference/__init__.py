"""Independent oracles, written from the equations alone: autograd, index loops and closed forms."""
