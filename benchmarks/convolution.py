"""Forward and backward pass of VGG-5 on 32 x 32 x 3 images, float32, one thread, beside PyTorch if it is installed.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/convolution.py [repeats]

Four convolutions 3 x 3 (128, 256, 512, 512 channels, padding 1, relu), each with a 2 x 2 maximum, then one Dense
block to 10 outputs; 64 images. Each line is the best of the repeats, in milliseconds: the forward pass, the backward
pass to all parameters (not to the image), both. First the largest relative difference of a parameter's gradient.
"""

import itertools
import sys
import time

import numpy as np

import minipc as pc

BATCH, CHANNELS = 64, (3, 128, 256, 512, 512)


def network():
    """VGG-5 and its parameters."""
    blocks = []
    for C, C_out in itertools.pairwise(CHANNELS):
        blocks += [pc.Conv2d(C, C_out, 3, padding=1, activation="relu", init="kaiming"), pc.MaxPool2d(2)]
    net = pc.Network([*blocks, pc.Flatten(), pc.Dense(2048, 10)], input_shape=(3, 32, 32))
    return net, net.init(seed=0, dtype="float32")


def best(function, repeats):
    """Milliseconds of the fastest of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def forward(net, params, x):
    """Output and tapes."""
    tapes = []
    for block, p in zip(net.blocks, params, strict=True):
        x, tape = block.forward(p, x)
        tapes.append(tape)
    return x, tapes


def backward(net, params, tapes, v):
    """Gradient of every parameter."""
    grads = []
    for l in reversed(range(len(net.blocks))):
        v, g = net.blocks[l].vjp(params[l], tapes[l], v, input=l > 0)
        grads.insert(0, g)
    return grads


def torch_programs(params, x, v):
    """(forward alone, forward and backward, the gradients) of PyTorch."""
    import torch
    import torch.nn.functional as nn

    torch.set_num_threads(1)
    theta = [{k: torch.tensor(a, requires_grad=True) for k, a in p.items()} for p in params]
    x, v = torch.tensor(x), torch.tensor(v)

    def predict():
        s = x
        for p in theta[:8:2]:
            s = nn.max_pool2d(nn.relu(nn.conv2d(s, p["W"], p["b"], padding=1)), 2)
        return nn.linear(s.flatten(1), theta[9]["W"], theta[9]["b"])

    def alone():
        with torch.no_grad():
            predict()

    def both():
        for p in theta:
            for a in p.values():
                a.grad = None
        predict().backward(v)

    both()
    return alone, both, [{k: a.grad.numpy().copy() for k, a in p.items()} for p in theta]


def main(repeats=5):
    """Print the table."""
    rng, (net, params) = np.random.default_rng(0), network()
    x = rng.standard_normal((BATCH, 3, 32, 32)).astype("float32")
    v = rng.standard_normal((BATCH, 10)).astype("float32")
    _, tapes = forward(net, params, x)
    up = best(lambda: forward(net, params, x), repeats)
    down = best(lambda: backward(net, params, tapes, v), repeats)
    try:
        alone, both, expected = torch_programs(params, x, v)
        print(f"difference  {pc.check.compare(backward(net, params, tapes, v), expected).worst:.1e}")
    except ImportError:
        alone = None
    print(f"{'':8}{'forward':>9}{'backward':>9}{'both':>9}")
    print(f"{'minipc':8}{up:9.0f}{down:9.0f}{up + down:9.0f}")
    if alone:
        t_up, t_both = best(alone, repeats), best(both, repeats)
        print(f"{'torch':8}{t_up:9.0f}{t_both - t_up:9.0f}{t_both:9.0f}")
        print(f"{'ratio':8}{up / t_up:9.2f}{down / (t_both - t_up):9.2f}{(up + down) / t_both:9.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
