"""Results as pictures: every case that names a plot is a point of it, every contestant a line."""

import collections

# what it shows: the axes, and whether each is logarithmic
PLOTS = {
    "throughput": ("throughput over the round trip", "round trip, ms", "MB/s", False, True),
    "hosts": ("first touch of many hosts", "hosts", "s", True, True),
    "readers": ("one model, many readers", "readers", "s", True, True),
    "latency": ("latency", "ms", "share of the calls", True, False),
    "memory": ("memory of sessions", "sessions", "MiB", True, True),
}


def lines(cases, kind):
    """{contestant: [(x, y)…]}; of a distribution, each sample's place among all."""
    found = collections.defaultdict(list)
    for case in cases:
        if not case["plot"] or case["plot"][0] != kind:
            continue
        for who, result in case["results"].items():
            if kind == "latency":
                label = " ".join(filter(None, (who, case["plot"][1])))
                samples = sorted(result.get("samples", ()))
                found[label] += [(x, (i + 1) / len(samples)) for i, x in enumerate(samples)]
            elif "median" in result:
                y = result["mb_per_s"] if kind == "throughput" else result["median"]
                found[who].append((case["plot"][1], y))
    return {who: sorted(points) for who, points in found.items() if points}


def draw(cases, base):
    """Writes <base>-<plot>.svg of all that has points; returns their paths."""
    try:
        import matplotlib
    except ImportError:
        print("no plots: python3-matplotlib is not installed")
        return []
    matplotlib.use("svg")
    from matplotlib import pyplot
    paths = []
    for kind, (title, x_label, y_label, x_log, y_log) in PLOTS.items():
        found = lines(cases, kind)
        if not found:
            continue
        figure, axes = pyplot.subplots(figsize=(7, 4.5))
        for who, points in found.items():
            axes.plot(*zip(*points), label=who, marker="" if kind == "latency" else "o",
                      linewidth=2.5 if who.startswith("scoutfs") else 1.2)
        axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale="log" if x_log else "linear",
                 yscale="log" if y_log else "linear")
        axes.grid(True, which="both", alpha=0.25)
        axes.legend()
        paths.append(f"{base}-{kind}.svg")
        figure.savefig(paths[-1], bbox_inches="tight")
        pyplot.close(figure)
    return paths
