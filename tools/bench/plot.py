# SPDX-License-Identifier: Apache-2.0
"""A picture of what requests cost: service, floor and constant answer."""

SIDES = {"service": "#30638e", "floor": "#8fb8de", "constant": "#d1d1d1"}


def draw(measured: dict[str, dict[str, list[float]]], path: str) -> None:
    """Draw bars of CPU on a logarithmic scale, a field for each driver.

    :param measured: driver -> case -> microseconds of CPU for a request of
        the service, the floor and a constant answer.
    """
    # Only those who want the picture need it.
    from matplotlib import pyplot

    figure, fields = pyplot.subplots(
        1,
        len(measured),
        sharey=True,
        squeeze=False,
        figsize=(4 * len(measured) + 1, 5),
        layout="constrained",
    )
    for field, (driver, cases) in zip(
        fields[0], measured.items(), strict=True
    ):
        for number, (side, colour) in enumerate(SIDES.items()):
            places = [row + (number - 1) * 0.27 for row in range(len(cases))]
            values = [medians[number] for medians in cases.values()]
            field.barh(places, values, 0.25, label=side, color=colour)
        field.set_title(driver)
        field.set_xscale("log")
        field.set_xlim(50, 20_000)
        field.grid(axis="x", alpha=0.3)
        field.set_xlabel("CPU of workers for a request, microseconds")
        field.set_yticks(range(len(cases)), list(cases))
    fields[0][0].invert_yaxis()
    fields[0][-1].legend(loc="lower right")
    figure.savefig(path)
