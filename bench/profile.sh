#!/bin/sh
# Where time and memory go in a case of the bench: it is run once with scoutfs alone, and scoutfs (and
# scoutfs-bench-pool) under a profiler. In the sizes of QUICK where that is set.
#
# usage: profile.sh cpu|machine|memory|heap WORD [BUILD]      the cases that have WORD in their names
#   cpu      by perf; by callgrind, which is far slower, where perf may not record
#   machine  by perf: all programs' shares of all CPUs, while the clock of the case runs
#   memory   resident bytes, twenty times a second
#   heap     by massif: who holds what malloc gave; far slower, too
# Results go to bench/results/<date>-<kind>-<program>-<number>.txt, of the machine to <date>-machine.txt.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
kind=${1:-} word=${2:-} build=$(cd "${3:-$here/../build}" && pwd)
case $kind in cpu | machine | memory | heap) ;; *) word= ;; esac
[ -n "$word" ] || {
	sed -n 's/^# usage: /usage: /p' "$0" >&2
	exit 2
}
python=${PYTHON:-/usr/bin/python3}
results=$here/results/$(date +%Y-%m-%d-%H%M%S)-$kind
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$here/results"

if [ "$kind" = cpu ] && ! perf record -q -o "$work/probe" true >/dev/null 2>&1; then
	echo "perf may not record here: callgrind"
	kind=callgrind
fi

if [ "$kind" = machine ]; then
	perf record -q -a -o "$work/probe" true >/dev/null 2>&1 || {
		echo "perf may not record the machine here" >&2
		exit 1
	}
	# idle is told by the clock alone
	perf record -q -a -e cpu-clock -F 997 -k CLOCK_MONOTONIC -o "$work/machine" sleep infinity &
	recorder=$!
	trap 'kill -INT "$recorder" 2>/dev/null || :; wait; rm -rf "$work"' EXIT
fi

# The bench finds these in the place of the programs. What a profiler writes has its process's number.
for program in scoutfs scoutfs-bench-pool; do
	real=$build/$program out=$work/out-$program
	case $kind in
	cpu) run="exec perf record -q -F 997 -g -o '$out'.\$\$ -- '$real' \"\$@\"" ;;
	callgrind) run="exec valgrind -q --tool=callgrind --callgrind-out-file='$out'.%p '$real' \"\$@\"" ;;
	heap) run="exec valgrind -q --tool=massif --massif-out-file='$out'.%p '$real' \"\$@\"" ;;
	machine) run="exec '$real' \"\$@\"" ;;
	memory) run="sh '$work/sample' \$\$ >'$out'.\$\$ 2>/dev/null </dev/null & exec '$real' \"\$@\"" ;;
	esac
	printf '#!/bin/sh\n%s\n' "$run" >"$work/$program"
	chmod 755 "$work/$program"
done
ln -s "$build/delay" "$build/scoutfs-load" "$work"
cat >"$work/sample" <<'SAMPLE'
began=$(date +%s%N)
echo "ms rss_kib pss_kib heap_kib"
while [ -r "/proc/$1/smaps_rollup" ]; do
	rollup=$(awk '/^Rss:/ {r=$2} /^Pss:/ {p=$2} /^Anonymous:/ {a=$2} END {if (r) print r, p, a}' "/proc/$1/smaps_rollup")
	[ -n "$rollup" ] || break
	echo "$((($(date +%s%N) - began) / 1000000)) $rollup"
	sleep 0.05
done
SAMPLE

status=0
"$python" "$here/run.py" --rounds 1 ${QUICK:+--quick} --only "$word" --on scoutfs --out "$work/bench" "$work/scoutfs" &
bench=$!
# the terminal tells the bench of INT, too
trap 'wait "$bench" || :; exit 130' INT
trap 'kill -TERM "$bench" 2>/dev/null || :; wait "$bench" || :; exit 130' TERM HUP
wait "$bench" || status=$?
trap 'exit 130' INT TERM HUP
if [ "$kind" = machine ]; then
	{ kill -INT "$recorder" && wait "$recorder"; } 2>/dev/null || true
	# of each case, by when its clock ran
	"$python" - "$work"/bench/*.json >"$work/spans" <<'SPANS'
import json, sys
for case in json.load(open(sys.argv[1], encoding="utf-8"))["cases"]:
    for began, ended in case["results"]["scoutfs"].get("spans", ()):
        print(f"{began:.6f},{ended:.6f}", case["name"])
SPANS
	while read -r span name; do
		printf '%s\n\n' "$name"
		perf report --stdio --no-children -g none --sort comm --percent-limit 0.5 --time "$span" -i "$work/machine" </dev/null
	done <"$work/spans" >"$results.txt" 2>/dev/null
	echo "written: $results.txt"
fi
for out in "$work"/out-*; do
	[ -s "$out" ] || continue
	name=$results-${out##*/out-}
	name=${name%.*}-${out##*.}.txt
	case $kind in
	cpu) perf report --stdio --no-children -g none --percent-limit 0.5 -i "$out" >"$name" 2>/dev/null &&
		{ echo; perf report --stdio --children -g caller,0.5,callee --max-stack 12 --percent-limit 3 -i "$out"; } >>"$name" 2>/dev/null ;;
	callgrind) callgrind_annotate "$out" >"$name" ;;
	heap) ms_print "$out" >"$name" ;;
	memory) cp "$out" "$name" ;;
	esac
	echo "written: $name"
done
exit $status
