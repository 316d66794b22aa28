#!/bin/sh
# Installs the packages of one lock, and HemaServe, into /opt/hemaserve. From /wheels alone: no index is asked.
#
#   install.sh wheel       makes HemaServe's own wheel, in /build
#   install.sh LOCK        installs requirements/LOCK.txt and that wheel
set -eu
pip() { python3.11 -m pip --quiet --disable-pip-version-check --no-cache-dir "$@"; }

if [ "$1" = wheel ]; then
  pip install --break-system-packages --target /build/setuptools --no-index --find-links /wheels --require-hashes \
    --requirement /build/setuptools.txt
  PYTHONPATH=/build/setuptools pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /build /build/source
  exit
fi

target=/opt/hemaserve
python3.11 -m venv --without-pip --symlinks "$target"
packages=$target/lib/python3.11/site-packages
install() { pip --python "$target/bin/python3" install --no-index --no-deps --no-compile "$@"; }
install --find-links /wheels --require-hashes --requirement "/build/requirements/$1.txt"
install /build/hemaserve-*.whl

# Tests of packages are a tenth of them. Scripts, but for Python itself, are for people.
find "$packages" -type d -name tests -prune -exec rm -r {} +
find "$target/bin" ! -type d ! -name 'python*' -delete
rm -f "$packages"/*.dist-info/direct_url.json "$packages"/*.dist-info/RECORD
# The root is read-only: what was compiled is right for good. All of it anew: what Python itself imports when it starts
# (a package may ask for that) it has compiled already, with the time of this build.
"$target/bin/python3" -m compileall -q -f --invalidation-mode unchecked-hash "$packages"
