"""Writes the corpus of nasty image files into a folder: `python -m scripts.nasty_files FOLDER`.

The same files each time; benchmarks/nasty/files.py makes them and says what must become of each.
"""

import argparse
from pathlib import Path

from benchmarks.nasty.files import nasty_files


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    files = nasty_files()
    for file in files:
        (folder / f"{file.verdict}-{file.name}").write_bytes(file.data)
    print(f"{len(files)} files in {folder}")


if __name__ == "__main__":
    main()
