"""A neuron of one's own, from its equations to a trained network: adaptive thresholds on event-camera digits.

Run with ``python examples/own_neuron.py``; takes some seconds.
"""

import torch

import neuro


class AdaptiveLIF(neuro.Cell):
    """A threshold that rises by ``beta`` with every spike and decays with ``tau_a`` (Bellec et al. 2018)."""

    equations = neuro.Equations(
        "AdaptiveLIF",
        """
        dv/dt = (r*x - v) / tau
        da/dt = -a / tau_a
        spike when v > v_threshold + a
        reset value: v = 0
        reset value: a = a + beta
        """,
        {
            "tau": neuro.Parameter(20e-3, "s", positive=True),
            "tau_a": neuro.Parameter(100e-3, "s", positive=True),
            "r": neuro.Parameter(1.0, "ohm"),
            "v_threshold": neuro.Parameter(1.0, "V"),
            "beta": neuro.Parameter(0.1, "V"),
        },
    )
    learn_default = ("tau", "tau_a")


def main() -> None:
    """Train for a few epochs with SLTT and say what the time constants became."""
    torch.manual_seed(0)
    data = neuro.datasets.digits()
    hidden = AdaptiveLIF(64, dt=data.dt)
    net = neuro.Sequential(neuro.Linear(800, 64), hidden, neuro.Linear(64, 10), neuro.LI(10, dt=data.dt))
    result = neuro.fit(net, data, rule="sltt", loss="max_membrane", epochs=4)
    values = hidden.parameters_si()
    print(f"validation accuracy {result.validation_accuracy:.1%} after {len(result.history)} epochs")
    for name in ("tau", "tau_a"):
        low, high = (1e3 * float(bound) for bound in values[name].aminmax())
        print(f"{name}: {low:.1f} to {high:.1f} ms")


if __name__ == "__main__":
    main()
