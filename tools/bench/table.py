# SPDX-License-Identifier: Apache-2.0
"""Tables as the documentation has them."""


def print_rule(widths):
    print_row(widths, *("=" * width for width in widths))


def print_row(widths, *cells):
    row = "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True))
    print(row.rstrip(), flush=True)


def print_table(head, *rows):
    widths = [
        max(map(len, column)) for column in zip(head, *rows, strict=True)
    ]
    print_rule(widths)
    print_row(widths, *head)
    print_rule(widths)
    for row in rows:
        print_row(widths, *row)
    print_rule(widths)
