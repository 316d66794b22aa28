#!/bin/sh
# Unpacks Debian packages into a folder: their files, their licences, and what they say of themselves.
#
#   unpack.sh FOLDER PACKAGE...
#
# debian.lock, beside this, has a line "NAME VERSION SHA256" for each; what is downloaded must be what it says.
set -eu
lock=$(dirname "$0")/debian.lock
folder=$1
shift

# Debian's own layout, which its packages do not ship.
for part in bin lib lib64 sbin; do
  mkdir -p "$folder/usr/$part"
  ln -s "usr/$part" "$folder/$part"
done
# Where scanners look for what an image without dpkg is made of.
mkdir -p "$folder/var/lib/dpkg/status.d" /debs
cd /debs
apt-get update -qq
for package in "$@"; do
  read -r version digest <<EOF
$(awk -v name="$package" '$1 == name { print $2, $3 }' "$lock")
EOF
  apt-get download -qq -o APT::Sandbox::User=root "$package=$version"
  deb=$(echo "${package}"_*.deb)
  echo "$digest  $deb" | sha256sum --check --quiet
  dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$folder"
  dpkg-deb --field "$deb" > "$folder/var/lib/dpkg/status.d/$package"
  rm "$deb"
done
cd "$folder"/usr/share
find doc -type f ! -name copyright -delete
find doc -type d -empty -delete
rm -rf man lintian bug pixmaps applications gcc gdb
