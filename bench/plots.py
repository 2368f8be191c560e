"""Results as pictures: every case that names a plot is a point of it, every contestant a line; each plot of a kind
("cat, rtt 50") is a picture of its own."""

import collections
import re

DISTRIBUTIONS = ("latency", "black-hole")
STYLES = ("-", "--", ":", "-.")  # of who appears more than once: "scoutfs", "scoutfs, alone"
COLOURS = 10  # that matplotlib has
# what it shows: the axes, and whether each is logarithmic
PLOTS = {
    "throughput": ("throughput over the round trip", "round trip, ms", "MB/s", False, True),
    "hosts": ("first touch of many hosts", "hosts", "s", True, True),
    "readers": ("one model, many readers", "readers", "s", True, True),
    "latency": ("latency of a small file", "ms", "share of the files", True, False),
    "black-hole": ("latency of a small file while another host is a black hole", "ms", "share of the files", True, False),
    "memory": ("memory of sessions", "sessions", "MiB", True, True),
}


def figures(cases):
    """{(a key of PLOTS, or that and its kind): {line: [(x, y)…]}}; of a distribution, each sample's place among all."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for case in cases:
        kind, x, *rest = case["plot"] or (None, None)
        for who, result in case["results"].items() if kind else ():
            if kind in DISTRIBUTIONS:
                samples = sorted(result.get("samples", ()))
                points = [(x, (i + 1) / len(samples)) for i, x in enumerate(samples)]
            elif "median" in result and ", " not in who:  # "scoutfs, 1 host" is there to compare with
                points = [(x, result["mb_per_s"] if kind == "throughput" else result["median"])]
            else:
                continue
            if points:
                found[(kind, *rest)][who] += points
    return {drawn: {line: sorted(points) for line, points in lines.items()} for drawn, lines in found.items()}


def picture(drawn, found, path):
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator
    title, x_label, y_label, x_log, y_log = PLOTS[drawn[0]]
    figure, axes = pyplot.subplots(figsize=(8, 5))
    whos = list(dict.fromkeys(line.split(", ")[0] for line in found))
    rests = list(dict.fromkeys(line.partition(", ")[2] for line in found))
    for line, points in found.items():
        who, _, rest = line.partition(", ")
        axes.plot(*zip(*points), label=line, color=f"C{whos.index(who)}", linestyle=STYLES[rests.index(rest)],
                  marker="" if drawn[0] in DISTRIBUTIONS else "o", linewidth=2.5 if who == "scoutfs" else 1.2)
    axes.set(title=": ".join((title, *drawn[1:])), xlabel=x_label, ylabel=y_label,
             xscale="log" if x_log else "linear", yscale="log" if y_log else "linear")
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(LogLocator(subs=(2, 5)))
            axis.set_minor_formatter("{x:g}")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)


def draw(cases, base):
    """Writes <base>-<plot>.svg, or <base>-<plot>-<kind>.svg, of all that has points; returns their paths."""
    try:
        import matplotlib
    except ImportError:
        print("no plots: python3-matplotlib is not installed")
        return []
    matplotlib.use("svg")
    paths = []
    for drawn, found in figures(cases).items():
        paths.append("-".join((base, *(re.sub(r"\W+", "-", word) for word in drawn))) + ".svg")
        picture(drawn, found, paths[-1])
    return paths
