#!/bin/sh
# Installs the Debian packages that building, testing and the demo need, and only those that are
# missing; the arguments name more. Servers are installed as programs to start by hand: nothing is started or
# enabled.
set -eu

packages='gcc make pkg-config libc6-dev libfuse3-dev fuse3 libssh-dev libcurl4-openssl-dev libinih-dev
	libexpat1-dev libcjson-dev libssl-dev zlib1g-dev uthash-dev libcmocka-dev clang clang-format libclang-rt-14-dev
	openssh-server openssh-client radosgw ceph-mon ceph-osd ceph-common
	proftpd-core proftpd-mod-crypto python3-asyncssh python3-swift
	python3 python3-pytest python3-pytest-timeout python3-boto3
	openssl procps util-linux coreutils findutils grep tar diffutils mount curl git rsync'

missing=
for package in $packages "$@"; do
	case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
	installed) ;;
	*) missing="$missing $package" ;;
	esac
done
# A tree as debootstrap leaves it has none, and without it fusermount3 unmounts for root alone.
[ -e /etc/mtab ] || missing="$missing /etc/mtab"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
	sudo=
elif command -v sudo >/dev/null; then
	sudo=sudo
else
	echo "missing packages, and neither root nor sudo to install them:$missing" >&2
	exit 1
fi

if [ ! -e /etc/mtab ]; then
	$sudo ln -s ../proc/self/mounts /etc/mtab
	missing=${missing% /etc/mtab}
	[ -n "$missing" ] || exit 0
fi

# Without a policy of its own the machine would start sshd and Ceph as services.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap '$sudo rm -f $policy' EXIT
	trap 'exit 130' INT TERM HUP
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
	$sudo chmod 755 $policy
fi

echo "installing (minutes, where all are missing):$missing"
log=$(mktemp)
if ! { $sudo apt-get -q update &&
	$sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		apt-get -q -y --no-install-recommends install $missing; } </dev/null >"$log" 2>&1; then
	cat "$log" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
