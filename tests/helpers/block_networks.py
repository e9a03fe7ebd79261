"""Networks that hold every block, with parameters, states, errors and targets that are no forward pass."""

import numpy as np

import minipc as pc

TANH, PRE = {"activation": "tanh"}, {"activation": "tanh", "form": "pre"}
NETWORKS = {
    "images": (
        (2, 6, 5),
        [
            ("Conv2d", {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "padding": 1, **TANH}),
            ("MaxPool2d", {"kernel_size": 2, "stride": 1}),
            (
                "Residual",
                {
                    "blocks": [
                        [
                            "Conv2d",
                            {"in_channels": 3, "out_channels": 3, "kernel_size": 3, "padding": 1, **PRE},
                        ],
                        ["BatchNorm2d", {"channels": 3, "statistics": "frozen"}],
                    ]
                },
            ),
            ("AvgPool2d", {"kernel_size": 2}),
            ("Flatten", {}),
            ("LayerNorm", {"shape": [12]}),
            ("Dense", {"n_in": 12, "n_out": 4, "scale": 0.4, "bias": False}),
        ],
    ),
    "images, batch statistics": (
        (1, 4, 4),
        [
            ("Conv2d", {"in_channels": 1, "out_channels": 2, "kernel_size": 2, "activation": "gelu"}),
            ("BatchNorm2d", {"channels": 2}),
            ("Conv2d", {"in_channels": 2, "out_channels": 3, "kernel_size": 3, **TANH}),
            ("Flatten", {}),
            ("Dense", {"n_in": 3, "n_out": 4}),
        ],
    ),
    "indices": (
        (4,),
        [
            ("Embedding", {"vocabulary": 5, "width": 3}),
            ("Flatten", {}),
            ("Dense", {"n_in": 12, "n_out": 6, **TANH}),
            (
                "Residual",
                {"blocks": [["LayerNorm", {"shape": [6]}], ["Dense", {"n_in": 6, "n_out": 6, **PRE}]]},
            ),
            ("Dense", {"n_in": 6, "n_out": 4}),
        ],
    ),
}


def problem(name, seed=0, B=3, loss="cross_entropy"):
    """Network, [name, config] pairs, parameters, states that are no forward pass, errors, target."""
    rng = np.random.default_rng(seed)
    shape, pairs = NETWORKS[name]
    net = pc.Network([pc.registry.build(*pair) for pair in pairs], loss, input_shape=shape)
    params = [{k: 0.3 * rng.standard_normal(a.shape) + a for k, a in p.items()} for p in net.init(seed=seed)]
    for p in params:
        p.update({k: abs(a) + 0.5 for k, a in p.items() if k.endswith("var")})
    indices = pairs[0][0] == "Embedding"
    x = rng.integers(0, 5, (B, *shape)) if indices else rng.standard_normal((B, *shape))
    free = [rng.standard_normal((B, *shape)) for shape in net.shapes[1:-1]]
    e = [None, *(rng.standard_normal(v.shape) for v in free)]
    y = rng.dirichlet(np.ones(4), size=B)
    return net, pairs, params, x, [x, *free], e, y
