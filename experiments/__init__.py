"""The experiments: what published work and our own theory say should happen, measured with this code.

``python -m experiments`` lists them, ``python -m experiments 7`` runs one. Each is a function with a docstring
that states the question, the exact setting and the equations; its result is a table of lines *measured,
expected, lands*, where the criterion of landing stands beside the line. The expected numbers come from earlier,
independent runs of the same experiments (small NumPy programs, one seed), whose setting was written down only
roughly; where ours had to be chosen, the docstring says so, and where a line does not land, it says why.

``python -m experiments.mnist`` is longer than a row: accuracy and cost of the rules on all of MNIST, with a search of
the learning rate that is the same for every rule, in ``MNIST.md``.

``python -m experiments.bias``, ``.copy``, ``.nanodrone`` and ``.adaptation`` are about time: predictive coding, tPC-RTRL, RTRL
and BPTT, three seeds, in ``TEMPORAL.md``.

Rows 10 to 12 (generation, memory, graphs) are about parts that do not exist yet.
"""
