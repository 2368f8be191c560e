"""Results as pictures: every case that names a plot is a point of it, every contestant a line."""

import collections

# what it shows: the axes, and whether each is logarithmic
DISTRIBUTIONS = ("latency", "black-hole")
STYLES = ("-", "--", ":", "-.", (0, (1, 4)), (0, (8, 2)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2, 1, 2, 1, 2)))
PLOTS = {
    "throughput": ("throughput over the round trip", "round trip, ms", "MB/s", False, True),
    "hosts": ("first touch of many hosts", "hosts", "s", True, True),
    "readers": ("one model, many readers", "readers", "s", True, True),
    "latency": ("latency of a small file", "ms", "share of the files", True, False),
    "black-hole": ("the same while another host is a black hole", "ms", "share of the files", True, False),
    "memory": ("memory of sessions", "sessions", "MiB", True, True),
}


def lines(cases, kind):
    """{line: [(x, y)…]}; of a distribution, each sample's place among all."""
    found = collections.defaultdict(list)
    for case in cases:
        plot = case["plot"]
        if not plot or plot[0] != kind:
            continue
        for who, result in case["results"].items():
            line = ", ".join([who, *plot[2:]])
            if kind in DISTRIBUTIONS:
                samples = sorted(result.get("samples", ()))
                found[line] += [(x, (i + 1) / len(samples)) for i, x in enumerate(samples)]
            elif "median" in result and ", " not in who:  # "scoutfs, 1 host" is there to compare with
                found[line].append((plot[1], result["mb_per_s"] if kind == "throughput" else result["median"]))
    return {line: sorted(points) for line, points in found.items() if points}


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
        whos = list(dict.fromkeys(line.split(", ")[0] for line in found))
        rests = list(dict.fromkeys(line.partition(", ")[2] for line in found))
        for line, points in found.items():
            who, _, rest = line.partition(", ")
            axes.plot(*zip(*points), label=line, color=f"C{whos.index(who)}",
                      linestyle=STYLES[rests.index(rest) % len(STYLES)],
                      marker="" if kind in DISTRIBUTIONS else "o", linewidth=2.5 if who == "scoutfs" else 1.2)
        axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale="log" if x_log else "linear",
                 yscale="log" if y_log else "linear")
        axes.grid(True, which="both", alpha=0.25)
        axes.legend(fontsize="small")
        paths.append(f"{base}-{kind}.svg")
        figure.savefig(paths[-1], bbox_inches="tight")
        pyplot.close(figure)
    return paths
