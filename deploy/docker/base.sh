#!/bin/sh
# Makes the image that builds the others where no registry can be reached: Debian bookworm, by debootstrap.
#
#   base.sh IMAGE          e.g. localhost/hemaserve-base:bookworm; needs debootstrap, podman and root
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase bookworm "$folder/root" > "$folder/log" || { cat "$folder/log" >&2; exit 1; }
# debootstrap takes the release as it was; security updates are beside it.
mirror=$(cut -d' ' -f2 "$folder/root/etc/apt/sources.list")
{
  echo "deb $mirror bookworm-updates main"
  echo "deb $mirror-security bookworm-security main"
} >> "$folder/root/etc/apt/sources.list"
rm -rf "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/var/lib/apt/lists/*
tar -C "$folder/root" -c . | podman import --quiet - "$1"
