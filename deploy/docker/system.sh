#!/bin/sh
# Lays out /system: a Debian of Python, its libraries and nothing else, no shell and no package manager. And
# /stubs: what Triton's stubs need beside, which embed Python and are started by bash.
set -eu
here=$(dirname "$0")
sh "$here/unpack.sh" /system base-files netbase ca-certificates libc6 libcrypt1 libgcc-s1 libstdc++6 zlib1g libbz2-1.0 \
  libexpat1 libffi8 liblzma5 libssl3 libuuid1 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib
sh "$here/unpack.sh" /stubs libpython3.11 bash libtinfo6

rm -rf /stubs/etc /stubs/usr/share/locale /stubs/usr/bin/bashbug
cd /system
rm -rf usr/sbin sbin usr/lib/x86_64-linux-gnu/gconv
find usr/bin ! -type d ! -name 'python3*' -delete
cd usr/lib/python3.11
rm -rf pydoc_data idlelib lib2to3 ensurepip distutils
# Modules whose libraries are not here.
for module in _curses _curses_panel _dbm _sqlite3 nis readline; do rm "lib-dynload/$module".*.so; done

cd /system
cat usr/share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-certificates.crt
rm -rf usr/share/ca-certificates
mkdir -p usr/lib/ssl tmp
chmod 1777 tmp
ln -s /etc/ssl/certs usr/lib/ssl/certs
ln -s /etc/ssl/certs/ca-certificates.crt usr/lib/ssl/cert.pem
echo 'hosts: files dns' > etc/nsswitch.conf
echo 'hemaserve:x:10001:10001::/nonexistent:/nonexistent' > etc/passwd
echo 'hemaserve:x:10001:' > etc/group

# The root is read-only: what was compiled is right for good. All of it anew: what compiling itself imports has been
# compiled already, with times that are not those of the files in the image.
chroot /system /usr/bin/python3.11 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3.11
