# SPDX-License-Identifier: Apache-2.0
"""A picture of what requests cost, beside Nova's own answers."""

COLOURS = ("#b5443c", "#30638e", "#8fb8de")


def draw(measured: dict[str, dict[str, float]], path: str) -> None:
    """Draw bars of CPU on a logarithmic scale.

    :param measured: case -> side -> milliseconds of CPU for a request.
    """
    # Only those who want the picture need it.
    from matplotlib import pyplot

    figure, field = pyplot.subplots(figsize=(8, 5), layout="constrained")
    sides = list(next(iter(measured.values())))
    height = 0.8 / len(sides)
    for number, (side, colour) in enumerate(zip(sides, COLOURS, strict=True)):
        places = [row + number * height for row in range(len(measured))]
        values = [costs[side] for costs in measured.values()]
        bars = field.barh(places, values, height, label=side, color=colour)
        labels = [f"{v:.0f}" if v >= 10 else f"{v:.2g}" for v in values]
        field.bar_label(bars, labels, padding=2, fontsize=7)
    field.set_xscale("log")
    # The label of the longest bar needs space, too.
    field.set_xmargin(0.1)
    field.grid(axis="x", alpha=0.3)
    field.set_xlabel("CPU of all processes for a request, milliseconds")
    middle = height * (len(sides) - 1) / 2
    field.set_yticks([row + middle for row in range(len(measured))])
    field.set_yticklabels(measured)
    field.invert_yaxis()
    field.legend(loc="lower right")
    figure.savefig(path)
