"""The corpus of nasty files is always the same, and decoding makes of each what it must."""

import hashlib

import pytest

from benchmarks.nasty.files import Verdict, nasty_files, sound_files
from hemaserve.errors import InvalidArgument
from hemaserve.image_files.checks import check_file
from hemaserve.image_files.facts import ImageLimits
from hemaserve.imaging import decode

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


@pytest.fixture(scope="module")
def corpus():
    return nasty_files()


def test_there_are_many_and_each_run_makes_the_same(corpus):
    assert len(corpus) >= 200
    assert digest(corpus) == digest(nasty_files())


def digest(files) -> str:
    return hashlib.sha256(b"".join(file.name.encode() + file.data for file in files)).hexdigest()


def test_what_they_are_made_of_is_sound():
    for name, data in sound_files().items():
        assert decode(data).shape == (48, 64, 3), name


def test_each_is_refused_with_a_reason_or_read_as_its_verdict_says(corpus):
    wrong = []
    for file in corpus:
        try:
            decode(file.data)
        except InvalidArgument as error:
            told = error.field == "image" and error.reason.startswith("IMAGE_")
            came = Verdict.REFUSED if told else error.message
        else:
            came = Verdict.SOUND
        if file.verdict not in (Verdict.EITHER, came):
            wrong.append(f"{file.name}: {came}")
    assert wrong == []


def test_most_are_refused_before_a_decoder_sees_them(corpus):
    refused = [file for file in corpus if file.verdict is Verdict.REFUSED]
    let_through = []
    for file in refused:
        try:
            check_file(file.data, limits=ImageLimits(), field="image")
        except InvalidArgument:
            continue
        let_through.append(file.name)
    assert len(let_through) < 0.1 * len(refused), let_through
