"""Results as Markdown: a line for each case, and one for each contestant of each; those that we lose among them."""

HEAD = ("| work | on | median (least to most) | to scoutfs | wanted | MB/s | CPU | MiB | servers' CPU |\n"
        "|---|---|---|---|---|---|---|---|---|")
SHORT_HEAD = "| work | scoutfs | the others, to scoutfs: medians (least to most) |\n|---|---|---|"


def number(value):
    """Three figures that count."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 3 - len(str(int(abs(value))))) if abs(value) >= 1 else 3}f}"


def cpu(result):
    if "cpu_s_per_gb" in result:
        return f"{number(result['cpu_s_per_gb'])} s/GB"
    return f"{number(result['cpu_s'])} s"


def wanted(case, who, result):
    target = case["target"].get(who)
    if target is None:
        return ""
    kept = "failed" not in result and "ratio" in result and result["ratio"] >= target
    return f"{number(target)}, {'reached' if kept else '**not reached**'}"


def row(case, who, result, first):
    work = case["name"] + (f" ({case['note']})" if case["note"] else "") if first else ""
    fault = result.get("failed", "").replace("|", "/").replace("\n", " ")[:120]
    if "median" not in result:
        return "| " + " | ".join([work, who, fault, *[""] * 6]) + " |"
    spread = f" ({number(result['least'])} to {number(result['most'])})" if len(result["values"]) > 1 else " (once)"
    more = "".join(f", {name} {value if isinstance(value, str) else number(value)}"
                   for name, value in result["more"].items()) + (f", then {fault}" if fault else "")
    ratio = "" if who == "scoutfs" or "ratio" not in result else number(result["ratio"])
    words = [work, who, f"{number(result['median'])} {case['unit']}{spread}{more}", ratio,
             wanted(case, who, result), number(result["mb_per_s"]) if "mb_per_s" in result else "", cpu(result),
             number(result["peak_mib"]) if result["peak_mib"] else "",
             f"{number(sum(result['servers_cpu_s'].values()))} s"]
    return "| " + " | ".join(words) + " |"


def short_row(case):
    """The others' times are in those of scoutfs."""
    ours, *others = case["results"].items()
    median = ours[1].get("median")

    def spread(result, unit=1.0):
        least, most = result["least"] / unit, result["most"] / unit
        between = f" ({number(least)} to {number(most)})" if len(result["values"]) > 1 else ""
        return between + (", then failed" if "failed" in result else "")

    told = [f"{who} " + (f"{number(result['median'] / median)}{spread(result, median)}"
                         if median and "median" in result else "failed") for who, result in others]
    own = f"{number(median)} {case['unit']}{spread(ours[1])}" if median else "failed"
    return f"| {case['name']} | {own} | {'; '.join(told)} |"


def rows(case):
    return [row(case, who, result, i == 0) for i, (who, result) in enumerate(case["results"].items())]


def markdown(run):
    lines = [f"{run['date']}, {run['cpus']} CPUs, {'QUICK, ' if run['quick'] else ''}rounds: {run['rounds']}; "
             "CPU and memory (the most that was resident) of the contestant's own processes, and the CPU of sshd, "
             "the gateway and the link with distance, each in the JSON.", ""]
    if run["cases"]:
        lines += [SHORT_HEAD, *map(short_row, run["cases"]), ""]
        lines += [HEAD, *(line for case in run["cases"] for line in rows(case))]
    return "\n".join(lines) + "\n"
