#!/bin/sh
# Many readers of one file at once: do all get the same bytes, and how long do they take?
#
#     concurrent-readers.sh FILE [READERS]        READERS is 100 unless said
#
# Prints the seconds, the bytes and whether the checksums agree. Fails when a reader fails or when two
# readers disagree.
set -eu

usage() {
	echo "usage: $0 FILE [READERS]" >&2
	exit 2
}

case $# in
1 | 2) ;;
*) usage ;;
esac
file=$1
readers=${2:-100}
case $readers in
'' | 0* | *[!0-9]*) usage ;;
esac
[ -f "$file" ] || {
	echo "$0: $file: not a file" >&2
	exit 1
}

dir=$(mktemp -d)
pids=
stop() {
	# shellcheck disable=SC2086 # the list is numbers
	[ -z "$pids" ] || kill $pids 2>/dev/null || :
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

now_ms() {
	# GNU date; without %N the milliseconds are lost
	date +%s%3N
}

start=$(now_ms)
i=0
while [ "$i" -lt "$readers" ]; do
	sha256sum <"$file" >"$dir/$i.sum" 2>"$dir/$i.err" &
	pids="$pids $!"
	i=$((i + 1))
done
failed=0
for pid in $pids; do
	wait "$pid" || failed=$((failed + 1))
done
pids=
ms=$(($(now_ms) - start))

sums=$(cat "$dir"/*.sum | sort -u | wc -l)
size=$(stat -c %s -- "$file")
printf '%d readers, %d.%03d s, %d bytes (%d each)\n' \
	"$readers" $((ms / 1000)) $((ms % 1000)) $((size * readers)) "$size"
if [ "$failed" -gt 0 ]; then
	echo "$failed readers failed: $(cat "$dir"/*.err | head -n 1)" >&2
	exit 1
fi
if [ "$sums" -ne 1 ]; then
	echo "the readers disagree: $sums different checksums" >&2
	exit 1
fi
echo "all sha256 agree: $(cut -d' ' -f1 "$dir/0.sum")"
